// Thresholds as functions of agreed costs. Pure; every constant names where it was measured.
#pragma once

#include <cstddef>

#include "transports/shm/host.hpp"

namespace libcoll::xport::shm {

// Bytes from which reading a private buffer with process_vm_readv beats copying it through the ring; ~0: never.
struct SingleCopy {
  std::size_t message = ~std::size_t{0};    // of one rank to another
  std::size_t scattered = ~std::size_t{0};  // one rank's blocks, each for another rank
  std::size_t exchanged = ~std::size_t{0};  // all ranks' blocks
  std::size_t whole = ~std::size_t{0};      // what several read, or what is combined
};
// `staged_whole`: bytes that are exchanged without a ring.
SingleCopy single_copy_thresholds(const Costs&, bool oversubscribed, std::size_t staged_whole);
// Bytes up to which an allreduce lets everyone reduce everything (one hop), against slices (two).
std::size_t direct_threshold(const Costs&, int ranks, bool oversubscribed);
// How many times a waiting rank polls before it yields the CPU.
int spins_for(const Host&);

}  // namespace libcoll::xport::shm
