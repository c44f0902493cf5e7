// Reduce. Small form: to the leaders level by level, the root leading its groups; the leaders of the widest
// groups reduce to the root. Large form (slices): reduce_scatter in the group, every rank reduces its slice
// between the groups towards the root's, whose ranks hand their slices to the root.
#include <cmath>

#include "libcoll/algorithms/collectives.hpp"
#include "libcoll/algorithms/ordered.hpp"
#include "libcoll/algorithms/team_moves.hpp"
#include "libcoll/algorithms/team_reduce.hpp"

namespace libcoll::algo {

namespace {

constexpr Entry entries[] = {
    {"k_nomial", "a tree of radix k: ceil(log_k p) rounds", "Thakur et al. 2005"},
    {"linear", "all send to the root, which combines at once", "textbook"},
    {"scatter_gather", "recursive halving, then the root collects the parts", "Rabenseifner 2004"},
    {"ordered", "each slice reduced at once in rank order, then to the root", "libcoll"},
};

void exchange(Site s, const Team& t, int root, const Range& from, const Range& acc) {
  const std::string& name = s.recipe.algorithm;
  if (t.size() == 1) return s.b.copy(acc, from);
  if (name == "linear") return reduce_linear(s, t, root, from, acc);
  if (name == "scatter_gather") return reduce_scatter_gather(s, t, root, from, acc);
  if (name == "ordered") return reduce_ordered(s, t, root, from, acc);
  const Range sum = reduce_tree(s, t, root, from, acc);
  if (t.me == root) s.b.copy(acc, sum);
}

void exchange_and_finish(Site s, const Way& way, const Range& from, const Range& acc) {
  if (way.top.me < 0) return;
  exchange(s, way.top, way.top_root, from, acc);
  if (s.p.averages && way.top.me == way.top_root) s.b.finish(acc);
}

void build_small(Site s) {
  const Way way = way_up(s.p, s.recipe, s.rank(), s.p.root);
  const std::size_t levels = s.recipe.over.size(), mine = way.stages.size();
  std::size_t first = 0;  // stage in which the operand leaves its place
  while (first < mine && way.stages[first].team.size() == 1) ++first;
  // Who only hands its operand to a native step needs no room for a result.
  const bool needs_room = first == mine || way.stages[first].leads() || way.stages[first].native < 0;
  const bool root = s.rank() == s.p.root;
  const Range result = root ? Range{Space::recv, 0, 0, s.p.count} : s.b.scratch(needs_room ? s.p.count : 0);
  const auto acc = [&](std::int64_t from, std::int64_t count) { return sched::part(result, from, count); };
  const auto at = [&](std::size_t stage, std::int64_t from, std::int64_t count) {
    return stage <= first ? operand(s.p, s.rank(), from, count) : acc(from, count);
  };
  std::vector<Phase> phases;
  for (std::size_t i = 0; i < levels; ++i)
    phases.push_back([&, i](std::int64_t from, std::int64_t count) {
      if (i < mine) stage_up(s, way.stages[i], at(i, from, count), acc(from, count));
    });
  phases.push_back([&](std::int64_t from, std::int64_t count) { exchange_and_finish(s, way, at(levels, from, count), acc(from, count)); });
  pipeline(s, s.p.count, levels, phases);
}

void build_sliced(Site s) {
  Slices slices(s.p, s.recipe, s.rank());
  const auto me = static_cast<std::size_t>(slices.mine.team.me);
  const bool at_root = slices.group == slices.view->group_of[static_cast<std::size_t>(s.p.root)];
  if (at_root) slices.mine.leader = sched::team_of(slices.mine.team.ranks, s.p.root).me;
  const Range result = s.rank() == s.p.root ? Range{Space::recv, 0, 0, s.p.count} : s.b.scratch(s.p.count);
  std::vector<Way> ways;
  for (int i = slices.owned_from(); i < slices.owned_to(); ++i) ways.push_back(slices.way(s.p, s.recipe, i, s.rank(), s.p.root));
  pipeline(s, s.p.count, 1, {
    [&](std::int64_t from, std::int64_t count) {
      const auto parts = slices.parts(count);
      stage_reduce_scatter(s, slices.mine, operand(s.p, s.rank(), from, count), sub(sched::part(result, from, count), parts[me]), parts);
    },
    [&](std::int64_t from, std::int64_t count) {
      for (std::size_t i = 0; i < ways.size(); ++i) {
        const Range acc = sub(sched::part(result, from, count), even_part(count, slices.many, slices.owned_from() + static_cast<int>(i)));
        for (const Stage& stage : ways[i].stages) stage_up(s, stage, acc, acc);
        exchange_and_finish(s, ways[i], acc, acc);
      }
    },
    [&](std::int64_t from, std::int64_t count) {
      if (!at_root) return;
      const auto parts = slices.parts(count);
      const Range all = sched::part(result, from, count);
      stage_gather(s, slices.mine, sub(all, parts[me]), all, parts);
    },
  });
}

// The root gets all operands by way of its leaders and combines them at once.
void build_ordered(Site s) {
  const Way way = way_up(s.p, s.recipe, s.rank(), s.p.root);
  pipeline(s, s.p.count, 0, {[&](std::int64_t from, std::int64_t count) {
    const Range result{Space::recv, 0, from, count};
    const Gathered all = gather_up(s, way, operand(s.p, s.rank(), from, count));
    gather_at_root(s, way, all);
    if (s.rank() != s.p.root) return;
    s.b.reduce(result, all.in_rank_order());
    if (s.p.averages) s.b.finish(result);
  }});
}

void emit(Builder& b, const Problem& p, const Recipe& r) {
  Room room(b);
  const Site s{b, room, p, r};
  if (r.algorithm == "ordered" && !r.over.empty()) build_ordered(s);
  else if (r.slices == 1) build_small(s);
  else build_sliced(s);
}

std::string why_not(const Problem& p, const Recipe& r) {
  if (std::string why = refuses_placement(p, r); !why.empty()) return why;
  if (std::string why = refuses_order(p, r); !why.empty()) return why;
  return refuses_slices(p, r);
}

std::vector<Work> work_of(const Problem& p, const Recipe& r) {
  const double m = static_cast<double>(p.count), n = top_size(p, r), log = std::ceil(std::log2(n)), share = (n - 1) / n * m;
  if (r.algorithm == "ordered" && !r.over.empty()) return ordered_work(p, r, m, Coll::bcast, 0);
  std::vector<Work> out;
  add_stage_work(out, p, r, r.slices == 1 ? Coll::reduce : Coll::reduce_scatter, m);
  if (n > 1) {
    if (r.algorithm == "k_nomial") {
      const double all = tree_children(top_size(p, r), r.radix) * m;
      out.push_back(exchange_work(p, r, tree_rounds(top_size(p, r), r.radix), all, all, 0));
    } else if (r.algorithm == "linear") out.push_back(exchange_work(p, r, 1, (n - 1) * m, (n - 1) * m, 0));
    else if (r.algorithm == "ordered") out.push_back(exchange_work(p, r, 2, 2 * share, share, 0.5));
    else out.push_back(exchange_work(p, r, log + 1 + (std::exp2(log) == n ? 0 : 1), 2 * share + (std::exp2(log) == n ? 0 : m), share, 0.5));
  }
  if (r.slices != 1) add_stage_work(out, p, r, Coll::gatherv, m);
  return out;
}

}  // namespace

const Collective reduce_collective{entries, why_not, emit, work_of};

}  // namespace libcoll::algo
