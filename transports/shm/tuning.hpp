// Thresholds as functions of agreed costs. Pure; every constant names where it was measured.
#pragma once

#include <cstddef>

#include "transports/shm/host.hpp"

namespace libcoll::xport::shm {

// Bytes from which reading a private buffer with process_vm_readv beats copying it through the ring.
std::size_t remote_threshold(const Costs&);
// Bytes up to which an allreduce lets everyone reduce everything (one hop), against slices (two).
std::size_t direct_threshold(const Costs&, int ranks, bool oversubscribed);
// How many times a waiting rank polls before it yields the CPU.
int spins_for(const Host&);

}  // namespace libcoll::xport::shm
