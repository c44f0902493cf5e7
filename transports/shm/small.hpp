// Payloads that fit in the descriptor line: the latency-critical native steps.
#pragma once

#include "transports/shm/group.hpp"

namespace libcoll::xport::shm {

void barrier_flat(Group&, const Args&, const Plan&);
void allreduce_inline(Group&, const Args&, const Plan&);
void allreduce_pair(Group&, const Args&, const Plan&);  // two ranks

// The same in two halves: post needs a slot known to be free, and never waits; complete waits for all.
std::uint64_t post_barrier(Group&, const Args&, const Plan&);
void complete_barrier(Group&, std::uint64_t q, const Args&, const Plan&);
std::uint64_t post_inline(Group&, const Args&, const Plan&);
void complete_inline(Group&, std::uint64_t q, const Args&, const Plan&);
void complete_pair(Group&, std::uint64_t q, const Args&, const Plan&);  // two ranks

// For many ranks: leaders bundle their group's lines, everybody reads the bundles. Two hops, but
// P * bytes / 64 + groups lines to read instead of P; still reduced in rank order, bit for bit alike.
void barrier_grouped(Group&, const Args&, const Plan&);
void allreduce_grouped(Group&, const Args&, const Plan&);

}  // namespace libcoll::xport::shm
