#include "libcoll/algorithms/cluster.hpp"

#include <algorithm>

namespace libcoll::algo {

namespace {

using View = Problem::LevelView;

Cluster narrower(const std::vector<const View*>& views, std::size_t depth, std::size_t group, int leads);

// The groups of views[depth - 1] that lie inside c become its parts.
void part(Cluster& c, const std::vector<const View*>& views, std::size_t depth) {
  if (depth == 0) return;
  const View& v = *views[depth - 1];
  const View* wider = depth < views.size() ? views[depth] : nullptr;  // null: c is the world
  const auto group = [&](int r) { return wider == nullptr ? 0 : wider->group_of[static_cast<std::size_t>(r)]; };
  const int here = group(c.ranks[0]);
  c.ranks.clear();
  for (std::size_t g = 0; g < v.members.size(); ++g) {
    if (group(v.members[g][0]) != here) continue;
    c.parts.push_back(narrower(views, depth - 1, g, c.leader));
    c.ranks.insert(c.ranks.end(), c.parts.back().ranks.begin(), c.parts.back().ranks.end());
  }
}

Cluster narrower(const std::vector<const View*>& views, std::size_t depth, std::size_t group, int leads) {
  Cluster c;
  c.level = views[depth]->level;
  c.ranks = views[depth]->members[group];
  c.leader = c.contains(leads) ? leads : views[depth]->leader[group];
  part(c, views, depth);
  return c;
}

bool adjacent(const Range& a, const Range& b) {
  return a.space == b.space && a.block == b.block && a.count != sched::whole_block && b.count != sched::whole_block &&
         a.offset + a.count == b.offset;
}

}  // namespace

bool Cluster::contains(int rank) const { return std::find(ranks.begin(), ranks.end(), rank) != ranks.end(); }

std::vector<int> Cluster::actors() const {
  if (parts.empty()) return ranks;
  std::vector<int> out;
  for (const Cluster& c : parts) out.push_back(c.leader);
  return out;
}

int Cluster::part_of(int rank) const {
  const auto at = std::find_if(parts.begin(), parts.end(), [&](const Cluster& c) { return c.contains(rank); });
  return at == parts.end() ? -1 : static_cast<int>(at - parts.begin());
}

Cluster clusters(const Problem& p, const std::vector<Level>& over, int root) {
  std::vector<const View*> views;
  for (const Level level : over)
    views.push_back(&*std::find_if(p.levels.begin(), p.levels.end(), [&](const View& v) { return v.level == level; }));
  Cluster world;
  world.ranks = sched::everyone(p.size, 0).ranks;
  world.leader = root >= 0 ? root : 0;
  if (!views.empty() && root < 0) world.leader = views.back()->leader[0];
  part(world, views, views.size());
  return world;
}

Layout::Layout(const std::vector<int>& ranks, const std::vector<std::int64_t>& counts) : start_(1, 0) {
  place_.resize(static_cast<std::size_t>(ranks.empty() ? 0 : *std::max_element(ranks.begin(), ranks.end()) + 1), -1);
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    place_[static_cast<std::size_t>(ranks[i])] = static_cast<int>(i);
    start_.push_back(start_.back() + counts[i]);
  }
}

Part Layout::of_rank(int rank) const {
  const auto i = static_cast<std::size_t>(place_[static_cast<std::size_t>(rank)]);
  return {start_[i], start_[i + 1] - start_[i]};
}

Part Layout::of(const Cluster& c) const {
  const Part first = of_rank(c.ranks.front()), last = of_rank(c.ranks.back());
  return {first.offset, last.offset + last.count - first.offset};
}

bool Layout::ascending() const { return std::is_sorted(place_.begin(), place_.end()); }

NativeGroup native_group(const Problem& p, const std::vector<int>& ranks) {
  NativeGroup n;
  if (ranks.size() < 2) return n;
  n.index = p.group_with(ranks);
  for (std::size_t g = 0; n.index < 0 && g < p.groups.size(); ++g)
    if (p.groups[g].size() == ranks.size() && std::is_permutation(ranks.begin(), ranks.end(), p.groups[g].begin()))
      n.index = static_cast<int>(g);
  if (n.index < 0) return n;
  n.place.resize(ranks.size());
  for (const int r : p.groups[static_cast<std::size_t>(n.index)]) {
    const auto i = std::find(ranks.begin(), ranks.end(), r) - ranks.begin();
    n.place[static_cast<std::size_t>(i)] = static_cast<int>(n.member.size());
    n.member.push_back(static_cast<int>(i));
  }
  return n;
}

std::vector<Range> merged(const std::vector<Range>& ranges) {
  std::vector<Range> out;
  for (const Range& r : ranges) {
    if (r.count == 0) continue;
    if (!out.empty() && adjacent(out.back(), r)) out.back().count += r.count;
    else out.push_back(r);
  }
  return out;
}

void copy_all(Builder& b, const std::vector<std::pair<Range, Range>>& copies) {
  std::vector<std::pair<Range, Range>> runs;
  for (const auto& [to, from] : copies) {
    if (to.count == 0) continue;
    if (!runs.empty() && adjacent(runs.back().first, to) && adjacent(runs.back().second, from)) {
      runs.back().first.count += to.count;
      runs.back().second.count += from.count;
    } else {
      runs.emplace_back(to, from);
    }
  }
  for (const auto& [to, from] : runs) b.copy(to, from);
}

}  // namespace libcoll::algo
