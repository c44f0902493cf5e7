// Plan: a Call resolved to something that runs: one native step of the shared-memory transport, or a
// schedule. Its parameters follow from the call and from agreed costs only, so that all ranks
// resolve equal calls to equal plans.
#pragma once

#include "libcoll/core/call.hpp"
#include "libcoll/kernels/reduce.hpp"

namespace libcoll::xport::shm { class Group; }
namespace libcoll::exec { struct Program; }

namespace libcoll::detail {

// A power of two in size: the cache indexes by shift.
struct alignas(128) Plan {
  Call call;
  CallWords words = no_call;       // of `call`
  // Runs it to its end. Throws Error{mismatch, timeout, peer_lost}.
  void (*run)(xport::shm::Group&, const Args&, const Plan&) = nullptr;
  xport::shm::Group* group = nullptr;
  kernels::ReduceFn reduce = nullptr;
  kernels::ReduceSmallFn reduce_small = nullptr;
  std::uint32_t signature = 0;     // published with every operation: ranks compare it
  std::uint32_t number = 0;        // of a communicator's plans, from 1: those with the same are the same
  std::uint64_t bytes = 0;         // call.count * call.element_bytes
  // The two halves of a native step of one hop, else null (shm::Native).
  std::uint64_t (*post)(xport::shm::Group&, const Args&, const Plan&) = nullptr;
  void (*complete)(xport::shm::Group&, std::uint64_t, const Args&, const Plan&) = nullptr;
  exec::Program* program = nullptr;  // a schedule, kept by the plan cache; null: one native step
  const char* shape = "";          // for describe()
};
static_assert(sizeof(Plan) == 128);

}  // namespace libcoll::detail
