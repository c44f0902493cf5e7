// Allgather over levels.
//
// slices=1. Idea: a group's leader collects its members' blocks, the leaders exchange groups' blocks, and
// everything is released inside the groups. Blocks lie in the order of the groups, so that a group's are
// one piece: one message per group and round.
//
// slices=all. Idea: every rank exchanges its own block with its peers in the other groups, all at once,
// and the ranks of a group share what they got. With r ranks in a group and S in the largest, exchange s
// (a lane) belongs to rank floor(s * r / S) of the group; a rank with several lanes cuts its block.
// Blocks lie lane by lane, and group by group in a lane: what a rank got is one piece.
//
// Both: every block enters a group once, which is the lower bound: (all - own) elements per group.
// Source: leaders and slices as in multi-leader hierarchical collectives (Bayatpour et al., SC 2017).
#include "libcoll/algorithms/cluster_allgather.hpp"

#include <algorithm>
#include <numeric>

namespace libcoll::algo {

namespace {

constexpr std::size_t at(int i) { return static_cast<std::size_t>(i); }

struct Placed {
  int rank;           // whose block
  std::int64_t from;  // element of the block
  Part where;         // in the layout
};

// Everything but what already lies there.
void unpack(Builder& b, const Problem& p, const Range& base, const std::vector<Placed>& pieces) {
  std::vector<std::pair<Range, Range>> copies;
  for (const Placed& x : pieces)
    if (x.rank != b.rank() || !p.in_place)
      copies.emplace_back(part(recv_block(p, x.rank), x.from, x.where.count), part(base, x.where.offset, x.where.count));
  copy_all(b, copies);
}

// The receive buffer itself if the pieces lie there as they lie in the layout, else scratch.
Range base_for(Builder& b, const Problem& p, const std::vector<Placed>& pieces, std::int64_t total) {
  const bool same = p.coll == Coll::allgather && std::all_of(pieces.begin(), pieces.end(), [&](const Placed& x) {
    return x.where.count == 0 || x.where.offset == x.rank * p.count + x.from;
  });
  return same ? Range{Space::recv, 0, 0, total} : b.scratch(total);
}

void by_leaders(Builder& b, const Problem& p, const Recipe& r, const Cluster& world, const Range& own) {
  const Layout layout(world.ranks, block_counts(p, world.ranks));
  std::vector<Placed> pieces;
  for (const int rank : world.ranks) pieces.push_back({rank, 0, layout.of_rank(rank)});
  const Range base = base_for(b, p, pieces, layout.total());
  spread(b, p, world, layout, {base, 0}, own, r.algorithm, false);
  if (base.space == Space::scratch) unpack(b, p, base, pieces);
}

// Lanes and what travels in them.
struct Lanes {
  Lanes(const Problem& p, const Cluster& world) {
    for (const Cluster& g : world.parts) count = std::max(count, g.size());
    std::int64_t offset = 0;
    for (int s = 0; s < count; ++s)
      for (const Cluster& g : world.parts) {
        const int i = owner(g, s), first = first_of(g, i), many = first_of(g, i + 1) - first;
        const std::int64_t n = p.counts.empty() ? p.count : p.counts[at(g.ranks[at(i)])];
        const std::int64_t from = n * (s - first) / many, until = n * (s - first + 1) / many;
        pieces.push_back({g.ranks[at(i)], from, {offset, until - from}});
        offset += until - from;
      }
    total = offset;
    groups = static_cast<int>(world.parts.size());
  }
  int owner(const Cluster& g, int s) const { return static_cast<int>(std::int64_t{s} * g.size() / count); }
  int first_of(const Cluster& g, int i) const { return static_cast<int>((std::int64_t{i} * count + g.size() - 1) / g.size()); }
  const Placed& piece(int s, int g) const { return pieces[at(s * groups + g)]; }
  std::int64_t start(int s) const { return s == count ? total : piece(s, 0).where.offset; }

