// Payloads of a few hundred bytes: data and flags share lines, and the reader polls all lines at once.
// One hop, where a descriptor and then its data would take two.
#pragma once

#include "transports/shm/group.hpp"

namespace libcoll::xport::shm {

// Whether blocks of `bytes` fit in a rank's framed lines: one block for all, or one per reader.
// Depends on values that are equal on all ranks.
bool can_frame(const Group&, bool one_for_all, std::uint64_t bytes);

// Collectives of equal blocks that can be framed.
void bcast_framed(Group&, const Args&, const Plan&);
void allgather_framed(Group&, const Args&, const Plan&);
void gather_framed(Group&, const Args&, const Plan&);
void scatter_framed(Group&, const Args&, const Plan&);
void alltoall_framed(Group&, const Args&, const Plan&);
// Reductions whose operand blocks can be framed: everybody's (allreduce), the root's (reduce), or a
// block for each rank (reduce_scatter_block).
void allreduce_framed(Group&, const Args&, const Plan&);
void reduce_framed(Group&, const Args&, const Plan&);
void reduce_scatter_framed(Group&, const Args&, const Plan&);

}  // namespace libcoll::xport::shm
