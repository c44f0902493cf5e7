#include "tests/support/proofs.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <numeric>

namespace libcoll::test {

using detail::Coll;
using sched::Problem;
using sched::Schedule;

namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

// Parts ranks into `parts` groups, none empty, at random places.
std::vector<std::vector<int>> cut(const std::vector<int>& ranks, int parts, Random& random) {
  std::vector<int> ends(ranks.size() - 1);
  std::iota(ends.begin(), ends.end(), 1);
  std::shuffle(ends.begin(), ends.end(), random);
  ends.resize(at(parts - 1));
  std::sort(ends.begin(), ends.end());
  ends.push_back(static_cast<int>(ranks.size()));
  std::vector<std::vector<int>> out;
  for (int begin = 0; const int end : ends) {
    out.emplace_back(ranks.begin() + begin, ranks.begin() + end);
    begin = end;
  }
  return out;
}

void add_group(Problem& p, std::vector<int> members) {
  if (members.size() > 1 && p.group_with(members) < 0) p.groups.push_back(std::move(members));
}

}  // namespace

int between(Random& random, int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); }

std::vector<Schedule> build_all(const Problem& p, const BuildOne& build, const std::vector<bool>& in_place) {
  std::vector<Schedule> all;
  Problem mine = p;
  for (int r = 0; r < p.size; ++r) {
    mine.in_place = in_place.empty() ? p.in_place && sched::may_be_in_place(p, r) : in_place[at(r)];
    all.push_back(build(mine, r));
  }
  return all;
}

std::vector<Schedule> build_all(const Problem& p, const algo::Recipe& recipe, const std::vector<bool>& in_place) {
  return build_all(p, [&](const Problem& mine, int r) { return algo::build(mine, recipe, r); }, in_place);
}

std::string prove(const Problem& p, const algo::Recipe& recipe, const std::vector<bool>& in_place) {
  const auto proof = sched::verify(p, build_all(p, recipe, in_place), in_place);
  if (proof) return {};
  return fmt::format("{}\n  in {} by {}", proof.error().text, to_text(p), to_text(recipe));
}

std::string prove_all(const Problem& p, int* proofs, const std::vector<bool>& in_place) {
  const auto recipes = algo::candidates(p);
  if (recipes.empty()) return fmt::format("no candidate for {}", to_text(p));
  for (const algo::Recipe& r : recipes) {
    if (std::string why = prove(p, r, in_place); !why.empty()) return why;
    if (proofs != nullptr) ++*proofs;
  }
  return {};
}

std::string to_text(const Problem& p) {
  std::string out = fmt::format("{} of {} ranks, root {}, count {}{}{}{}{}", detail::name_of(p.coll), p.size, p.root, p.count,
                                p.commutative ? "" : ", not commutative", p.averages ? ", average" : "", p.in_place ? ", in place" : "",
                                p.determinism == Determinism::placement ? ", determinism placement" : "");
  if (!p.counts.empty()) out += fmt::format(", counts {}", p.counts);
  if (!p.block_counts.empty()) out += fmt::format(", blocks {}", p.block_counts);
  for (const auto& l : p.levels) out += fmt::format(", {} {} led by {}", name_of(l.level), l.members, l.leader);
  return out + fmt::format(", natives of {}", p.groups);
}

Problem flat_problem(Coll coll, int size, std::int64_t count, int root) {
  Problem p;
  p.coll = coll;
  p.size = size;
  p.root = root;
  Random random(static_cast<std::uint64_t>(size) * 977 + static_cast<std::uint64_t>(count));
  const auto some = [&](std::size_t n) {
    std::vector<std::int64_t> out(n);
    for (auto& c : out) c = count == 0 || between(random, 0, 4) == 0 ? 0 : between(random, 1, static_cast<int>(2 * count));
    return out;
  };
  switch (coll) {
    case Coll::barrier: break;
    case Coll::reduce_scatter:
    case Coll::allgatherv: p.counts = some(at(size)); break;
    case Coll::gatherv:
    case Coll::scatterv: p.block_counts = some(at(size)); break;
    case Coll::alltoallv: p.block_counts = some(at(size) * at(size)); break;
    default: p.count = count;
  }
  return p;
}

void set_levels(Problem& p, std::vector<LevelShape> shapes) {
  p.levels.clear();
  p.groups.clear();
  for (LevelShape& shape : shapes) {
    Problem::LevelView view;
    view.level = shape.level;
    view.group_of.assign(at(p.size), -1);
    std::vector<std::pair<std::vector<int>, int>> groups;
    for (std::size_t g = 0; g < shape.members.size(); ++g) {
      auto members = shape.members[g];
      std::sort(members.begin(), members.end());
      groups.emplace_back(members, shape.leaders.empty() ? members.front() : shape.leaders[g]);
    }
    std::sort(groups.begin(), groups.end());
    for (auto& [members, leader] : groups) {
      for (const int r : members) view.group_of[at(r)] = static_cast<int>(view.members.size());
      view.members.push_back(members);
      view.leader.push_back(leader);
    }
    p.levels.push_back(std::move(view));
  }
  const Problem::LevelView* narrower = nullptr;
  for (const auto& view : p.levels) {
    if (view.level > Level::host) break;
    for (std::size_t g = 0; g < view.members.size(); ++g) {
      add_group(p, view.members[g]);
      if (narrower == nullptr) continue;
      std::vector<int> leaders;
      for (std::size_t n = 0; n < narrower->members.size(); ++n)
        if (view.group_of[at(narrower->leader[n])] == static_cast<int>(g)) leaders.push_back(narrower->leader[n]);
      add_group(p, std::move(leaders));
    }
    narrower = &view;
  }
}

