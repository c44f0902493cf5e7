#include "libcoll/algorithms/compose.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "libcoll/algorithms/team_reduce.hpp"

namespace libcoll::algo {

namespace {
std::size_t at(int i) { return static_cast<std::size_t>(i); }
}  // namespace

void Room::enter(int slot) {
  slot_ = at(slot);
  next_ = 0;
  if (slot_ >= slots_.size()) slots_.resize(slot_ + 1);
}

Range Room::get(std::int64_t count) {
  auto& mine = slots_[slot_];
  if (next_ == mine.size()) mine.push_back(b_.scratch(count));
  else if (mine[next_].count < count) mine[next_] = b_.scratch(count);
  return sched::part(mine[next_++], 0, count);
}

const Problem::LevelView& level_view(const Problem& p, Level level) {
  return *std::find_if(p.levels.begin(), p.levels.end(), [&](const auto& v) { return v.level == level; });
}

Way way_up(const Problem& p, const std::vector<Level>& levels, std::vector<int> actors, int rank, int root) {
  Way way;
  for (const Level level : levels) {
    const auto& view = level_view(p, level);
    std::vector<std::vector<int>> teams(view.members.size());
    for (const int a : actors) teams[at(view.group_of[at(a)])].push_back(a);
    actors.clear();
    for (std::size_t g = 0; g < teams.size(); ++g) {
      auto& ranks = teams[g];
      if (ranks.empty()) continue;
      auto lead = std::find(ranks.begin(), ranks.end(), root);
      if (lead == ranks.end()) lead = std::find(ranks.begin(), ranks.end(), view.leader[g]);
      if (lead == ranks.end()) lead = ranks.begin();
      actors.push_back(*lead);
      if (std::find(ranks.begin(), ranks.end(), rank) == ranks.end()) continue;
      Stage stage;
      stage.leader = static_cast<int>(lead - ranks.begin());
      stage.native = level <= Level::host ? p.group_with(ranks) : -1;
      stage.team = sched::team_of(ranks, rank);
      way.stages.push_back(std::move(stage));
    }
  }
  const auto top_root = std::find(actors.begin(), actors.end(), root);
  way.top_root = top_root == actors.end() ? 0 : static_cast<int>(top_root - actors.begin());
  way.top = sched::team_of(std::move(actors), rank);
  return way;
}

Way way_up(const Problem& p, const Recipe& r, int rank, int root) { return way_up(p, r.over, sched::everyone(p.size, rank).ranks, rank, root); }

Slices::Slices(const Problem& p, const Recipe& r, int rank) : view(&level_view(p, r.over.front())), many(r.slices), group(view->group_of[at(rank)]) {
  if (many == all_slices)
    for (const auto& m : view->members) many = std::max(many, static_cast<int>(m.size()));
  mine.team = sched::team_of(view->members[at(group)], rank);
  mine.native = view->level <= Level::host ? p.group_with(mine.team.ranks) : -1;
}

int Slices::driver(int g, int s) const {
  const auto& members = view->members[at(g)];
  return members[at(s) * members.size() / at(many)];
}

int Slices::first_of(int g, int member) const {
  const int r = static_cast<int>(view->members[at(g)].size());
  return (member * many + r - 1) / r;
}

Way Slices::way(const Problem& p, const Recipe& r, int s, int rank, int root) const {
  std::vector<int> actors;
  for (int g = 0; g < static_cast<int>(view->members.size()); ++g) actors.push_back(driver(g, s));
  // In its group the root's slices are its own drivers': the nearest there is.
  const int near = root < 0 ? -1 : driver(view->group_of[at(root)], s);
  return way_up(p, {r.over.begin() + 1, r.over.end()}, std::move(actors), rank, near);
}

std::vector<Part> Slices::parts(std::int64_t count) const {
  std::vector<Part> out;
  for (int m = 0; m < mine.team.size(); ++m) {
    const int first = first_of(group, m), last = first_of(group, m + 1);
    const std::int64_t from = even_part(count, many, first).offset;
    out.push_back({from, even_part(count, many, last).offset - from});
  }
  return out;
}

Part even_part(std::int64_t count, int n, int i) {
  const std::int64_t each = count / n, more = count % n;
  return {each * i + std::min<std::int64_t>(i, more), i == n ? 0 : each + (i < more ? 1 : 0)};
}

void stage_reduce(Site s, const Stage& stage, const Range& from, const Range& acc) {
  if (stage.native >= 0) {
    s.b.native(Coll::reduce, stage.native, stage.leader, stage.leads() ? acc : sched::part(acc, 0, 0), from);
    return;
  }
  const Range at_ = reduce_tree(s, stage.team, stage.leader, from, acc);
  if (stage.leads()) s.b.copy(acc, at_);
}

Range stage_up(Site s, const Stage& stage, const Range& mine, const Range& acc) {
  if (stage.team.size() == 1) return mine;
  stage_reduce(s, stage, mine, acc);
  return acc;
}

void stage_bcast(Site s, const Stage& stage, const Range& acc) {
  if (stage.native >= 0) s.b.native(Coll::bcast, stage.native, stage.leader, acc, sched::part(acc, 0, 0));
  else bcast_tree(s, stage.team, stage.leader, acc);
}

void stage_reduce_scatter(Site s, const Stage& stage, const Range& from, const Range& to, std::span<const Part> parts) {
  if (stage.native >= 0) s.b.native(Coll::reduce_scatter, stage.native, 0, to, from, parts);
  else reduce_scatter_ordered(s, stage.team, from, to, parts);
}

void stage_allgather(Site s, const Stage& stage, const Range& from, const Range& to, std::span<const Part> parts) {
  if (stage.native >= 0) return s.b.native(Coll::allgatherv, stage.native, 0, to, from, parts);
  const Team& t = stage.team;
  s.b.copy(sub(to, parts[at(t.me)]), from);
  for (int i = 1; i < t.size(); ++i) {
    const int next = (t.me + i) % t.size(), last = (t.me + t.size() - i) % t.size();
    s.b.send(t.rank(next), from);
    s.b.recv(t.rank(last), sub(to, parts[at(last)]));
  }
}

void stage_gather(Site s, const Stage& stage, const Range& from, const Range& to, std::span<const Part> parts) {
  const bool leads = stage.leads();
  if (stage.native >= 0) return s.b.native(Coll::gatherv, stage.native, stage.leader, leads ? to : sched::part(to, 0, 0), from, parts);
  if (!leads) return s.b.send(stage.team.rank(stage.leader), from);
  for (int i = 0; i < stage.team.size(); ++i)
    if (i == stage.leader) s.b.copy(sub(to, parts[at(i)]), from);
    else s.b.recv(stage.team.rank(i), sub(to, parts[at(i)]));
}

void stage_scatter(Site s, const Stage& stage, const Range& from, const Range& to, std::span<const Part> parts) {
  const bool leads = stage.leads();
  if (stage.native >= 0) return s.b.native(Coll::scatterv, stage.native, stage.leader, to, leads ? from : sched::part(to, 0, 0), parts);
  if (!leads) return s.b.recv(stage.team.rank(stage.leader), to);
  for (int i = 0; i < stage.team.size(); ++i)
    if (i == stage.leader) s.b.copy(to, sub(from, parts[at(i)]));
    else s.b.send(stage.team.rank(i), sub(from, parts[at(i)]));
}

std::vector<int> nested_order(const Problem& p, const std::vector<Level>& over) {
  std::vector<int> order = sched::everyone(p.size, 0).ranks;
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    for (auto l = over.rbegin(); l != over.rend(); ++l) {
      const auto& of = level_view(p, *l).group_of;
      if (of[at(a)] != of[at(b)]) return of[at(a)] < of[at(b)];
    }
    return a < b;
  });
  return order;
}