  int count = 1, groups = 1;
  std::int64_t total = 0;
  std::vector<Placed> pieces;  // by lane, then group
};

// Elements of a block from which copies cost more than an operation for every group.
constexpr std::int64_t share_in_place_from = 8192;
constexpr int most_shares = 64;

// The ranks of this rank's group that share by native operations, one lane each; index -1 if that is not so everywhere.
NativeGroup direct_sharers(const Problem& p, const Cluster& world, const Cluster& mine) {
  const bool large = p.coll == Coll::allgather && p.count >= share_in_place_from && static_cast<int>(world.parts.size()) <= most_shares;
  const auto fits = [&](const Cluster& g) { return g.parts.empty() && g.size() == mine.size() && native_group(p, g.ranks).index >= 0; };
  return large && std::all_of(world.parts.begin(), world.parts.end(), fits) ? native_group(p, mine.ranks) : NativeGroup{};
}

void by_direct_lanes(Builder& b, const Problem& p, const Recipe& r, const Cluster& world, const Cluster& mine, const NativeGroup& sharers, const Range& own) {
  b.copy(recv_block(p, b.rank()), own);
  const auto lane = static_cast<std::size_t>(std::find(mine.ranks.begin(), mine.ranks.end(), b.rank()) - mine.ranks.begin());
  std::vector<int> ranks;
  std::vector<Range> blocks;
  for (const Cluster& g : world.parts) {
    ranks.push_back(g.ranks[lane]);
    blocks.push_back(recv_block(p, g.ranks[lane]));
  }
  allgather_blocks(b, sched::team_of(std::move(ranks), b.rank()), r.algorithm, blocks);
  // This rank's group first: its blocks are there while the others still travel.
  const auto groups = static_cast<int>(world.parts.size()), first = world.part_of(b.rank());
  for (int k = 0; k < groups; ++k) {
    const Cluster& g = world.parts[at((first + k) % groups)];
    std::vector<Part> parts;
    for (const int rank : g.ranks) parts.push_back({rank * p.count, p.count});
    allgather_native(b, sharers, {Space::recv, 0, 0, p.size * p.count}, recv_block(p, g.ranks[lane]), parts);
  }
}

void by_lanes(Builder& b, const Problem& p, const Recipe& r, const Cluster& world, const Range& own) {
  const Cluster& mine = world.parts[at(world.part_of(b.rank()))];
  if (const NativeGroup sharers = direct_sharers(p, world, mine); sharers.index >= 0) return by_direct_lanes(b, p, r, world, mine, sharers, own);
  const Lanes lanes(p, world);
  const Range base = base_for(b, p, lanes.pieces, lanes.total);
  const auto in_base = [&](const Placed& x) { return part(base, x.where.offset, x.where.count); };
  for (const Placed& x : lanes.pieces)
    if (x.rank == b.rank()) b.copy(in_base(x), part(own, x.from, x.where.count));
  for (int s = 0; s < lanes.count; ++s) {
    std::vector<int> ranks;
    std::vector<Range> blocks;
    for (int g = 0; g < lanes.groups; ++g) {
      ranks.push_back(lanes.piece(s, g).rank);
      blocks.push_back(in_base(lanes.piece(s, g)));
    }
    if (const Team team = sched::team_of(std::move(ranks), b.rank()); team.me >= 0) allgather_blocks(b, team, r.algorithm, blocks);
  }
  std::vector<std::int64_t> got;
  for (int i = 0; i < mine.size(); ++i) got.push_back(lanes.start(lanes.first_of(mine, i + 1)) - lanes.start(lanes.first_of(mine, i)));
  const Layout layout(mine.ranks, got);
  const Share share{base, 0};
  spread(b, p, mine, layout, share, share.of(layout.of_rank(b.rank())), r.algorithm, true);
  if (base.space == Space::scratch) unpack(b, p, base, lanes.pieces);
}

int exchange_rounds(const std::string& algorithm, int n) { return algorithm == "ring" ? n - 1 : tree_rounds(n, 2); }

}  // namespace

std::string refuses_allgather(const Problem& p, const Recipe& r) {
  const int n = r.over.empty() ? p.size : group_count(p, r.over.back());
  if (r.algorithm == "recursive_doubling" && !power_of_two(n))
    return "recursive_doubling needs a power of two of " + std::string(r.over.empty() ? "ranks" : "groups") + "; there are " +
           std::to_string(n);
  if (r.slices != 1 && r.slices != all_slices) return "slices must be 1 or all: every rank brings a block of its own";
  if (r.chunk != 0) return "an allgather is not cut into chunks";
  return {};
}

void build_allgather(Builder& b, const Problem& p, const Recipe& r) {
  const std::vector<std::int64_t> counts = block_counts(p, sched::everyone(p.size, 0).ranks);
  if (std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) == 0) return;
  const Range own = operand(p, b.rank(), 0, counts[at(b.rank())]);
  if (r.over.empty()) {
    std::vector<Range> blocks;
    for (int i = 0; i < p.size; ++i) blocks.push_back(recv_block(p, i));
    b.copy(blocks[at(b.rank())], own);
    return allgather_blocks(b, sched::everyone(p.size, b.rank()), r.algorithm, blocks);
  }
  const Cluster world = clusters(p, r.over);
  if (r.slices == 1 || world.parts.size() == 1) by_leaders(b, p, r, world, own);
  else by_lanes(b, p, r, world, own);
}

std::vector<Work> work_of_allgather(const Problem& p, const Recipe& r) {
  const double all =
      static_cast<double>(p.counts.empty() ? p.count * p.size : std::accumulate(p.counts.begin(), p.counts.end(), std::int64_t{0}));
  if (r.over.empty())
    return {{.ranks = p.size, .rounds = double(exchange_rounds(r.algorithm, p.size)), .sent = all * (p.size - 1) / p.size}};
  const int groups = group_count(p, r.over.back());
  const double got = all * (groups - 1) / groups;
  const std::vector<LevelTeam> teams = level_teams(p, clusters(p, r.over));
  const bool lanes = r.slices == all_slices && groups > 1;
  // Levels that collect to leaders; the next one exchanges by itself, unless it is the world.
  const std::size_t below = lanes || groups == 1 ? teams.size() - 1 : teams.size();
  std::vector<Work> out;
  const auto exchange = [&](double sent, int flows) {
    out.push_back({.ranks = groups, .rounds = double(exchange_rounds(r.algorithm, groups)), .sent = sent, .flows = flows});
  };
  if (lanes) exchange(got / teams.back().ranks, teams.back().ranks);
  for (std::size_t i = 0; i < below; ++i)
    out.push_back(work_in(teams[i], Coll::gatherv, all * teams[i].ranks / (lanes ? teams.back().ranks : p.size)));
  if (below < teams.size()) out.push_back(work_in(teams.back(), Coll::allgatherv, all));
  else exchange(got, 1);
  for (std::size_t i = below; i-- > 0;) out.push_back(work_in(teams[i], Coll::bcast, all));
  return out;
}

}  // namespace libcoll::algo
