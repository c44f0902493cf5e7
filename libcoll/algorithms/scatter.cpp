// Scatter: every rank gets its block of the root's vector. p ranks, blocks of m elements: the root must
// send (p - 1) m elements, in at least ceil(log_k p) rounds of k - 1 messages.
//
// k_nomial  Idea: the root sends whole subtrees, inner ranks keep their block and send on the rest.
//           Invariant: a rank receives once, all that its subtree needs. ceil(log_k p) rounds, (p - 1) m
//           elements out of the root; inner ranks need scratch for their subtrees. Any root.
// linear    Idea: the root sends to every rank. One round, p - 1 messages at the root, no scratch.
// Over levels: the algorithm runs between the leaders, who pass on inside their groups (natively where
// possible); the root leads its own groups, so that nothing takes a detour.
// Papers: Thakur, Rabenseifner, Gropp, IJHPCA 19(1), 2005 (binomial); k-nomial: Bruck, Ho 1994.
#include "libcoll/algorithms/cluster_moves.hpp"
#include "libcoll/algorithms/collectives.hpp"

namespace libcoll::algo {

namespace {

constexpr Entry entries[] = {
    {"k_nomial", "the root sends subtrees, inner ranks pass them on", "Thakur, Rabenseifner, Gropp 2005"},
    {"linear", "the root sends to everyone", "textbook"},
};

std::string refuses_scatter(const Problem&, const Recipe& r) {
  if (r.slices != 1) return "slices must be 1: everything comes from one rank";
  if (r.chunk != 0) return "a scatter is not cut into chunks";
  return {};
}

void build_scatter(Builder& b, const Problem& p, const Recipe& r) {
  if (p.count == 0) return;
  const Cluster world = clusters(p, r.over, p.root);
  const Layout layout(world.ranks, block_counts(p, world.ranks));
  const bool root = b.rank() == p.root, keep = root && p.in_place;
  const Range own = recv_block(p, b.rank());
  Share share;
  if (const Cluster* led = widest_led(world, b.rank()); root && layout.ascending()) {
    share = {{Space::send, 0, 0, layout.total()}, 0};
  } else if (led != nullptr && (led->size() > 1 || root)) {
    share = {b.scratch(layout.of(*led).count), layout.of(*led).offset};
  } else {
    share = {own, layout.of_rank(b.rank()).offset};
  }
  if (root && !layout.ascending()) {
    std::vector<std::pair<Range, Range>> copies;
    for (const int rank : world.ranks) copies.emplace_back(share.of(layout.of_rank(rank)), send_block(p, rank));
    copy_all(b, copies);
  }
  distribute(b, p, world, layout, share, own, {r.algorithm == "k_nomial", r.radix, false}, keep);
}

std::vector<Work> work_of_scatter(const Problem& p, const Recipe& r) {
  const int top = r.over.empty() ? p.size : group_count(p, r.over.back());
  const double all = static_cast<double>(p.count) * p.size;
  std::vector<Work> out;
  const int rounds = r.algorithm == "k_nomial" ? tree_rounds(top, r.radix) : 1;
  if (top > 1) out.push_back({.ranks = top, .rounds = double(rounds), .sent = all * (top - 1) / top, .both = 0});
  const std::vector<LevelTeam> teams = level_teams(p, clusters(p, r.over, p.root));
  for (auto t = teams.rbegin(); t != teams.rend(); ++t) out.push_back(work_in(*t, Coll::scatterv, all * t->ranks / p.size));
  return out;
}

}  // namespace

const Collective scatter_collective{entries, refuses_scatter, build_scatter, work_of_scatter};

}  // namespace libcoll::algo