void pipeline(Site s, std::int64_t count, std::size_t exchange, const std::vector<Phase>& phases) {
  if (count == 0) return;
  const std::int64_t chunk = s.recipe.chunk > 0 ? std::min(s.recipe.chunk, count) : count;
  const std::int64_t chunks = (count + chunk - 1) / chunk;
  const auto depth = static_cast<std::int64_t>(phases.size());
  const auto run = [&](std::int64_t i, std::int64_t c) {
    if (c < 0 || c >= chunks) return;
    // Each phase has its own scratch, twice: a chunk need not wait for the one before.
    s.room.enter(static_cast<int>(2 * i + c % 2));
    phases[static_cast<std::size_t>(i)](c * chunk, std::min(chunk, count - c * chunk));
  };
  const auto first = static_cast<std::int64_t>(exchange);
  for (std::int64_t round = 0; round < chunks + depth - 1; ++round) {
    run(first, round - first);
    for (std::int64_t i = 0; i < depth; ++i)
      if (i != first) run(i, round - i);
  }
}

std::string refuses_order(const Problem& p, const Recipe& r) {
  if (p.commutative || r.algorithm == "ordered") return {};
  for (const Level level : r.over)
    for (const auto& m : level_view(p, level).members)
      if (m.back() - m.front() + 1 != static_cast<int>(m.size()))
        return fmt::format("the operation does not commute, and ranks of one {} do not follow each other", name_of(level));
  return {};
}

