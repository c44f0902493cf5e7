// Cluster: the ranks of a problem as a tree of groups, for compositions over levels. What the leader of
// a cluster holds is passed upwards, so that one recursion serves any number of levels.
#pragma once

#include <utility>

#include "libcoll/algorithms/algorithm.hpp"

namespace libcoll::algo {

struct Cluster {
  Level level = Level::world;
  int leader = -1;             // leads the part it is in, too
  std::vector<int> ranks;      // part after part; ascending in clusters without parts
  std::vector<Cluster> parts;  // the groups of the next narrower level; none: a narrowest group
  int size() const { return static_cast<int>(ranks.size()); }
  bool contains(int rank) const;
  // Who acts for the parts: their leaders; all ranks of a narrowest group.
  std::vector<int> actors() const;
  // Of the part that holds the rank.
  int part_of(int rank) const;
};
// The world, parted by the levels of `over`. A cluster that holds `root` is led by it.
Cluster clusters(const Problem&, const std::vector<Level>& over, int root = -1);

// One block per rank in the order of a cluster: every cluster's blocks are one piece.
class Layout {
 public:
  // count[i]: elements of the block of ranks[i].
  Layout(const std::vector<int>& ranks, const std::vector<std::int64_t>& counts);
  std::int64_t total() const { return start_.back(); }
  // Where the blocks of a cluster (or of one rank) lie.
  Part of(const Cluster&) const;
  Part of_rank(int rank) const;
  bool ascending() const;  // in the order of ranks

 private:
  std::vector<int> place_;            // by rank
  std::vector<std::int64_t> start_;   // by place, and the end
};

// The group that can run native operations for exactly these ranks, in whatever order it lists them.
struct NativeGroup {
  int index = -1;           // into Problem::groups; -1: there is none, send messages
  std::vector<int> member;  // by place in the group: index in `ranks`
  std::vector<int> place;   // the reverse
};
NativeGroup native_group(const Problem&, const std::vector<int>& ranks);

// Ranges that follow each other become one. Ranges without elements vanish.
std::vector<Range> merged(const std::vector<Range>&);
// Copies; neighbours on both sides become one step. {to, from}, of equal counts.
void copy_all(Builder&, const std::vector<std::pair<Range, Range>>&);

}  // namespace libcoll::algo
