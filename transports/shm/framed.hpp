// Payloads of a few hundred bytes: data and flags share lines, and the reader polls all lines at once.
// One hop, where a descriptor and then its data would take two.
#pragma once

#include "transports/shm/move.hpp"

namespace libcoll::xport::shm {

// Whether blocks of `bytes` fit in a rank's framed lines: one block for all, or one per reader.
// Depends on values that are equal on all ranks.
bool can_frame(const Group&, bool one_for_all, std::uint64_t bytes);

// Like move, for equal blocks (no tables) that can be framed.
void move_framed(Group&, std::uint64_t q, const Plan&, const Transfer&);
// Reductions whose operand blocks can be framed: everybody's (allreduce), the root's (reduce), or a
// block for each rank (reduce_scatter_block).
void allreduce_framed(Group&, const Args&, const Plan&);
void reduce_framed(Group&, const Args&, const Plan&);
void reduce_scatter_framed(Group&, const Args&, const Plan&);

}  // namespace libcoll::xport::shm