std::string refuses_slices(const Problem& p, const Recipe& r) {
  if (r.slices <= 1) return {};
  std::size_t largest = 0;
  for (const auto& m : level_view(p, r.over.front()).members) largest = std::max(largest, m.size());
  if (at(r.slices) > largest) return fmt::format("{} slices, but the largest {} has {} ranks", r.slices, name_of(r.over.front()), largest);
  return {};
}

std::string refuses_placement(const Problem& p, const Recipe& r) {
  if (p.determinism == Determinism::placement && r.algorithm != "ordered")
    return "determinism placement needs one reduction in rank order: algorithm \"ordered\"";
  if (r.algorithm == "ordered" && r.slices != 1) return "ordered has no slices";
  return {};
}

int top_size(const Problem& p, const Recipe& r) { return r.over.empty() ? p.size : static_cast<int>(level_view(p, r.over.back()).members.size()); }

Work exchange_work(const Problem& p, const Recipe& r, double rounds, double sent, double reduced, double both) {
  Work w;
  w.ranks = top_size(p, r);
  w.rounds = rounds;
  w.sent = sent;
  w.reduced = reduced;
  w.both = both;
  if (!r.over.empty()) {
    const auto& narrow = level_view(p, r.over.front());
    std::size_t largest = 0;
    for (const auto& m : narrow.members) largest = std::max(largest, m.size());
    w.flows = r.slices == all_slices ? static_cast<int>(largest) : r.slices;
    w.sent /= w.flows;
    w.reduced /= w.flows;
  }
  return w;
}

std::vector<Work> ordered_work(const Problem& p, const Recipe& r, double elements, Coll down, double down_elements) {
  const double n = top_size(p, r), all = elements * p.size;
  std::vector<Work> out;
  add_stage_work(out, p, r, Coll::gatherv, all / n);
  if (n > 1) out.push_back(exchange_work(p, r, p.coll == Coll::reduce ? 1 : std::ceil(std::log2(n)), (n - 1) / n * all, all, p.coll == Coll::reduce ? 0 : 1));
  if (down_elements > 0) add_stage_work(out, p, r, down, down_elements);
  return out;
}

void add_stage_work(std::vector<Work>& out, const Problem& p, const Recipe& r, Coll native, double elements) {
  std::size_t before = at(p.size);
  for (const Level level : r.over) {
    const auto& view = level_view(p, level);
    const std::size_t groups = view.members.size();
    const int ranks = static_cast<int>((before + groups - 1) / groups);  // of a team, about
    before = groups;
    if (ranks < 2) continue;
    Work w;
    w.level = level;
    w.ranks = ranks;
    if (level <= Level::host && !p.groups.empty()) {
      w.where = Work::Where::native;
      w.native = native;
      w.rounds = 1;
      w.sent = elements;
    } else {
      w.rounds = std::ceil(std::log2(ranks));
      w.sent = w.rounds * elements;
      if (native == Coll::reduce || native == Coll::reduce_scatter) w.reduced = w.rounds * elements;
    }
    out.push_back(w);
  }
}

}  // namespace libcoll::algo
