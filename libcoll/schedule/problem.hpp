// Problem: everything an algorithm may look at when it builds a schedule. Equal on all ranks but for
// `in_place`, which only moves the caller's own operand.
#pragma once

#include <cstdint>
#include <vector>

#include "libcoll/schedule/schedule.hpp"

namespace libcoll::sched {

// Ranks that act together in a part of a schedule, in the order in which their operands combine.
struct Team {
  std::vector<int> ranks;  // of the communicator
  int me = -1;             // index of the schedule's rank, -1 if it is not a member
  int size() const { return static_cast<int>(ranks.size()); }
  int rank(int i) const { return ranks[static_cast<std::size_t>(i)]; }
};
// `ranks` may come from Problem::groups; `rank` is looked up.
Team team_of(std::vector<int> ranks, int rank);
Team everyone(int size, int rank);

struct Problem {
  Coll coll = Coll::barrier;
  int size = 1;
  int root = 0;
  std::int64_t count = 0;               // elements per block, as in the public API; v-forms: 0
  // allgatherv, reduce_scatter: elements of every rank's block, equal on all ranks. Empty otherwise.
  std::vector<std::int64_t> counts;
  // For verify only, no builder may look at it: what gatherv, scatterv (by rank) and alltoallv (by sender *
  // size + receiver) learn when they run.
  std::vector<std::int64_t> block_counts;
  bool commutative = true;              // the operation: if not, operands combine in rank order only
  bool averages = false;                // Op::avg: results end with Builder::finish
  Determinism determinism = Determinism::fast;
  bool in_place = false;                // of this rank
  // Groups of ranks that can run native operations, as lists of ranks of the communicator in the order
  // in which operands combine. A schedule names them by their place here.
  std::vector<std::vector<int>> groups;
  // The levels an algorithm may compose over, narrowest first, without the world. Leaders of a level's
  // groups are members of the next level.
  struct LevelView {
    Level level = Level::host;
    std::vector<std::vector<int>> members;  // by group, in the order of their lowest ranks; ranks ascending
    std::vector<int> leader;                // by group
    std::vector<int> group_of;              // by rank
  };
  std::vector<LevelView> levels;

  // Index in `groups` of the group with exactly these members in this order, or -1: send messages.
  int group_with(const std::vector<int>& members) const;
};

}  // namespace libcoll::sched
