// Broadcast. Small form: between the groups' leaders (the root leads its groups, so that nothing takes a
// detour), then down level by level. Large form (slices): the root scatters over its group, every rank
// broadcasts its slice between the groups, each group gathers: each host sends and gets n elements at most
// for trees, all its ranks at once.
#include <cmath>

#include "libcoll/algorithms/collectives.hpp"
#include "libcoll/algorithms/team_moves.hpp"
#include "libcoll/algorithms/team_reduce.hpp"

namespace libcoll::algo {

namespace {

constexpr Entry entries[] = {
    {"k_nomial", "a tree of radix k: ceil(log_k p) rounds", "Thakur et al. 2005"},
    {"scatter_allgather", "scatter by a tree, collect in circulant rounds", "Barnett et al. 1994"},
    {"chain", "everyone passes on what it gets; with chunks a pipeline", "textbook"},
};

void exchange(Site s, const Team& t, int root, const Range& buffer) {
  if (t.me < 0 || t.size() == 1) return;
  if (s.recipe.algorithm == "chain") bcast_chain(s, t, root, buffer);
  else if (s.recipe.algorithm == "scatter_allgather") bcast_scatter_allgather(s, t, root, buffer);
  else bcast_tree(s, t, root, buffer);
}

Range buffer(std::int64_t from, std::int64_t count) { return {Space::recv, 0, from, count}; }

void build_small(Site s) {
  const Way way = way_up(s.p, s.recipe, s.rank(), s.p.root);
  std::vector<Phase> phases;
  phases.push_back([&](std::int64_t from, std::int64_t count) { exchange(s, way.top, way.top_root, buffer(from, count)); });
  for (std::size_t i = s.recipe.over.size(); i-- > 0;)
    phases.push_back([&, i](std::int64_t from, std::int64_t count) {
      if (i < way.stages.size() && way.stages[i].team.size() > 1) stage_bcast(s, way.stages[i], buffer(from, count));
    });
  pipeline(s, s.p.count, 0, phases);
}

void build_sliced(Site s) {
  Slices slices(s.p, s.recipe, s.rank());
  const auto me = static_cast<std::size_t>(slices.mine.team.me);
  const bool at_root = slices.group == slices.view->group_of[static_cast<std::size_t>(s.p.root)];
  if (at_root) slices.mine.leader = sched::team_of(slices.mine.team.ranks, s.p.root).me;
  std::vector<Way> ways;
  for (int i = slices.owned_from(); i < slices.owned_to(); ++i) ways.push_back(slices.way(s.p, s.recipe, i, s.rank(), s.p.root));
  pipeline(s, s.p.count, 1, {
    [&](std::int64_t from, std::int64_t count) {
      if (!at_root) return;
      const auto parts = slices.parts(count);
      stage_scatter(s, slices.mine, buffer(from, count), sub(buffer(from, count), parts[me]), parts);
    },
    [&](std::int64_t from, std::int64_t count) {
      for (std::size_t i = 0; i < ways.size(); ++i) {
        const Range mine = sub(buffer(from, count), even_part(count, slices.many, slices.owned_from() + static_cast<int>(i)));
        exchange(s, ways[i].top, ways[i].top_root, mine);
        for (auto stage = ways[i].stages.rbegin(); stage != ways[i].stages.rend(); ++stage)
          if (stage->team.size() > 1) stage_bcast(s, *stage, mine);
      }
    },
    [&](std::int64_t from, std::int64_t count) {
      const auto parts = slices.parts(count);
      stage_allgather(s, slices.mine, sub(buffer(from, count), parts[me]), buffer(from, count), parts);
    },
  });
}

void emit(Builder& b, const Problem& p, const Recipe& r) {
  Room room(b);
  const Site s{b, room, p, r};
  if (r.slices == 1) build_small(s);
  else build_sliced(s);
}

std::vector<Work> work_of(const Problem& p, const Recipe& r) {
  const double m = static_cast<double>(p.count), n = top_size(p, r), log = std::ceil(std::log2(n));
  std::vector<Work> out;
  if (r.slices != 1) add_stage_work(out, p, r, Coll::scatterv, m);
  if (n > 1) {
    if (r.algorithm == "k_nomial") {
      out.push_back(exchange_work(p, r, tree_rounds(top_size(p, r), r.radix), tree_children(top_size(p, r), r.radix) * m, 0, 0));
    } else if (r.algorithm == "chain") {
      // A chunk reaches the last after n - 1 hops; chunks follow each other.
      const double chunks = r.chunk > 0 ? std::max(1.0, std::ceil(m / static_cast<double>(r.chunk))) : 1;
      out.push_back(exchange_work(p, r, n - 1, m * (1 + (n - 2) / chunks), 0, 0));
    } else {
      out.push_back(exchange_work(p, r, 2 * log, 2 * (n - 1) / n * m, 0, 0.5));
    }
  }
  add_stage_work(out, p, r, r.slices == 1 ? Coll::bcast : Coll::allgatherv, m);
  return out;
}

}  // namespace

const Collective bcast_collective{entries, refuses_slices, emit, work_of};

}  // namespace libcoll::algo
