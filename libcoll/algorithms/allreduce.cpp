// Allreduce. Small form: reduce to the leaders level by level, exchange between the leaders of the widest
// groups, broadcast back. Large form (slices): every rank of a group drives its slice: reduce_scatter in the
// group, one exchange per slice side by side, allgather in the group: each host sends 2 (H - 1)/H n elements
// however many ranks it has. Chunks overlap the phases.
#include <cmath>

#include "libcoll/algorithms/collectives.hpp"
#include "libcoll/algorithms/ordered.hpp"
#include "libcoll/algorithms/team_moves.hpp"
#include "libcoll/algorithms/team_reduce.hpp"

namespace libcoll::algo {

namespace {

constexpr Entry entries[] = {
    {"recursive_doubling", "pairs exchange everything, twice as far each round", "Thakur et al. 2005"},
    {"k_nomial", "reduce up a tree of radix k, broadcast down", "Thakur et al. 2005"},
    {"rabenseifner", "recursive halving, then doubling", "Rabenseifner 2004"},
    {"ring", "blocks around a ring, twice", "Patarasuk and Yuan 2009"},
    {"circulant", "reduce_scatter and allgather in ceil(log2 p) rounds each, any p", "Traeff 2024"},
    {"swing", "halving and doubling with peers that stay near on a torus; powers of two", "De Sensi et al. 2024"},
    {"ordered", "each slice reduced at once in rank order: the same bits whatever the placement", "libcoll"},
};

void exchange(Site s, const Team& t, const Range& from, const Range& acc) {
  const std::string& name = s.recipe.algorithm;
  if (t.size() == 1) return s.b.copy(acc, from);
  if (name == "recursive_doubling") return allreduce_doubling(s, t, from, acc);
  if (name == "rabenseifner") return allreduce_butterfly(s, t, from, acc, false);
  if (name == "swing") return allreduce_butterfly(s, t, from, acc, true);
  if (name == "ring") return allreduce_ring(s, t, from, acc);
  if (name == "circulant") return allreduce_circulant(s, t, from, acc);
  if (name == "ordered") return allreduce_ordered(s, t, from, acc);
  const Range sum = reduce_tree(s, t, 0, from, acc);
  if (t.me == 0) s.b.copy(acc, sum);
  bcast_tree(s, t, 0, acc);
}

void exchange_and_finish(Site s, const Team& t, const Range& from, const Range& acc) {
  if (t.me < 0) return;
  exchange(s, t, from, acc);
  if (s.p.averages) s.b.finish(acc);
}

void build_small(Site s) {
  const Way way = way_up(s.p, s.recipe, s.rank(), -1);
  const std::size_t levels = s.recipe.over.size(), mine = way.stages.size();
  const auto acc = [](std::int64_t from, std::int64_t count) { return Range{Space::recv, 0, from, count}; };
  std::size_t first = 0;  // stage in which the operand leaves its place
  while (first < mine && way.stages[first].team.size() == 1) ++first;
  const auto at = [&](std::size_t stage, std::int64_t from, std::int64_t count) {
    return stage <= first ? operand(s.p, s.rank(), from, count) : acc(from, count);
  };
  std::vector<Phase> phases;
  for (std::size_t i = 0; i < levels; ++i)
    phases.push_back([&, i](std::int64_t from, std::int64_t count) {
      if (i < mine) stage_up(s, way.stages[i], at(i, from, count), acc(from, count));
    });
  phases.push_back([&](std::int64_t from, std::int64_t count) { exchange_and_finish(s, way.top, at(levels, from, count), acc(from, count)); });
  for (std::size_t i = levels; i-- > 0;)
    phases.push_back([&, i](std::int64_t from, std::int64_t count) {
      if (i < mine && way.stages[i].team.size() > 1) stage_bcast(s, way.stages[i], acc(from, count));
    });
  pipeline(s, s.p.count, levels, phases);
}

void build_sliced(Site s) {
  const Slices slices(s.p, s.recipe, s.rank());
  const auto me = static_cast<std::size_t>(slices.mine.team.me);
  const auto all = [](std::int64_t from, std::int64_t count) { return Range{Space::recv, 0, from, count}; };
  std::vector<Way> ways;
  for (int i = slices.owned_from(); i < slices.owned_to(); ++i) ways.push_back(slices.way(s.p, s.recipe, i, s.rank(), -1));
  pipeline(s, s.p.count, 1, {
    [&](std::int64_t from, std::int64_t count) {
      const auto parts = slices.parts(count);
      stage_reduce_scatter(s, slices.mine, operand(s.p, s.rank(), from, count), sub(all(from, count), parts[me]), parts);
    },
    [&](std::int64_t from, std::int64_t count) {
      for (std::size_t i = 0; i < ways.size(); ++i) {
        const Range acc = sub(all(from, count), even_part(count, slices.many, slices.owned_from() + static_cast<int>(i)));
        for (const Stage& stage : ways[i].stages) stage_up(s, stage, acc, acc);
        exchange_and_finish(s, ways[i].top, acc, acc);
        for (auto stage = ways[i].stages.rbegin(); stage != ways[i].stages.rend(); ++stage)
          if (stage->team.size() > 1) stage_bcast(s, *stage, acc);
      }
    },
    [&](std::int64_t from, std::int64_t count) {
      const auto parts = slices.parts(count);
      stage_allgather(s, slices.mine, sub(all(from, count), parts[me]), all(from, count), parts);
    },
  });
}

// The widest groups' leaders get all operands and combine them at once.
void build_ordered(Site s) {
  const Way way = way_up(s.p, s.recipe, s.rank(), -1);
  pipeline(s, s.p.count, 0, {[&](std::int64_t from, std::int64_t count) {
    const Range result{Space::recv, 0, from, count};
    const Gathered all = gather_up(s, way, operand(s.p, s.rank(), from, count));
    if (way.top.me >= 0) {
      gather_across(s, way, all);
      s.b.reduce(result, all.in_rank_order());
      if (s.p.averages) s.b.finish(result);
    }
    for (auto stage = way.stages.rbegin(); stage != way.stages.rend(); ++stage)
      if (stage->team.size() > 1) stage_bcast(s, *stage, result);
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
  if (std::string why = refuses_slices(p, r); !why.empty()) return why;
  const int n = top_size(p, r);
  if (r.algorithm == "swing" && (n & (n - 1)) != 0) return "swing needs a power of two of groups";
  if (!p.commutative && (r.algorithm == "ring" || r.algorithm == "circulant" || r.algorithm == "swing"))
    return r.algorithm + " combines operands out of rank order, but the operation does not commute";
  return {};
}

std::vector<Work> work_of(const Problem& p, const Recipe& r) {
  const double m = static_cast<double>(p.count), n = top_size(p, r), log = std::ceil(std::log2(n)), share = (n - 1) / n * m;
  const bool power = std::exp2(log) == n;
  if (r.algorithm == "ordered" && !r.over.empty()) return ordered_work(p, r, m, Coll::bcast, m);
  std::vector<Work> out;
  add_stage_work(out, p, r, r.slices == 1 ? Coll::reduce : Coll::reduce_scatter, m);
  const double fold = power ? 0 : m;
  if (n > 1) {
    if (r.algorithm == "recursive_doubling") out.push_back(exchange_work(p, r, log + (power ? 0 : 1), log * m + fold, log * m));
    else if (r.algorithm == "k_nomial") {
      const double all = tree_children(top_size(p, r), r.radix) * m;
      out.push_back(exchange_work(p, r, 2 * tree_rounds(top_size(p, r), r.radix), 2 * all, all, 0));
    } else if (r.algorithm == "rabenseifner") out.push_back(exchange_work(p, r, 2 * log + (power ? 0 : 1), 2 * share + fold, share + fold));
    else if (r.algorithm == "ring") out.push_back(exchange_work(p, r, 2 * (n - 1), 2 * share, share));
    else if (r.algorithm == "ordered") out.push_back(exchange_work(p, r, 2, 2 * share, share));
    else out.push_back(exchange_work(p, r, 2 * log, 2 * share, share));  // circulant, swing
  }
  add_stage_work(out, p, r, r.slices == 1 ? Coll::bcast : Coll::allgatherv, m);
  return out;
}

}  // namespace

const Collective allreduce_collective{entries, why_not, emit, work_of};

}  // namespace libcoll::algo
