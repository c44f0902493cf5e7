// Program: a Schedule made ready to run for one Call in one communicator: peers are ranks of the world,
// native steps know their group and kernels, dependencies are counted. May run many times.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libcoll/core/plan.hpp"
#include "libcoll/schedule/schedule.hpp"
#include "transports/shm/natives.hpp"

namespace libcoll::exec {

class Queue;
class Run;

using detail::Args;
using detail::Call;
using detail::Plan;

// Immutable but for `idle`, which the communicator's queue guards.

// A group of the communicator whose members share memory; null where this rank is not a member.
struct NativeGroup {
  std::vector<int> ranks;              // of the communicator, in the group's order
  xport::shm::Group* group = nullptr;
};

struct Native {
  Plan plan;
  xport::shm::Native native;
  std::vector<Count> counts, displs;            // of the parts received or sent, where the operation has them
  std::vector<Count> send_counts, send_displs;  // alltoallv
};

struct Program : std::enable_shared_from_this<Program> {
  Call call;
  sched::Schedule schedule;
  std::string text;                        // the recipe
  Queue* queue = nullptr;            // of the communicator it was made for
  std::vector<int> world_rank;             // of the communicator's ranks
  std::vector<Native> natives;             // in step order
  std::vector<std::uint32_t> native_of;    // by step: index into natives
  std::vector<std::uint32_t> needs;        // by step: how many steps it waits for
  std::vector<std::uint32_t> first_next, next;  // by step (one more entry than steps): who waits for it
  kernels::ReduceFn reduce = nullptr;      // sums where the operation is avg: `finish` divides
  kernels::ReduceFn divide = nullptr;      // avg
  std::vector<std::unique_ptr<Run>> idle;  // finished runs, to be started again
  std::vector<Count> counts;               // that the schedule was made for (allgatherv, reduce_scatter)

  Program();
  ~Program();
};

// `signature`: of the call, equal on all ranks that made the same one.
std::shared_ptr<Program> compile(const Call&, std::uint32_t signature, sched::Schedule, const std::vector<NativeGroup>&, std::vector<int> world_ranks);

}  // namespace libcoll::exec
