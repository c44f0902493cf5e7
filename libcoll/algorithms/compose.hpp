// What composed forms share: the teams of each level as one rank sees them, operations of a team by a
// native step or by messages, slices, and chunks that overlap.
#pragma once

#include <functional>

#include "libcoll/algorithms/algorithm.hpp"

namespace libcoll::algo {

// Scratch that successive chunks use in turn: the k-th request of a chunk gets what the k-th request of the
// chunk `slots` before got.
class Room {
 public:
  explicit Room(Builder& b) : b_(b) {}
  void enter(int slot);
  Range get(std::int64_t count);

 private:
  Builder& b_;
  std::vector<std::vector<Range>> slots_{1};
  std::size_t slot_ = 0, next_ = 0;
};

// What every part of a builder needs.
struct Site {
  Builder& b;
  Room& room;
  const Problem& p;
  const Recipe& recipe;
  int rank() const { return b.rank(); }
};

// Ranks that combine at one level, and who of them goes on to the next.
struct Stage {
  Team team;
  int native = -1;  // index in Problem::groups, or -1: messages
  int leader = 0;   // index in the team
  bool leads() const { return team.me == leader; }
};

// A rank's way up: one stage per level (perhaps of the rank alone), as long as it leads; then the exchange between the leaders of the
// widest groups, of which it may not be a member (me = -1).
struct Way {
  std::vector<Stage> stages;
  Team top;
  int top_root = 0;  // index of the root in `top`
};
// Over `levels`, from `actors` (ascending by group) on. In the groups of `root` the root leads, so that
// rooted collectives take no detour; -1: no root.
Way way_up(const Problem&, const std::vector<Level>& levels, std::vector<int> actors, int rank, int root);
Way way_up(const Problem&, const Recipe&, int rank, int root);

// The vector cut into as many slices as ranks of a group drive it: slice s belongs in a group of r ranks to
// its member floor(s * r / slices), so that every slice has one driver in every group.
struct Slices {
  Slices(const Problem&, const Recipe&, int rank);
  const Problem::LevelView* view;
  int many;
  Stage mine;        // the rank's group; its leader is the first member
  int group;         // which it is

  int driver(int g, int s) const;                // rank
  int first_of(int g, int member) const;         // first slice of a member; that of member + 1 ends them
  int owned_from() const { return first_of(group, mine.team.me); }
  int owned_to() const { return first_of(group, mine.team.me + 1); }
  Way way(const Problem&, const Recipe&, int s, int rank, int root) const;   // of a slice, over the wider levels
  std::vector<Part> parts(std::int64_t count) const;  // of the members of the rank's group
};

// Part i of n of `count` elements: sizes differ by one at most.
Part even_part(std::int64_t count, int n, int i);
inline Range sub(const Range& r, const Part& p) { return sched::part(r, p.offset, p.count); }

// All of it on the way up, from `mine` on: where the rank's part of the sum is afterwards (acc, or `mine` if
// it was always alone).
Range stage_up(Site, const Stage&, const Range& mine, const Range& acc);

// -- One stage: natively where the group can, else by messages. `from` is the rank's operand, `acc` where its
//    result goes; both may be one range.
void stage_reduce(Site, const Stage&, const Range& from, const Range& acc);        // to the leader's acc
void stage_bcast(Site, const Stage&, const Range& acc);                            // from the leader's
void stage_reduce_scatter(Site, const Stage&, const Range& from, const Range& to, std::span<const Part>);
void stage_allgather(Site, const Stage&, const Range& from, const Range& to, std::span<const Part>);
void stage_gather(Site, const Stage&, const Range& from, const Range& to, std::span<const Part>);   // to the leader
void stage_scatter(Site, const Stage&, const Range& from, const Range& to, std::span<const Part>);  // from the leader

// All ranks, so that those of one group follow each other at every level of `over`, groups in their order.
std::vector<int> nested_order(const Problem&, const std::vector<Level>& over);

// Emits phase i of chunk c in round c + i, so that the phases of successive chunks overlap and natives come
// in one order on all ranks. The exchange (phase number `exchange`) comes first in a round: its messages are
// on their way before a native step makes the rank wait. A phase gets elements [from, from + count).
using Phase = std::function<void(std::int64_t from, std::int64_t count)>;
void pipeline(Site, std::int64_t count, std::size_t exchange, const std::vector<Phase>& phases);

// -- What refuses() of several collectives share.
std::string refuses_order(const Problem&, const Recipe&);       // not commutative over groups out of rank order
std::string refuses_slices(const Problem&, const Recipe&);
std::string refuses_placement(const Problem&, const Recipe&);   // determinism placement: "ordered" only; it has no slices
int top_size(const Problem&, const Recipe&);                    // teams of the exchange
const Problem::LevelView& level_view(const Problem&, Level);

// -- What work() of several collectives share: every stage's operation, by native steps or messages.
Work exchange_work(const Problem&, const Recipe&, double rounds, double sent, double reduced, double both = 1);
// "ordered" over levels (ordered.hpp): all operands go up to the leaders and between them.
std::vector<Work> ordered_work(const Problem&, const Recipe&, double elements, Coll down, double down_elements);
void add_stage_work(std::vector<Work>&, const Problem&, const Recipe&, Coll native, double elements);
}  // namespace libcoll::algo
