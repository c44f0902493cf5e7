// Universe: a libcoll world that groups of this process share, so that a second group costs a communicator, not another world.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include <c10/core/Device.h>

#include "libcoll/comm.hpp"
#include "meeting.hpp"

namespace libcoll::torch_door {

struct Universe {
  std::uint64_t id = 0;  // agreed; no two worlds have the same
  Comm comm;             // of all its ranks; only the first group uses it itself
  bool crowded = false;  // some host has more ranks than CPUs
  bool has_gpus = false; // here: calls say where their tensors are
  std::atomic<int> gpu_in_use{-1};  // of the latest call on a stream, in any of its groups
  std::optional<c10::Device> gpu() const { return gpu_in_use < 0 ? std::nullopt : std::optional(c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(gpu_in_use))); }
  ~Universe();           // hands comm to the driver, which closes it
};

// The communicator of a new group.
struct Membership {
  std::shared_ptr<Universe> universe;
  Comm own;  // empty where the group is the universe's first: that uses universe->comm
};

// Collective over the ranks of the meeting. They take a world that all of them are in, or make one; which, they agree on.
Membership join(Meeting&, int rank, int size);

}  // namespace libcoll::torch_door
