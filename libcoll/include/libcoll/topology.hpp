// What a communicator knows about where its ranks run. Values only: a snapshot that stays valid
// after the communicator is gone, and may be read by any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libcoll/types.hpp"

namespace libcoll {

struct TopologyGroup {
  int leader = 0;          // one of the ranks
  std::vector<int> ranks;  // ascending
  friend bool operator==(const TopologyGroup&, const TopologyGroup&) = default;
};

// One way to part all ranks into groups.
struct TopologyLevel {
  Level level = Level::world;
  std::vector<TopologyGroup> groups;  // in the order of their lowest ranks
  friend bool operator==(const TopologyLevel&, const TopologyLevel&) = default;
};

struct TopologyHost {
  std::string name;
  std::vector<int> ranks;       // ascending
  int usable_cpus = 0;          // after affinity masks and cgroup limits
  bool oversubscribed = false;  // more ranks than usable CPUs
  friend bool operator==(const TopologyHost&, const TopologyHost&) = default;
};

class LIBCOLL_API Topology {
 public:
  std::vector<TopologyHost> hosts;
  // Narrowest first, each level's groups inside those of the next; the last is the world. Levels
  // that add nothing (one rank per group, or the groups of the next level) are left out.
  std::vector<TopologyLevel> levels;
  std::string text;  // what describe() returns

  int host_count() const noexcept { return static_cast<int>(hosts.size()); }
  // For people: a tree of hosts, packages, caches, cores and the ranks on them.
  const std::string& describe() const noexcept { return text; }
  // For programs: hosts and levels.
  std::string to_json() const;
};

}  // namespace libcoll
