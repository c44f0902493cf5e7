#include "libcoll/algorithms/cluster_moves.hpp"

#include <algorithm>

namespace libcoll::algo {

namespace {

constexpr std::size_t at(int i) { return static_cast<std::size_t>(i); }

// The parts that a cluster's actors answer for, relative to the cluster.
std::vector<Part> parts_of(const Cluster& c, const Layout& layout) {
  std::vector<Part> out;
  const std::int64_t start = layout.of(c).offset;
  const auto add = [&](Part p) { out.push_back({p.offset - start, p.count}); };
  if (c.parts.empty())
    for (const int r : c.ranks) add(layout.of_rank(r));
  for (const Cluster& inner : c.parts) add(layout.of(inner));
  return out;
}

int index_of(const Team& t, int rank) { return static_cast<int>(std::find(t.ranks.begin(), t.ranks.end(), rank) - t.ranks.begin()); }

Route inside(const Route& route) { return {route.tree, route.radix, true}; }

// Fit for any number of members.
std::string algorithm_for(const std::string& algorithm, int members) {
  return algorithm == "recursive_doubling" && !power_of_two(members) ? "bruck" : algorithm;
}

}  // namespace

void collect(Builder& b, const Problem& p, const Cluster& c, const Layout& layout, const Share& share, const Range& own,
             const Route& route) {
  const int mine = c.part_of(b.rank());
  if (mine >= 0) collect(b, p, c.parts[at(mine)], layout, share, own, inside(route));
  const Team team = sched::team_of(c.actors(), b.rank());
  if (team.me < 0) return;
  const bool leads = c.leader == b.rank();
  const Range from = mine >= 0 ? share.of(layout.of(c.parts[at(mine)])) : own;
  if (leads && mine < 0) b.copy(share.of(layout.of_rank(b.rank())), own);
  gather_parts(b, p, team, index_of(team, c.leader), route, leads ? share.of(layout.of(c)) : Range{}, from, parts_of(c, layout));
}

void distribute(Builder& b, const Problem& p, const Cluster& c, const Layout& layout, const Share& share, const Range& own,
                const Route& route, bool keep) {
  const int mine = c.part_of(b.rank());
  const Team team = sched::team_of(c.actors(), b.rank());
  if (team.me >= 0) {
    const bool leads = c.leader == b.rank();
    const Range to = mine >= 0 ? share.of(layout.of(c.parts[at(mine)])) : own;
    scatter_parts(b, p, team, index_of(team, c.leader), route, leads ? Range{} : to, leads ? share.of(layout.of(c)) : Range{},
                  parts_of(c, layout));
    if (leads && mine < 0 && !keep) b.copy(own, share.of(layout.of_rank(b.rank())));
  }
  if (mine >= 0) distribute(b, p, c.parts[at(mine)], layout, share, own, inside(route), keep);
}

void release(Builder& b, const Problem& p, const Cluster& c, const Range& range) {
  const Team team = sched::team_of(c.actors(), b.rank());
  if (team.me >= 0) bcast_range(b, p, team, index_of(team, c.leader), range);
  const int mine = c.part_of(b.rank());
  if (mine >= 0) release(b, p, c.parts[at(mine)], range);
}

void spread(Builder& b, const Problem& p, const Cluster& c, const Layout& layout, const Share& share, const Range& own,
            const std::string& algorithm, bool native) {
  if (c.parts.size() == 1) return spread(b, p, c.parts[0], layout, share, own, algorithm, true);
  const int mine = c.part_of(b.rank());
  if (mine >= 0) collect(b, p, c.parts[at(mine)], layout, share, own, {.tree = true});
  const Range all = share.of(layout.of(c));
  const Team team = sched::team_of(c.actors(), b.rank());
  if (team.me >= 0) {
    const std::vector<Part> parts = parts_of(c, layout);
    const NativeGroup group = native ? native_group(p, team.ranks) : NativeGroup{};
    const Range from = mine >= 0 ? share.of(layout.of(c.parts[at(mine)])) : own;
    const Part& my = parts[at(team.me)];
    if (group.index >= 0) {
      allgather_native(b, group, all, from, parts);
    } else {
      std::vector<Range> blocks;
      for (const Part& x : parts) blocks.push_back(part(all, x.offset, x.count));
      b.copy(part(all, my.offset, my.count), from);
      allgather_blocks(b, team, algorithm_for(algorithm, team.size()), blocks);
    }
  }
  if (mine >= 0) release(b, p, c.parts[at(mine)], all);
}

const Cluster* widest_led(const Cluster& c, int rank) {
  if (c.leader == rank) return &c;
  const int mine = c.part_of(rank);
  return mine < 0 ? nullptr : widest_led(c.parts[at(mine)], rank);
}

std::vector<std::int64_t> block_counts(const Problem& p, const std::vector<int>& ranks) {
  std::vector<std::int64_t> out;
  for (const int r : ranks) out.push_back(p.counts.empty() ? p.count : p.counts[at(r)]);
  return out;
}

std::vector<LevelTeam> level_teams(const Problem& p, const Cluster& world) {
  std::vector<LevelTeam> out;
  std::vector<const Cluster*> now{&world};
  while (!now[0]->parts.empty()) {
    std::vector<const Cluster*> next;
    LevelTeam most;
    for (const Cluster* c : now)
      for (const Cluster& inner : c->parts) {
        next.push_back(&inner);
        const std::vector<int> actors = inner.actors();
        const auto n = static_cast<int>(actors.size());
        if (n > most.actors || next.size() == 1) most.native = n < 2 || native_group(p, actors).index >= 0;
        most.level = inner.level;
        most.actors = std::max(most.actors, n);
        most.ranks = std::max(most.ranks, inner.size());
      }
    out.push_back(most);
    now = std::move(next);
  }
  std::reverse(out.begin(), out.end());
  return out;
}

Work work_in(const LevelTeam& t, Coll native, double elements) {
  Work w{.level = t.level, .native = native, .ranks = t.actors, .rounds = 1, .sent = elements};
  if (t.native) w.where = Work::Where::native;
  else if (native == Coll::alltoallv) w.rounds = (t.actors - 1 + exchange_window - 1) / exchange_window;
  else w.rounds = tree_rounds(t.actors, 2);
  return w;
}

int group_count(const Problem& p, Level level) {
  for (const auto& v : p.levels)
    if (v.level == level) return static_cast<int>(v.members.size());
  return p.size;
}

}  // namespace libcoll::algo
