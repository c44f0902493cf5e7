// "ordered" over levels: operands travel as they are, all combined at once in rank order where they meet, so
// that the bits depend neither on the levels nor on which ranks share a group, and operations that do not
// commute work with ranks in any placement. Cost: like the small form, but with p operands instead of one
// between the groups: for small vectors.
#pragma once

#include "libcoll/algorithms/compose.hpp"

namespace libcoll::algo {

// Room for the operands of all ranks, those of a group side by side at every level.
struct Gathered {
  Range whole;                        // empty at ranks that only hand theirs on
  std::int64_t count = 0;             // of one operand
  std::vector<int> order, place_of;   // rank by place, place by rank
  Range of(int first, int last) const { return sched::part(whole, first * count, (last - first) * count); }
  std::vector<Range> in_rank_order() const;
};

// The operands of every group to its leader, level by level.
Gathered gather_up(Site, const Way&, const Range& own);
void gather_across(Site, const Way&, const Gathered&);   // between the widest groups' leaders: all to all
void gather_at_root(Site, const Way&, const Gathered&);  // to the root among them

}  // namespace libcoll::algo
