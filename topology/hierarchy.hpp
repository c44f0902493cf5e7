// Hierarchy: the ranks of one communicator, parted into groups level by level. Pure: every rank
// derives the same value from the same Fabric.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libcoll/core/result.hpp"
#include "libcoll/topology.hpp"
#include "topology/fabric.hpp"

namespace libcoll::topo {

using Group = TopologyGroup;
using LevelGroups = TopologyLevel;

// Invariants (checked by validate): each level is a partition of 0..size-1; the groups of a level
// lie inside those of the next; who leads a group also leads the narrower groups it is in.
struct Hierarchy {
  int size = 0;
  // Those that help an algorithm, narrowest first. Left out: levels of one rank per group, and those
  // equal to the next wider one. The last is always the world. The order is that of containment on
  // the machines at hand, not of Level: NUMA nodes may hold packages.
  std::vector<LevelGroups> levels;
  // By Level, then rank: which group the rank shares the named thing with, whether or not the level
  // is in `levels`. Groups are numbered by their lowest ranks. A rank whose CPUs span several of the
  // things shares with nobody.
  std::array<std::vector<int>, level_count> colors;

  int group_of(Level level, int rank) const {
    return colors[static_cast<std::size_t>(level)][static_cast<std::size_t>(rank)];
  }
  // The level if it is among `levels`, else null.
  const LevelGroups* find(Level) const;

  friend bool operator==(const Hierarchy&, const Hierarchy&) = default;
};

struct HierarchyOptions {
  // A group that holds one of these ranks is led by the lowest of them, others by their lowest rank.
  std::vector<int> preferred_leaders = {};
};

Hierarchy build_hierarchy(const Fabric&, const HierarchyOptions& = {});

// The hierarchy of a sub-communicator, whose rank i is `ranks[i]`. Leaders stay while they are in
// it. The ranks must be distinct ranks of the hierarchy; throws Error (internal) otherwise.
Hierarchy restrict_to(const Hierarchy&, std::span<const int> ranks);

detail::Result<void> validate(const Hierarchy&);

std::string to_json(const Hierarchy&);
// Also reads hand-written files: `leader` may be left out (lowest rank), the world level too, and
// `colors`. Without colors a level that is not listed has one rank per group if it is narrower than
// every level listed, else it equals the next wider one listed.
detail::Result<Hierarchy> hierarchy_from_json(std::string_view);

// The public view of both.
Topology make_topology(const Fabric&, const Hierarchy&);

}  // namespace libcoll::topo
