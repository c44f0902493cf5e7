// The table of collectives, what all recipes must fulfil, and the choice of recipes worth considering.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "libcoll/algorithms/collectives.hpp"

namespace libcoll::algo {

namespace {

using View = Problem::LevelView;

const View* view_of(const Problem& p, Level level) {
  const auto at = std::find_if(p.levels.begin(), p.levels.end(), [&](const View& v) { return v.level == level; });
  return at == p.levels.end() ? nullptr : &*at;
}

// Why one cannot compose over these levels, or nothing.
std::string refuses_levels(const Problem& p, const std::vector<Level>& over) {
  const View* narrower = nullptr;
  for (const Level level : over) {
    const View* v = view_of(p, level);
    if (v == nullptr) return fmt::format("there is no level {} here", name_of(level));
    if (narrower != nullptr && v <= narrower) return fmt::format("{} is not wider than {}", name_of(level), name_of(narrower->level));
    narrower = v;
  }
  return {};
}

std::int64_t elements(const Problem& p) {
  if (!p.counts.empty()) return std::accumulate(p.counts.begin(), p.counts.end(), std::int64_t{0});
  return p.count;
}

bool useful(const View& v, int size) {
  const auto n = static_cast<int>(v.members.size());
  return n < size && n > 0;
}

// Level sets in the order of promise: flat; host; host with narrower ones; host with wider ones; the
// other single levels; everything.
std::vector<std::vector<Level>> level_sets(const Problem& p) {
  std::vector<Level> usable;
  const View* last = nullptr;
  for (const View& v : p.levels) {
    if (!useful(v, p.size) || (last != nullptr && last->members == v.members)) continue;
    usable.push_back(v.level);
    last = &v;
  }
  std::vector<std::vector<Level>> sets{{}};
  const auto add = [&](std::vector<Level> s) {
    if (std::find(sets.begin(), sets.end(), s) == sets.end()) sets.push_back(std::move(s));
  };
  const auto host = std::find(usable.begin(), usable.end(), Level::host);
  if (host != usable.end()) {
    add({Level::host});
    for (auto l = usable.begin(); l != host; ++l) add({*l, Level::host});
    if (host - usable.begin() > 1) add({usable.begin(), host + 1});
    for (auto l = host + 1; l != usable.end(); ++l) add({Level::host, *l});
  }
  for (const Level l : usable) add({l});
  add(usable);
  return sets;
}

constexpr std::size_t most_candidates = 40;
constexpr std::array chunk_sizes{std::int64_t{4096}, std::int64_t{16384}, std::int64_t{65536}, std::int64_t{262144}};
constexpr std::int64_t chunks_worth = 4;  // fewer chunks than this are not worth the extra messages

struct Lists {
  std::vector<Recipe> plain, radixes, chunked;
};

// All variations of one algorithm over one set of levels.
void collect(const Problem& p, Recipe r, Lists& out) {
  const bool tree = r.algorithm.find("k_nomial") != std::string::npos;
  for (const int slices : {1, all_slices}) {
    if (slices != 1 && r.over.empty()) continue;
    r.slices = slices;
    r.radix = 2;
    r.chunk = 0;
    if (!refuses(p, r).empty()) continue;
    out.plain.push_back(r);
    for (const int radix : {4, 8}) {
      r.radix = radix;
      if (tree && radix < 2 * p.size && refuses(p, r).empty()) out.radixes.push_back(r);
    }
    r.radix = 2;
    for (const std::int64_t chunk : chunk_sizes) {
      r.chunk = chunk;
      if (chunk * chunks_worth <= elements(p) && refuses(p, r).empty()) out.chunked.push_back(r);
    }
  }
}

}  // namespace

const Collective& collective(Coll coll) {
  switch (coll) {
    case Coll::barrier: return barrier_collective;
    case Coll::bcast: return bcast_collective;
    case Coll::reduce: return reduce_collective;
    case Coll::allreduce: return allreduce_collective;
    case Coll::reduce_scatter_block: return reduce_scatter_block_collective;
    case Coll::reduce_scatter: return reduce_scatter_collective;
    case Coll::allgather: return allgather_collective;
    case Coll::allgatherv: return allgatherv_collective;
    case Coll::gather: return gather_collective;
    case Coll::gatherv: return gatherv_collective;
    case Coll::scatter: return scatter_collective;
    case Coll::scatterv: return scatterv_collective;
    case Coll::alltoall: return alltoall_collective;
    case Coll::alltoallv: return alltoallv_collective;
    case Coll::scan: return scan_collective;
    case Coll::exscan: return exscan_collective;
  }
  return barrier_collective;  // no other values exist
}

std::string refuses(const Problem& p, const Recipe& r) {
  const Collective& c = collective(p.coll);
  const auto known = std::find_if(c.algorithms.begin(), c.algorithms.end(), [&](const Entry& e) { return r.algorithm == e.name; });
  if (known == c.algorithms.end()) {
    std::string names;
    for (const Entry& e : c.algorithms) names += fmt::format("{}{}", names.empty() ? "" : ", ", e.name);
    return fmt::format("{} has no algorithm \"{}\"; there are: {}", detail::name_of(p.coll), r.algorithm, names);
  }
  if (std::string why = refuses_levels(p, r.over); !why.empty()) return why;
  if (r.slices < 0) return fmt::format("slices is {}", r.slices);
  if (r.slices != 1 && r.over.empty()) return "slices need a level to compose over";
  if (r.chunk < 0) return fmt::format("chunk is {}", r.chunk);
  if (r.radix < 2) return fmt::format("radix is {}; it must be at least 2", r.radix);
  if (r.radix != 2 && r.algorithm.find("k_nomial") == std::string::npos) return fmt::format("{} is no tree: it has no radix", r.algorithm);
  return c.refuses(p, r);
}

bool sends_messages(const Problem& p, const Recipe& r) {
  const auto works = collective(p.coll).work(p, r);
  return std::any_of(works.begin(), works.end(), [](const Work& w) { return w.where == Work::Where::messages && w.ranks > 1 && (w.rounds > 0 || w.sent > 0); });
}

Schedule build(const Problem& p, const Recipe& r, int rank) {
  Builder b(rank, p.size);
  collective(p.coll).build(b, p, r);
  return b.take();
}

std::vector<Recipe> candidates(const Problem& p) {
  Lists lists;
  for (const auto& over : level_sets(p)) {
    const bool one_group = !over.empty() && view_of(p, over.back())->members.size() == 1;
    for (const Entry& e : collective(p.coll).algorithms) {
      const std::size_t before = lists.plain.size();
      Recipe r;
      r.algorithm = e.name;
      r.over = over;
      collect(p, r, lists);
      if (one_group && lists.plain.size() > before) break;  // nothing happens between groups: all names mean the same
    }
  }
  // Every kind gets its share of the places; what one does not use goes to the plain ones.
  const auto cut = [](std::vector<Recipe>& v, std::size_t n) {
    if (v.size() > n) v.resize(n);
  };
  cut(lists.chunked, std::max(most_candidates / 4, most_candidates - std::min(most_candidates, lists.plain.size() + lists.radixes.size())));
  cut(lists.radixes, std::max(most_candidates / 5, most_candidates - std::min(most_candidates, lists.plain.size() + lists.chunked.size())));
  cut(lists.plain, most_candidates - lists.chunked.size() - lists.radixes.size());
  std::vector<Recipe> out = std::move(lists.plain);
  out.insert(out.end(), lists.radixes.begin(), lists.radixes.end());
  out.insert(out.end(), lists.chunked.begin(), lists.chunked.end());
  return out;
}

namespace {
std::int64_t start_of(const Problem& p, int r) {
  if (p.counts.empty()) return r * p.count;
  return std::accumulate(p.counts.begin(), p.counts.begin() + r, std::int64_t{0});
}
std::int64_t count_of(const Problem& p, int r) { return p.counts.empty() ? p.count : p.counts[static_cast<std::size_t>(r)]; }
constexpr Range whole(Space space, int r) { return {space, r, 0, sched::whole_block}; }
}  // namespace

Range operand(const Problem& p, int r, std::int64_t from, std::int64_t count) {
  switch (p.coll) {
    case Coll::bcast: return {Space::recv, 0, from, count};
    case Coll::allgather:
    case Coll::gather: return p.in_place ? Range{Space::recv, 0, r * p.count + from, count} : Range{Space::send, 0, from, count};
    case Coll::allgatherv:
    case Coll::gatherv: return p.in_place ? Range{Space::recv_block, r, from, count} : Range{Space::send, 0, from, count};
    case Coll::scatter: return {Space::send, 0, from, count};
    default: return {p.in_place ? Space::recv : Space::send, 0, from, count};
  }
}

Range recv_block(const Problem& p, int r) {
  switch (p.coll) {
    case Coll::allgather:
    case Coll::gather:
    case Coll::alltoall: return {Space::recv, 0, r * p.count, p.count};
    case Coll::allgatherv: return {Space::recv_block, r, 0, count_of(p, r)};
    case Coll::gatherv:
    case Coll::scatterv:
    case Coll::alltoallv: return whole(Space::recv_block, r);
    default: return {Space::recv, 0, 0, count_of(p, r)};
  }
}

Range send_block(const Problem& p, int r) {
  switch (p.coll) {
    case Coll::scatter: return {Space::send, 0, r * p.count, p.count};
    case Coll::scatterv:
    case Coll::alltoallv: return whole(Space::send_block, r);
    case Coll::gatherv: return p.in_place ? whole(Space::recv_block, r) : whole(Space::send_block, r);
    case Coll::alltoall: return {p.in_place ? Space::recv : Space::send, 0, r * p.count, p.count};
    case Coll::reduce_scatter:
    case Coll::reduce_scatter_block: return operand(p, r, start_of(p, r), count_of(p, r));
    default: return operand(p, r, 0, count_of(p, r));
  }
}

}  // namespace libcoll::algo
