// What messages between two ranks must do, on whatever the ranks of a communicator are: for launchers with threads, forked
// processes, injected and real hosts.
#pragma once

#include <cstddef>
#include <cstdint>

#include "libcoll/libcoll.hpp"

namespace libcoll::test {

struct MessageOptions {
  std::size_t most_bytes = 20u << 20;
  int many = 10000;            // unexpected messages
  bool arena = true;           // buffers of Comm::allocate, too
  bool network = false;        // some ranks are on other hosts
  std::uint64_t seed = 1;      // equal on all ranks
};

// Collective; throws std::runtime_error that says what is wrong. The communicator is as usable afterwards as before.
void check_messages(Comm&, const MessageOptions&);

}  // namespace libcoll::test
