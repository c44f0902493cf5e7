// Reductions and broadcasts of a team by messages. `from` is the member's operand, `acc` where its result
// goes (the same or another range); what `acc` holds elsewhere is undefined. Operands combine in the order of
// the team; those marked (c) need a commutative operation. n members, m elements.
#pragma once

#include "libcoll/algorithms/compose.hpp"

namespace libcoll::algo {

// Tree of radix k: ceil(log_k n) rounds of m. Returns where the root's result lies (`from` if alone).
Range reduce_tree(Site, const Team&, int root, const Range& from, const Range& acc);
// All send to the root, which combines at once: 1 round, (n - 1) m received.
void reduce_linear(Site, const Team&, int root, const Range& from, const Range& acc);
// Halving (see butterfly), then every member sends its part to the root.
void reduce_scatter_gather(Site, const Team&, int root, const Range& from, const Range& acc);
// Slices to their owners, each combined at once in order, then to the root: 2 rounds.
void reduce_ordered(Site, const Team&, int root, const Range& from, const Range& acc);

void bcast_tree(Site, const Team&, int root, const Range& buffer);
void bcast_scatter_allgather(Site, const Team&, int root, const Range& buffer);
void bcast_chain(Site, const Team&, int root, const Range& buffer);

void allreduce_doubling(Site, const Team&, const Range& from, const Range& acc);
// swing: peers of Swing instead of neighbours in the hypercube; (c), powers of two.
void allreduce_butterfly(Site, const Team&, const Range& from, const Range& acc, bool swing);
void allreduce_ring(Site, const Team&, const Range& from, const Range& acc);       // (c)
void allreduce_circulant(Site, const Team&, const Range& from, const Range& acc);  // (c)
void allreduce_ordered(Site, const Team&, const Range& from, const Range& acc);

// Member i ends with parts[i] of the vector in `to`, which must not overlap `from`. Parts lie one after the other.
void reduce_scatter_ordered(Site, const Team&, const Range& from, const Range& to, std::span<const Part> parts);
void reduce_scatter_pairwise(Site, const Team&, const Range& from, const Range& to, std::span<const Part> parts);   // (c)
void reduce_scatter_ring(Site, const Team&, const Range& from, const Range& to, std::span<const Part> parts);       // (c)
void reduce_scatter_halving(Site, const Team&, const Range& from, const Range& to, std::span<const Part> parts);    // (c)
void reduce_scatter_circulant(Site, const Team&, const Range& from, const Range& to, std::span<const Part> parts);  // (c)

// Members hold parts[i] of the buffer and end with all of it: ceil(log2 n) rounds.
void allgather_circulant(Site, const Team&, const Range& buffer, std::span<const Part> parts);

}  // namespace libcoll::algo