void set_hosts(Problem& p, int hosts, int ranks, bool round_robin) {
  LevelShape shape{Level::host, std::vector<std::vector<int>>(at(hosts))};
  for (int r = 0; r < p.size; ++r) shape.members[at(round_robin ? r % hosts : r / ranks)].push_back(r);
  set_levels(p, {shape});
}

void set_random_levels(Problem& p, Random& random) {
  std::vector<Level> levels;
  const Level all[] = {Level::l3, Level::numa, Level::host, Level::group};
  while (levels.empty())
    for (const Level l : all)
      if (between(random, 0, l == Level::host ? 4 : 2) > 0) levels.push_back(l);
  std::vector<int> order(at(p.size));
  std::iota(order.begin(), order.end(), 0);
  if (between(random, 0, 1) == 0) std::shuffle(order.begin(), order.end(), random);
  else if (const int deal = between(random, 1, p.size); between(random, 0, 1) == 0)  // round robin
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return a % deal < b % deal; });
  std::vector<LevelShape> shapes;
  std::vector<std::vector<int>> groups{order};
  for (auto l = levels.rbegin(); l != levels.rend(); ++l) {
    std::vector<std::vector<int>> next;
    for (const auto& g : groups) {
      const int most = std::min(static_cast<int>(g.size()), 5);
      auto parts = cut(g, between(random, 1, most), random);
      next.insert(next.end(), parts.begin(), parts.end());
    }
    groups = std::move(next);
    shapes.insert(shapes.begin(), {*l, groups, {}});
  }
  // Who leads a group also leads the narrower groups that it is in.
  std::vector<bool> leads(at(p.size), true);
  for (LevelShape& shape : shapes)
    for (const auto& g : shape.members) {
      std::vector<int> fit;
      for (const int r : g)
        if (leads[at(r)]) fit.push_back(r);
      const int leader = fit[at(between(random, 0, static_cast<int>(fit.size()) - 1))];
      for (const int r : g) leads[at(r)] = r == leader;
      shape.leaders.push_back(leader);
    }
  set_levels(p, shapes);
  if (between(random, 0, 4) == 0) p.groups.clear();
}

Problem random_problem(Coll coll, Random& random, int most_ranks) {
  const int size = between(random, 2, most_ranks);
  static constexpr int counts[] = {0, 1, 2, 3, 7, 16, 61, 1000, 40000};
  Problem p = flat_problem(coll, size, counts[between(random, 0, 8)], between(random, 0, size - 1));
  const bool reduces = coll == Coll::reduce || coll == Coll::allreduce || coll == Coll::reduce_scatter || coll == Coll::reduce_scatter_block ||
                       coll == Coll::scan || coll == Coll::exscan;
  const bool scans = coll == Coll::scan || coll == Coll::exscan;
  if (reduces) p.commutative = between(random, 0, 2) > 0;
  if (reduces && !scans && p.commutative) p.averages = between(random, 0, 3) == 0;
  if (reduces && between(random, 0, 4) == 0) p.determinism = Determinism::placement;
  p.in_place = between(random, 0, 2) == 0;
  if (p.in_place && coll == Coll::alltoallv)  // in place: what goes to a rank is as long as what comes from it
    for (int a = 0; a < size; ++a)
      for (int b = 0; b < a; ++b) p.block_counts[at(a) * at(size) + at(b)] = p.block_counts[at(b) * at(size) + at(a)];
  set_random_levels(p, random);
  return p;
}

Crossing crossing(const Problem& p, const std::vector<Schedule>& all, Level level) {
  const auto view = std::find_if(p.levels.begin(), p.levels.end(), [&](const auto& v) { return v.level == level; });
  const auto group_of = [&](int r) { return view == p.levels.end() ? r : view->group_of[at(r)]; };
  Crossing out;
  std::map<int, std::pair<std::int64_t, std::int64_t>> by_group;
  for (const Schedule& s : all)
    for (const sched::Step& step : s.steps) {
      if (step.kind != sched::Kind::send || group_of(s.rank) == group_of(step.peer)) continue;
      auto& [messages, elements] = by_group[group_of(s.rank)];
      ++messages;
      elements += step.from.count;
      out.busiest_messages = std::max(out.busiest_messages, messages);
      out.busiest_elements = std::max(out.busiest_elements, elements);
      ++out.messages;
      out.elements += step.from.count;
    }
  return out;
}

}  // namespace libcoll::test
