// Movements up and down a tree of clusters. All ranks of the cluster call them.
#pragma once

#include "libcoll/algorithms/team_moves.hpp"

namespace libcoll::algo {

// Where a rank keeps its share of a layout: elements [start, start + range.count) of it.
struct Share {
  Range range;
  std::int64_t start = 0;
  Range of(const Part& p) const { return part(range, p.offset - start, p.count); }
};

// Every rank's `own` block arrives in its cluster leaders' shares, level by level. The widest cluster's
// team goes by `route`, the narrower ones by a native operation where there is one.
void collect(Builder&, const Problem&, const Cluster&, const Layout&, const Share&, const Range& own, const Route& route);
// The reverse: from the leader's share to every rank's `own`. `keep`: the leader leaves its block where it is.
void distribute(Builder&, const Problem&, const Cluster&, const Layout&, const Share&, const Range& own, const Route& route, bool keep);
// From the leader to everyone.
void release(Builder&, const Problem&, const Cluster&, const Range&);
// Every rank's `own` block arrives in everyone's share, which covers the cluster. The leaders of the
// cluster's parts exchange what they collected by `algorithm` (or natively, if `native`).
void spread(Builder&, const Problem&, const Cluster&, const Layout&, const Share&, const Range& own, const std::string& algorithm,
            bool native);

// The widest cluster that the rank leads, or null.
const Cluster* widest_led(const Cluster&, int rank);
std::vector<std::int64_t> block_counts(const Problem&, const std::vector<int>& ranks);

// -- For Work: equal on all ranks.

// The busiest team of a level.
struct LevelTeam {
  Level level = Level::world;
  int actors = 1;       // of the team
  int ranks = 1;        // that they act for
  bool native = false;  // it has a native group
};
// One per level of a recipe, narrowest first.
std::vector<LevelTeam> level_teams(const Problem&, const Cluster& world);
// One operation of such a team on so many elements, natively or as messages.
Work work_in(const LevelTeam&, Coll native, double elements);
int group_count(const Problem&, Level);

}  // namespace libcoll::algo
