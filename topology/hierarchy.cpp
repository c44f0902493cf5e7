#include "topology/hierarchy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <tuple>

#include "topology/partition.hpp"

namespace libcoll::topo {
namespace {

constexpr std::size_t index_of(Level level) { return static_cast<std::size_t>(level); }

const Place& place_at(const RankRecord& r, Level level) {
  switch (level) {
    case Level::core:
      return r.core;
    case Level::l3:
      return r.l3;
    case Level::numa:
      return r.numa;
    default:
      return r.package;
  }
}

// Who shares the named thing. Unbound ranks get a key of their own.
Partition natural_partition(const Fabric& f, Level level) {
  std::vector<std::tuple<int, int, int>> keys;
  keys.reserve(f.records.size());
  for (int rank = 0; rank < f.size(); ++rank) {
    const auto i = static_cast<std::size_t>(rank);
    if (level == Level::world || level == Level::group) {  // nothing tells which hosts share a switch: files do
      keys.emplace_back(0, 0, 0);
    } else if (level == Level::host) {
      keys.emplace_back(f.host_of[i], 0, 0);
    } else {
      const Place& p = place_at(f.records[i], level);
      keys.emplace_back(f.host_of[i], p.bound() ? p.key : -1, p.bound() ? -1 : rank);
    }
  }
  return partition_by(keys);
}

std::vector<Group> groups_of(const Partition& canonical) {
  std::vector<Group> groups(static_cast<std::size_t>(part_count(canonical)));
  for (std::size_t rank = 0; rank < canonical.size(); ++rank)
    groups[static_cast<std::size_t>(canonical[rank])].ranks.push_back(static_cast<int>(rank));
  return groups;
}

struct ChainLink {
  Level level;
  Partition partition;
};

// Drops what adds nothing, then turns partitions into groups. `chain` is narrowest first, nested,
// and ends with the world.
std::vector<LevelGroups> useful_levels(const std::vector<ChainLink>& chain) {
  std::vector<LevelGroups> levels;
  for (std::size_t i = 0; i < chain.size(); ++i) {
    const Partition& p = chain[i].partition;
    const bool is_last = i + 1 == chain.size();
    const bool is_single = part_count(p) == static_cast<int>(p.size());
    if (!is_last && (is_single || p == chain[i + 1].partition)) continue;
    levels.push_back({chain[i].level, groups_of(p)});
  }
  return levels;
}

// Leaders, narrowest level first. Each group takes the best of its candidates, which are the leaders
// of the groups inside it: so a leader leads all the way down. `better(a, b)`: a before b.
template <class Better>
void elect(std::vector<LevelGroups>& levels, int size, Better better) {
  std::vector<char> leads(static_cast<std::size_t>(size), 1);
  for (LevelGroups& level : levels)
    for (Group& g : level.groups) {
      int best = -1;
      for (const int rank : g.ranks)
        if (leads[static_cast<std::size_t>(rank)] && (best < 0 || better(rank, best))) best = rank;
      for (const int rank : g.ranks) leads[static_cast<std::size_t>(rank)] = rank == best;
      g.leader = best;
    }
}

auto broken(const LevelGroups& level, const std::string& what) {
  return detail::failure(Errc::invalid_argument,
                         fmt::format("hierarchy level {}: {}", name_of(level.level), what));
}

// The level's partition, or why it is none.
detail::Result<Partition> partition_of(const LevelGroups& level, int size) {
  Partition p(static_cast<std::size_t>(size), -1);
  int lowest = -1;
  for (std::size_t g = 0; g < level.groups.size(); ++g) {
    const std::vector<int>& ranks = level.groups[g].ranks;
    if (ranks.empty()) return broken(level, "an empty group");
    if (ranks.front() <= lowest) return broken(level, "groups not in the order of their lowest ranks");
    lowest = ranks.front();
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      if (ranks[i] < 0 || ranks[i] >= size) return broken(level, fmt::format("no rank {}", ranks[i]));
      if (i > 0 && ranks[i] <= ranks[i - 1]) return broken(level, "ranks of a group not ascending");
      if (p[static_cast<std::size_t>(ranks[i])] >= 0)
        return broken(level, fmt::format("rank {} twice", ranks[i]));
      p[static_cast<std::size_t>(ranks[i])] = static_cast<int>(g);
    }
    if (!std::binary_search(ranks.begin(), ranks.end(), level.groups[g].leader))
      return broken(level, fmt::format("leader {} is not in its group", level.groups[g].leader));
  }
  const auto missing = std::find(p.begin(), p.end(), -1);
  if (missing != p.end()) return broken(level, fmt::format("rank {} in no group", missing - p.begin()));
  return p;
}

detail::Result<void> validate_colors(const Hierarchy& h) {
  for (int l = 0; l < level_count; ++l) {
    const Partition& p = h.colors[static_cast<std::size_t>(l)];
    const LevelGroups named{static_cast<Level>(l), {}};
    if (static_cast<int>(p.size()) != h.size) return broken(named, "not one colour per rank");
    if (p != partition_by(p)) return broken(named, "colours not numbered by lowest ranks");
    const Level wider = named.level < Level::host ? Level::host : named.level == Level::host ? Level::group : Level::world;
    if (!refines(p, h.colors[index_of(wider)])) return broken(named, fmt::format("groups cross those of level {}", name_of(wider)));
  }
  if (part_count(h.colors[index_of(Level::world)]) > 1)
    return broken({Level::world, {}}, "more than one world");
  return {};
}

}  // namespace

