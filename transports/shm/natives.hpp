// The native steps: one function per collective shape, chosen by find_native.
#pragma once

#include "transports/shm/group.hpp"

namespace libcoll::xport::shm {

struct Native {
  // The whole operation; throws Error{mismatch, timeout, peer_lost}.
  void (*run)(Group&, const Args&, const Plan&) = nullptr;
  const char* shape = "";
  // Shapes of one hop also come in halves. `post` waits for nobody (but for slots that the slowest rank
  // has yet to free); once `can_complete`, `complete` does not wait either.
  std::uint64_t (*post)(Group&, const Args&, const Plan&) = nullptr;
  void (*complete)(Group&, std::uint64_t q, const Args&, const Plan&) = nullptr;
};

// Pure: depends on the call, the number of ranks and agreed costs, so that all ranks choose alike.
Native find_native(const detail::Call&, const Group&);

// Whether every rank whose data `complete` reads has posted q.
bool can_complete(Group&, std::uint64_t q, const Plan&);

}  // namespace libcoll::xport::shm
