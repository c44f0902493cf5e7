// Scan and exscan. Composed (groups of ranks that follow each other): at each level every member gets the
// operands of its team and combines those before it; the leaders take the teams' sums further up; on the way
// down each team learns what all ranks before the team have, and its members put that before their own.
// Groups of ranks in any order: "ordered", which brings all operands to everybody.
#include <algorithm>
#include <cmath>

#include "libcoll/algorithms/collectives.hpp"
#include "libcoll/algorithms/ordered.hpp"
#include "libcoll/algorithms/team_reduce.hpp"

namespace libcoll::algo {

namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

constexpr Entry entries[] = {
    {"recursive_doubling", "prefixes of doubling length: ceil(log2 p) rounds, any p", "Hillis and Steele 1986"},
    {"linear", "everyone passes its prefix on", "textbook"},
    {"ordered", "everyone gets all operands before its own and combines them at once in rank order", "libcoll"},
};

// What a member knows so far: the sum of those before it (none for the first), and with its own.
struct Prefix {
  Range before{};
  bool any = false;
};

// All of these return the sum of the operands of members 0 .. me - 1.

// Invariant: before the round of distance d, `sum` holds members (me - d, me], `before` the same without me.
// Cost: ceil(log2 n) rounds of m. Any n, any operation.
Prefix doubling(Site s, const Team& t, const Range& from) {
  const int n = t.size();
  Prefix out;
  const Range sum = s.room.get(from.count), before = s.room.get(from.count);
  Range mine = from;
  for (int d = 1; d < n; d *= 2) {
    if (t.me + d < n) s.b.send(t.rank(t.me + d), mine);
    if (t.me - d < 0) continue;
    const Range in = s.room.get(from.count);
    s.b.recv(t.rank(t.me - d), in);
    if (t.me + 2 * d < n) s.b.reduce(sum, in, mine), mine = sum;  // somebody will ask for it
    if (out.any) s.b.reduce(before, in, out.before);
    else s.b.copy(before, in);
    out = {before, true};
  }
  return out;
}

// Cost: n - 1 rounds of m.
Prefix linear(Site s, const Team& t, const Range& from) {
  Prefix out;
  Range mine = from;
  if (t.me > 0) {
    out = {s.room.get(from.count), true};
    s.b.recv(t.rank(t.me - 1), out.before);
  }
  if (t.me + 1 == t.size()) return out;
  if (out.any) {
    mine = s.room.get(from.count);
    s.b.reduce(mine, out.before, from);
  }
  s.b.send(t.rank(t.me + 1), mine);
  return out;
}

// The operands of members 0 .. me - 1. Cost: 1 round, (n - 1) m sent by the first.
std::vector<Range> all_before(Site s, const Team& t, const Range& from) {
  for (int i = t.me + 1; i < t.size(); ++i) s.b.send(t.rank(i), from);
  std::vector<Range> out;
  for (int i = 0; i < t.me; ++i) {
    out.push_back(s.room.get(from.count));
    s.b.recv(t.rank(i), out.back());
  }
  return out;
}

Prefix combined(Site s, std::vector<Range> operands) {
  if (operands.empty()) return {};
  if (operands.size() == 1) return {operands[0], true};
  const Range sum = s.room.get(operands[0].count);
  s.b.reduce(sum, operands);
  return {sum, true};
}

// The rank's result: what is before it, then (scan) its own.
void deliver(Site s, std::vector<Range> before, const Range& own, const Range& to) {
  if (s.p.coll == Coll::scan) before.push_back(own);
  if (!before.empty()) s.b.reduce(to, before);
}

void flat(Site s, std::int64_t from, std::int64_t count) {
  const Team t = sched::everyone(s.p.size, s.rank());
  const Range own = operand(s.p, s.rank(), from, count), to{Space::recv, 0, from, count};
  if (s.recipe.algorithm == "ordered") return deliver(s, all_before(s, t, own), own, to);
  const Prefix x = s.recipe.algorithm == "linear" ? linear(s, t, own) : doubling(s, t, own);
  deliver(s, x.any ? std::vector{x.before} : std::vector<Range>{}, own, to);
}

// Everyone's operand of the team, in order.
std::vector<Range> team_operands(Site s, const Stage& stage, const Range& own) {
  const int n = stage.team.size();
  const Range all = s.room.get(own.count * n);
  std::vector<Part> parts;
  std::vector<Range> out;
  for (int i = 0; i < n; ++i) {
    parts.push_back({i * own.count, own.count});
    out.push_back(sub(all, parts.back()));
  }
  stage_allgather(s, stage, own, all, parts);
  return out;
}

void composed(Site s, const Way& way, std::int64_t from, std::int64_t count) {
  const Range own = operand(s.p, s.rank(), from, count);
  Range mine = own;
  std::vector<Prefix> within;  // by stage: the sum of the members before this one
  for (const Stage& stage : way.stages) {
    within.emplace_back();
    if (stage.team.size() == 1) continue;
    auto operands = team_operands(s, stage, mine);
    within.back() = combined(s, {operands.begin(), operands.begin() + stage.team.me});
    if (!stage.leads()) break;
    const Range sum = s.room.get(count);
    s.b.reduce(sum, operands);
    mine = sum;
  }
  Prefix before;
  if (way.top.size() > 1 && way.top.me >= 0) {
    before = s.recipe.algorithm == "linear" ? linear(s, way.top, mine) : doubling(s, way.top, mine);
  }
  for (std::size_t i = way.stages.size(); i-- > 0;) {
    const Stage& stage = way.stages[i];
    // Ranks before the team's first, of whom the leader knows the sum.
    const auto& view = level_view(s.p, s.recipe.over[i]);
    const bool any = view.members[at(view.group_of[at(s.rank())])].front() > 0;
    if (any && stage.team.size() > 1) {
      const Range outside = stage.leads() ? before.before : s.room.get(count);
      stage_bcast(s, stage, outside);
      before = {outside, true};
    }
    if (!within[i].any) continue;
    if (!any) {
      before = within[i];
      continue;
    }
    const Range both = s.room.get(count);
    s.b.reduce(both, before.before, within[i].before);
    before = {both, true};
  }
  deliver(s, before.any ? std::vector{before.before} : std::vector<Range>{}, own, {Space::recv, 0, from, count});
}

// Everyone gets all operands and combines those it needs: groups may hold ranks in any order.
void composed_ordered(Site s, const Way& way, std::int64_t from, std::int64_t count) {
  const Range own = operand(s.p, s.rank(), from, count);
  const Gathered all = gather_up(s, way, own);
  if (way.top.me >= 0) gather_across(s, way, all);
  for (auto stage = way.stages.rbegin(); stage != way.stages.rend(); ++stage)
    if (stage->team.size() > 1) stage_bcast(s, *stage, all.whole);
  auto before = all.in_rank_order();
  before.resize(at(s.rank()));
  deliver(s, before, own, {Space::recv, 0, from, count});
}

void emit(Builder& b, const Problem& p, const Recipe& r) {
  Room room(b);
  const Site s{b, room, p, r};
  const Way way = way_up(p, r, b.rank(), -1);
  pipeline(s, p.count, 0, {[&](std::int64_t from, std::int64_t count) {
    if (r.over.empty()) flat(s, from, count);
    else if (r.algorithm == "ordered") composed_ordered(s, way, from, count);
    else composed(s, way, from, count);
  }});
}

std::string why_not(const Problem& p, const Recipe& r) {
  if (std::string why = refuses_placement(p, r); !why.empty()) return why;
  Problem ordered = p;  // prefixes are in rank order, whatever the operation
  ordered.commutative = false;
  if (std::string why = refuses_order(ordered, r); !why.empty()) return "a scan follows the ranks: " + why;
  if (r.slices != 1) return "a scan has no slices";
  return {};
}

std::vector<Work> work_of(const Problem& p, const Recipe& r) {
  const double m = static_cast<double>(p.count), n = top_size(p, r), log = std::ceil(std::log2(n));
  if (r.algorithm == "ordered" && !r.over.empty()) return ordered_work(p, r, m, Coll::bcast, m * p.size);
  std::vector<Work> out;
  add_stage_work(out, p, r, Coll::allgatherv, m * (r.over.empty() ? 1 : p.size / n));
  if (n > 1) {
    if (r.algorithm == "linear") out.push_back(exchange_work(p, r, n - 1, m, m, 0));
    else if (r.algorithm == "ordered") out.push_back(exchange_work(p, r, 1, (n - 1) * m, (n - 1) * m, 0));
    else out.push_back(exchange_work(p, r, log, log * m, 2 * log * m));
  }
  add_stage_work(out, p, r, Coll::bcast, m);
  return out;
}

}  // namespace

const Collective scan_collective{entries, why_not, emit, work_of};
const Collective exscan_collective{entries, why_not, emit, work_of};

}  // namespace libcoll::algo
