// Universe: a libcoll world that groups of this process share, so that a second group costs a communicator, not another world.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "libcoll/comm.hpp"
#include "meeting.hpp"

namespace libcoll::torch_door {

struct Universe {
  std::uint64_t id = 0;  // agreed; no two worlds have the same
  Comm comm;             // of all its ranks; only the first group uses it itself
  bool crowded = false;  // some host has more ranks than CPUs
  bool has_gpus = false; // here: calls say where their tensors are
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