const LevelGroups* Hierarchy::find(Level level) const {
  for (const LevelGroups& l : levels)
    if (l.level == level) return &l;
  return nullptr;
}

Hierarchy build_hierarchy(const Fabric& f, const HierarchyOptions& options) {
  Hierarchy h;
  h.size = f.size();
  std::vector<Level> order;
  for (int l = 0; l < level_count; ++l) {
    h.colors[static_cast<std::size_t>(l)] = natural_partition(f, static_cast<Level>(l));
    order.push_back(static_cast<Level>(l));
  }
  // On any one machine these nest, so more groups means narrower. Only the levels inside a host move.
  std::stable_sort(order.begin(), order.begin() + static_cast<int>(Level::host), [&](Level a, Level b) {
    return part_count(h.colors[index_of(a)]) > part_count(h.colors[index_of(b)]);
  });
  // Machines of different make may disagree about the order (NUMA nodes that hold packages beside
  // packages that hold NUMA nodes): meeting each level with the next wider one makes it nest anyway.
  std::vector<ChainLink> chain;
  for (auto level = order.rbegin(); level != order.rend(); ++level) {
    const Partition& p = h.colors[index_of(*level)];
    chain.push_back({*level, chain.empty() ? p : meet(p, chain.back().partition)});
  }
  std::reverse(chain.begin(), chain.end());
  h.levels = useful_levels(chain);

  std::vector<char> preferred(static_cast<std::size_t>(h.size), 0);
  for (const int rank : options.preferred_leaders)
    if (rank >= 0 && rank < h.size) preferred[static_cast<std::size_t>(rank)] = 1;
  elect(h.levels, h.size, [&](int a, int b) {
    const char pa = preferred[static_cast<std::size_t>(a)], pb = preferred[static_cast<std::size_t>(b)];
    return pa != pb ? pa > pb : a < b;
  });
  return h;
}

Hierarchy restrict_to(const Hierarchy& h, std::span<const int> ranks) {
  Hierarchy r;
  r.size = static_cast<int>(ranks.size());
  std::vector<char> seen(static_cast<std::size_t>(h.size), 0);
  for (const int rank : ranks)
    if (rank < 0 || rank >= h.size || std::exchange(seen[static_cast<std::size_t>(rank)], 1))
      throw Error(Errc::internal,
                  fmt::format("restrict_to: rank {} is not one of {} or occurs twice", rank, h.size));

  const auto pick = [&](const Partition& p) {
    Partition picked;
    picked.reserve(ranks.size());
    for (const int rank : ranks) picked.push_back(p[static_cast<std::size_t>(rank)]);
    return partition_by(picked);
  };
  for (std::size_t l = 0; l < level_count; ++l) r.colors[l] = pick(h.colors[l]);

  std::vector<ChainLink> chain;
  // How wide a group each old rank leads: a leader of more comes first in its new groups.
  std::vector<int> reach(static_cast<std::size_t>(h.size), 0);
  for (const LevelGroups& level : h.levels) {
    Partition p(static_cast<std::size_t>(h.size), 0);
    for (std::size_t g = 0; g < level.groups.size(); ++g) {
      for (const int rank : level.groups[g].ranks) p[static_cast<std::size_t>(rank)] = static_cast<int>(g);
      ++reach[static_cast<std::size_t>(level.groups[g].leader)];
    }
    chain.push_back({level.level, pick(p)});
  }
  r.levels = useful_levels(chain);
  elect(r.levels, r.size, [&](int a, int b) {
    const int ra = reach[static_cast<std::size_t>(ranks[static_cast<std::size_t>(a)])];
    const int rb = reach[static_cast<std::size_t>(ranks[static_cast<std::size_t>(b)])];
    return ra != rb ? ra > rb : a < b;
  });
  return r;
}

detail::Result<void> validate(const Hierarchy& h) {
  if (auto ok = validate_colors(h); !ok) return ok;
  if (h.levels.empty() || h.levels.back().level != Level::world)
    return detail::failure(Errc::invalid_argument, "hierarchy: the last level must be the world");
  Partition narrower;
  std::vector<char> leads(static_cast<std::size_t>(h.size), 1);
  for (const LevelGroups& level : h.levels) {
    const auto p = partition_of(level, h.size);
    if (!p) return tl::make_unexpected(p.error());
    if (&level != h.find(level.level)) return broken(level, "listed twice");
    if (!narrower.empty() && !refines(narrower, *p))
      return broken(level, "a narrower group crosses its groups");
    if (!refines(*p, h.colors[index_of(level.level)]))
      return broken(level, "a group joins what its colours part");
    std::vector<char> leads_here(leads.size(), 0);
    for (const Group& g : level.groups) {
      if (!leads[static_cast<std::size_t>(g.leader)])
        return broken(level, fmt::format("leader {} does not lead its narrower group", g.leader));
      leads_here[static_cast<std::size_t>(g.leader)] = 1;
    }
    leads = std::move(leads_here);
    narrower = *p;
  }
  return {};
}

}  // namespace libcoll::topo
