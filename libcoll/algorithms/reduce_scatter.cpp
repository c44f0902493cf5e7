// Reduce_scatter and reduce_scatter_block. Blocks are brought into the order of the groups first (a copy,
// unless ranks lie in that order already), so that what a group needs is one range.
// Small form: reduce whole vectors to the leaders level by level, reduce_scatter between the leaders of the
// widest groups, scatter down. Large form (slices; one level): reduce_scatter in the group, so that member i
// gets the blocks of all members i; these exchange them side by side: every result arrives where it belongs.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "libcoll/algorithms/collectives.hpp"
#include "libcoll/algorithms/team_reduce.hpp"

namespace libcoll::algo {

namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

constexpr Entry entries[] = {
    {"recursive_halving", "pairs exchange halves, half as far each round", "Thakur et al. 2005"},
    {"circulant", "ceil(log2 p) rounds for any p", "Traeff 2024"},
    {"pairwise", "in round r everyone serves the rank r further", "Thakur et al. 2005"},
    {"ring", "blocks travel around, growing at every stop", "Patarasuk and Yuan 2009"},
    {"ordered", "each block reduced at once in rank order: the same bits whatever the placement", "libcoll"},
};

void exchange(Site s, const Team& t, const Range& from, const Range& to, std::span<const Part> parts) {
  const std::string& name = s.recipe.algorithm;
  if (t.size() == 1) return s.b.copy(to, sub(from, parts[0]));
  if (name == "recursive_halving") return reduce_scatter_halving(s, t, from, to, parts);
  if (name == "circulant") return reduce_scatter_circulant(s, t, from, to, parts);
  if (name == "pairwise") return reduce_scatter_pairwise(s, t, from, to, parts);
  if (name == "ring") return reduce_scatter_ring(s, t, from, to, parts);
  reduce_scatter_ordered(s, t, from, to, parts);
}

std::int64_t count_of(const Problem& p, int r) { return p.coll == Coll::reduce_scatter ? p.counts[at(r)] : p.count; }
std::int64_t total_of(const Problem& p) {
  return p.coll == Coll::reduce_scatter ? std::accumulate(p.counts.begin(), p.counts.end(), std::int64_t{0}) : p.count * p.size;
}

// The vector with its blocks in another order.
struct Ordered {
  std::vector<int> ranks;
  std::vector<std::int64_t> offset;  // by place; one more at the end
  Ordered(const Problem& p, std::vector<int> order) : ranks(std::move(order)) {
    offset.push_back(0);
    for (const int r : ranks) offset.push_back(offset.back() + count_of(p, r));
  }
  Part blocks(std::size_t from, std::size_t to) const { return {offset[from], offset[to] - offset[from]}; }
};

// The operand with its blocks so; in scratch unless they are already. Neighbours are copied together.
Range reorder(Site s, const Ordered& o) {
  const std::int64_t total = o.offset.back();
  if (std::is_sorted(o.ranks.begin(), o.ranks.end())) return operand(s.p, s.rank(), 0, total);
  const Range out = s.b.scratch(total);
  std::vector<std::int64_t> start{0};
  for (int r = 0; r < s.p.size; ++r) start.push_back(start.back() + count_of(s.p, r));
  for (std::size_t i = 0; i < o.ranks.size();) {
    std::size_t j = i + 1;
    while (j < o.ranks.size() && o.ranks[j] == o.ranks[j - 1] + 1) ++j;
    const Part to = o.blocks(i, j);
    s.b.copy(sub(out, to), operand(s.p, s.rank(), start[at(o.ranks[i])], to.count));
    i = j;
  }
  return out;
}

// Moves the result, which lies in scratch, to its place.
void deliver(Site s, const Range& from) {
  const Range to{Space::recv, 0, 0, from.count};
  s.b.copy(to, from);
  if (s.p.averages) s.b.finish(to);
}

void build_small(Site s) {
  const auto& over = s.recipe.over;
  const Ordered blocks(s.p, nested_order(s.p, over));
  const Way way = way_up(s.p, s.recipe, s.rank(), -1);
  // What the groups that `ranks` lead at a level need: one range each, in the order of the groups.
  const auto parts_of = [&](const std::vector<int>& ranks, std::size_t levels_below) {
    std::vector<Part> out;
    for (const int r : ranks) {
      const auto mine = [&](int x) {
        if (levels_below == 0) return x == r;
        const auto& of = level_view(s.p, over[levels_below - 1]).group_of;
        return of[at(x)] == of[at(r)];
      };
      const auto first = std::find_if(blocks.ranks.begin(), blocks.ranks.end(), mine);
      const auto last = std::find_if_not(first, blocks.ranks.end(), mine);
      out.push_back(blocks.blocks(static_cast<std::size_t>(first - blocks.ranks.begin()), static_cast<std::size_t>(last - blocks.ranks.begin())));
    }
    return out;
  };
  const auto from_start = [](std::vector<Part> parts) {
    for (std::size_t i = parts.size(); i-- > 0;) parts[i].offset -= parts[0].offset;
    return parts;
  };
  const Range whole = reorder(s, blocks);
  Range mine = whole;
  if (!way.stages.empty()) {
    const Range acc = s.b.scratch(way.stages[0].leads() || way.stages[0].native < 0 ? whole.count : 0);
    for (const Stage& stage : way.stages) {
      mine = stage_up(s, stage, mine, stage.native >= 0 && !stage.leads() ? Range{Space::scratch, 0, 0, 0} : acc);
    }
  }
  Range held{};
  if (way.top.me >= 0) {
    const auto parts = parts_of(way.top.ranks, over.size());
    // In place the operand would be overwritten while it is needed: the result waits in scratch.
    held = s.b.scratch(parts[at(way.top.me)].count);
    exchange(s, way.top, mine, held, parts);
  }
  for (std::size_t i = way.stages.size(); i-- > 0;) {
    const Stage& stage = way.stages[i];
    const auto parts = from_start(parts_of(stage.team.ranks, i));
    const Range to = s.b.scratch(parts[at(stage.team.me)].count);
    stage_scatter(s, stage, stage.leads() ? held : Range{Space::scratch, 0, 0, 0}, to, parts);
    held = to;
  }
  deliver(s, held);
}

void build_sliced(Site s) {
  const Slices slices(s.p, s.recipe, s.rank());
  const int groups = static_cast<int>(slices.view->members.size());
  // Member i of a group is served by its first slice; the other slices carry nothing for that group.
  const auto served = [&](int g, int slice) {
    const auto& members = slices.view->members[at(g)];
    const int i = sched::team_of(members, slices.driver(g, slice)).me;
    return slices.first_of(g, i) == slice;
  };
  std::vector<int> order;
  std::vector<std::size_t> first{0};  // place of each slice's first block
  for (int slice = 0; slice < slices.many; ++slice) {
    for (int g = 0; g < groups; ++g)
      if (served(g, slice)) order.push_back(slices.driver(g, slice));
    first.push_back(order.size());
  }
  const Ordered blocks(s.p, std::move(order));
  const Range whole = reorder(s, blocks);
  std::vector<Part> parts;
  for (int m = 0; m < slices.mine.team.size(); ++m)
    parts.push_back(blocks.blocks(first[at(slices.first_of(slices.group, m))], first[at(slices.first_of(slices.group, m + 1))]));
  const Part own = parts[at(slices.mine.team.me)];
  const Range sums = s.b.scratch(own.count), result = s.b.scratch(count_of(s.p, s.rank()));
  stage_reduce_scatter(s, slices.mine, whole, sums, parts);
  for (int slice = slices.owned_from(); slice < slices.owned_to(); ++slice) {
    std::vector<int> ranks;
    std::vector<Part> needs;
    std::size_t next = first[at(slice)];
    const std::int64_t start = blocks.offset[next];
    for (int g = 0; g < groups; ++g) {
      const std::size_t from = next;
      if (served(g, slice)) ++next;
      Part need = blocks.blocks(from, next);
      need.offset -= start;
      needs.push_back(need);
      ranks.push_back(slices.driver(g, slice));
    }
    const Range mine = sched::part(sums, start - own.offset, blocks.offset[next] - start);
    exchange(s, sched::team_of(ranks, s.rank()), mine, slice == slices.owned_from() ? result : sched::part(result, 0, 0), needs);
  }
  deliver(s, result);
}

void emit(Builder& b, const Problem& p, const Recipe& r) {
  if (total_of(p) == 0) return;
  Room room(b);
  const Site s{b, room, p, r};
  if (r.slices == 1) build_small(s);
  else build_sliced(s);
}

std::string why_not(const Problem& p, const Recipe& r) {
  if (std::string why = refuses_placement(p, r); !why.empty()) return why;
  if (std::string why = refuses_order(p, r); !why.empty()) return why;
  if (r.algorithm == "ordered" && !r.over.empty()) return "ordered reduce_scatter composes over no level";
  if (r.chunk != 0) return "blocks of a reduce_scatter are not cut into chunks";
  if (r.slices != 1 && r.over.size() != 1) return "slices of a reduce_scatter compose over one level";
  if (!p.commutative && r.algorithm != "ordered") return r.algorithm + " combines operands out of rank order, but the operation does not commute";
  if (r.slices > 1) {
    for (const auto& m : level_view(p, r.over.front()).members)
      if (at(r.slices) < m.size()) return "a reduce_scatter needs a slice for every rank of a group";
  }
  return refuses_slices(p, r);
}

std::vector<Work> work_of(const Problem& p, const Recipe& r) {
  const double m = static_cast<double>(total_of(p)), n = top_size(p, r), log = std::ceil(std::log2(n)), share = (n - 1) / n * m;
  std::vector<Work> out;
  add_stage_work(out, p, r, r.slices == 1 ? Coll::reduce : Coll::reduce_scatter, m);
  if (n > 1) {
    const bool power = std::exp2(log) == n;
    if (r.algorithm == "recursive_halving") out.push_back(exchange_work(p, r, log + (power ? 0 : 1), share + (power ? 0 : m), share + (power ? 0 : m)));
    else if (r.algorithm == "circulant") out.push_back(exchange_work(p, r, log, share, share));
    else if (r.algorithm == "ordered") out.push_back(exchange_work(p, r, 1, share, share));
    else out.push_back(exchange_work(p, r, n - 1, share, share));
  }
  if (r.slices == 1) add_stage_work(out, p, r, Coll::scatterv, m / n);
  return out;
}

}  // namespace

const Collective reduce_scatter_collective{entries, why_not, emit, work_of};
const Collective reduce_scatter_block_collective{entries, why_not, emit, work_of};

}  // namespace libcoll::algo
