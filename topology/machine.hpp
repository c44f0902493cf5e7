// Machine: what one host consists of, as a value. Probes and importers fill it, nothing here asks
// the operating system. Not tied to a process: who runs where is in fabric.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "libcoll/core/result.hpp"
#include "topology/cpuset.hpp"

namespace libcoll::topo {

// The CPU side is filled today; the device kinds are reserved for the device probes.
enum class NodeKind : std::uint8_t { machine, package, numa, l3, core, pu, gpu, nvswitch, nic };
inline constexpr int node_kind_count = 9;
const char* name_of(NodeKind) noexcept;

struct Node {
  NodeKind kind = NodeKind::machine;
  int parent = -1;    // index into Machine::nodes, always smaller than the node's own
  int os_index = -1;  // as the operating system numbers it; -1 if it does not
  // Identity that processes in different cpusets of one host agree on: the lowest CPU number of the
  // node, CPUs that this process may not use included. -1 for memory without CPUs.
  int key = -1;
  std::uint64_t bytes = 0;  // l3: cache size; numa: memory; 0 = unknown
  CpuSet cpus;              // CPUs that this process's cgroup allows
  std::string name;         // package: CPU model; l3: "L2" or "unknown" where it is a stand-in

  friend bool operator==(const Node&, const Node&) = default;
};

// Invariants (checked by validate): nodes[0] is the machine; the pu nodes are exactly its cpus; a
// child's cpus lie in its parent's; each pu has one ancestor of each kind package, numa, l3, core.
// Packages may hold NUMA nodes or the other way round. A numa node without children is memory only
// (HBM, CXL). `l3` is the last cache that cores share: L2 on machines such as A64FX.
struct Machine {
  std::string architecture;
  std::uint32_t line_bytes = 64;  // coherency granule: what keeps two writers apart
  std::uint64_t l2_bytes = 0;     // one L2, 0 = unknown
  std::uint64_t l3_bytes = 0;     // one L3, the largest if they differ, 0 = unknown
  std::vector<Node> nodes;
  std::vector<std::string> notes;  // what could not be probed, and what was assumed instead

  const CpuSet& cpus() const;  // those that this process's cgroup allows
  int count(NodeKind) const;
  // Index of the node's nearest ancestor of that kind (itself included), -1 if none.
  int ancestor(int node, NodeKind) const;
  // Position among the nodes of its kind: the number shown where os_index is unknown.
  int ordinal(int node) const;
  int label(int node) const;  // os_index, else ordinal
  // The node of that kind in which all of `set` lies; -1 if there is none. CPUs unknown to the
  // machine do not count.
  int enclosing(NodeKind, const CpuSet& set) const;
  // Equal for machines of equal shape (structure, sizes, CPU numbers): keys tuning files.
  std::uint64_t fingerprint() const;

  friend bool operator==(const Machine&, const Machine&) = default;
};

detail::Result<void> validate(const Machine&);

std::string to_json(const Machine&);
// Any text at all gives a valid Machine or a failure that says what is wrong.
detail::Result<Machine> machine_from_json(std::string_view);

}  // namespace libcoll::topo
