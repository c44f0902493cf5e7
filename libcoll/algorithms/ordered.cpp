#include "libcoll/algorithms/ordered.hpp"

#include <algorithm>

#include "libcoll/algorithms/team_reduce.hpp"

namespace libcoll::algo {

namespace {
std::size_t at(int i) { return static_cast<std::size_t>(i); }

// Places of the group that `rank` stands for at a level: of itself below the first.
std::pair<int, int> places(const Problem& p, const Recipe& r, const Gathered& g, int rank, std::size_t levels) {
  const int mine = g.place_of[at(rank)];
  if (levels == 0) return {mine, mine + 1};
  const auto& view = level_view(p, r.over[levels - 1]);
  const int group = view.group_of[at(rank)];
  int first = mine;
  while (first > 0 && view.group_of[at(g.order[at(first - 1)])] == group) --first;
  return {first, first + static_cast<int>(view.members[at(group)].size())};
}
}  // namespace

std::vector<Range> Gathered::in_rank_order() const {
  std::vector<Range> out;
  for (const int place : place_of) out.push_back(of(place, place + 1));
  return out;
}

Gathered gather_up(Site s, const Way& way, const Range& own) {
  Gathered g;
  g.count = own.count;
  g.order = nested_order(s.p, s.recipe.over);
  g.place_of.resize(at(s.p.size));
  for (int i = 0; i < s.p.size; ++i) g.place_of[at(g.order[at(i)])] = i;
  const bool scans = s.p.coll == Coll::scan || s.p.coll == Coll::exscan;
  const bool hands_on = way.stages.front().team.size() > 1 && !way.stages.front().leads();
  g.whole = s.room.get(hands_on && !scans ? 0 : own.count * s.p.size);
  Range mine = own;
  for (std::size_t i = 0; i < way.stages.size(); ++i) {
    const Stage& stage = way.stages[i];
    if (stage.team.size() == 1) continue;
    const int start = places(s.p, s.recipe, g, s.rank(), i + 1).first;
    std::vector<Part> parts;
    for (const int r : stage.team.ranks) {
      const auto [first, last] = places(s.p, s.recipe, g, r, i);
      parts.push_back({(first - start) * g.count, (last - first) * g.count});
    }
    const auto [first, last] = places(s.p, s.recipe, g, s.rank(), i + 1);
    const Range none = sched::part(g.whole, 0, 0);
    stage_gather(s, stage, mine, stage.leads() ? g.of(first, last) : none, parts);
    if (stage.leads()) mine = g.of(first, last);
  }
  // A rank that was alone so far has its own operand where it was.
  if (way.top.me >= 0 && mine == own) s.b.copy(g.of(g.place_of[at(s.rank())], g.place_of[at(s.rank())] + 1), own);
  return g;
}

void gather_across(Site s, const Way& way, const Gathered& g) {
  std::vector<Part> parts;
  for (const int r : way.top.ranks) {
    const auto [first, last] = places(s.p, s.recipe, g, r, s.recipe.over.size());
    parts.push_back({first * g.count, (last - first) * g.count});
  }
  allgather_circulant(s, way.top, g.whole, parts);
}

void gather_at_root(Site s, const Way& way, const Gathered& g) {
  if (way.top.me < 0) return;
  const int root = way.top.rank(way.top_root);
  for (const int r : way.top.ranks) {
    const auto [first, last] = places(s.p, s.recipe, g, r, s.recipe.over.size());
    if (s.rank() == root && r != root) s.b.recv(r, g.of(first, last));
    if (s.rank() == r && r != root) s.b.send(root, g.of(first, last));
  }
}

}  // namespace libcoll::algo
