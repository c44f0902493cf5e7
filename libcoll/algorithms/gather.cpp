// Gather: the blocks of all ranks at the root. p ranks, blocks of m elements: the root must take in
// (p - 1) m elements, in at least ceil(log_k p) rounds of k - 1 messages.
//
// k_nomial  Idea: a tree whose inner ranks collect their subtrees and pass them on as one piece.
//           Invariant: a rank sends once, when its subtree is complete. ceil(log_k p) rounds, at the root
//           (p - 1) m elements in; inner ranks need scratch for their subtrees. Any root.
// linear    Idea: every rank sends to the root. One round, p - 1 messages at the root, no scratch.
// Over levels: leaders collect inside their groups (natively where possible) and the algorithm runs
// between the leaders; the root leads its own groups, so that nothing takes a detour.
// Papers: Thakur, Rabenseifner, Gropp, IJHPCA 19(1), 2005 (binomial); k-nomial: Bruck, Ho 1994.
#include "libcoll/algorithms/cluster_moves.hpp"
#include "libcoll/algorithms/collectives.hpp"

namespace libcoll::algo {

namespace {

constexpr Entry entries[] = {
    {"k_nomial", "inner ranks of a tree collect their subtrees", "Thakur, Rabenseifner, Gropp 2005"},
    {"linear", "everyone sends to the root", "textbook"},
};

std::string refuses_gather(const Problem&, const Recipe& r) {
  if (r.slices != 1) return "slices must be 1: everything goes to one rank";
  if (r.chunk != 0) return "a gather is not cut into chunks";
  return {};
}

void build_gather(Builder& b, const Problem& p, const Recipe& r) {
  if (p.count == 0) return;
  const Cluster world = clusters(p, r.over, p.root);
  const Layout layout(world.ranks, block_counts(p, world.ranks));
  const bool root = b.rank() == p.root;
  Share share;
  if (const Cluster* led = widest_led(world, b.rank()); root && layout.ascending()) {
    share = {{Space::recv, 0, 0, layout.total()}, 0};
  } else if (led != nullptr && (led->size() > 1 || root)) {
    share = {b.scratch(layout.of(*led).count), layout.of(*led).offset};
  } else {
    share = {operand(p, b.rank(), 0, p.count), layout.of_rank(b.rank()).offset};  // alone: its block is all that it sends
  }
  collect(b, p, world, layout, share, operand(p, b.rank(), 0, p.count), {r.algorithm == "k_nomial", r.radix, false});
  if (!root || layout.ascending()) return;
  std::vector<std::pair<Range, Range>> copies;
  for (const int rank : world.ranks)
    if (rank != p.root || !p.in_place) copies.emplace_back(recv_block(p, rank), share.of(layout.of_rank(rank)));
  copy_all(b, copies);
}

std::vector<Work> work_of_gather(const Problem& p, const Recipe& r) {
  const int top = r.over.empty() ? p.size : group_count(p, r.over.back());
  const double all = static_cast<double>(p.count) * p.size;
  std::vector<Work> out;
  for (const LevelTeam& t : level_teams(p, clusters(p, r.over, p.root))) out.push_back(work_in(t, Coll::gatherv, all * t.ranks / p.size));
  const int rounds = r.algorithm == "k_nomial" ? tree_rounds(top, r.radix) : 1;
  if (top > 1) out.push_back({.ranks = top, .rounds = double(rounds), .sent = all * (top - 1) / top, .both = 0});
  return out;
}

}  // namespace

const Collective gather_collective{entries, refuses_gather, build_gather, work_of_gather};

}  // namespace libcoll::algo
