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

enum class NodeKind : std::uint8_t { machine, package, numa, l3, core, pu, gpu, nvswitch, nic };
inline constexpr int node_kind_count = 9;
const char* name_of(NodeKind) noexcept;
constexpr bool is_device(NodeKind kind) noexcept { return kind >= NodeKind::gpu; }

// A multi-node NVLink domain. GPUs of several hosts reach each other through it if their tuples are
// equal and healthy; clique numbers alone collide between unrelated clusters.
struct NvlinkFabric {
  std::string cluster;  // empty: the GPU is in none
  std::uint32_t clique = 0;
  bool is_healthy = false;
  friend bool operator==(const NvlinkFabric&, const NvlinkFabric&) = default;
};

struct Node {
  NodeKind kind = NodeKind::machine;
  int parent = -1;    // index into Machine::nodes, always smaller than the node's own
  int os_index = -1;  // as the operating system numbers it; -1 if it does not
  // Identity that processes in different cpusets of one host agree on: the lowest CPU number of the
  // node, CPUs that this process may not use included. -1 for memory without CPUs.
  int key = -1;
  std::uint64_t bytes = 0;  // l3: cache size; numa: memory; 0 = unknown
  CpuSet cpus;              // CPUs that this process's cgroup allows
  // package: CPU model; l3: "L2" or "unknown" where it is a stand-in; nic: as the system calls it;
  // gpu: its model; nvswitch: "hidden" where one stands for all that the source does not list.
  std::string name;
  std::string bus_id = {};     // devices: PCI address "0000:1b:00.0", empty if there is none
  std::uint64_t mb_per_s = 0;  // nic: all its ports together, 0 = unknown
  int functions = 1;           // nic: how many PCI functions or ports were folded into it
  int links_elsewhere = 0;     // gpu: NVLinks to devices that the source does not show
  NvlinkFabric fabric = {};    // gpu
  std::string uuid = {};       // gpu: the same in every container; empty = unknown
  bool is_mig = false;         // gpu: parted into slices, which do without NVLink

  friend bool operator==(const Node&, const Node&) = default;
};

// How far apart two PCI devices are, nearest first, in the words of nvidia-smi and NCCL: below one PCIe
// switch, below several, one host bridge, one NUMA node, or anywhere.
enum class PathClass : std::uint8_t { pix, pxb, phb, node, sys, unknown };
inline constexpr int path_class_count = 6;
const char* name_of(PathClass) noexcept;

enum class EdgeKind : std::uint8_t { nvlink, c2c, pcie };
inline constexpr int edge_kind_count = 3;
const char* name_of(EdgeKind) noexcept;

// Between two nodes, in both directions. nvlink (or AMD's xGMI): GPU to GPU, NVSwitch, or to the
// package or NUMA node of a CPU that has such links. c2c: GPU to its CPU. pcie: GPU to GPU or NIC.
struct Edge {
  EdgeKind kind = EdgeKind::pcie;
  int a = -1, b = -1;                   // a < b
  int links = 0;                        // nvlink, c2c; 0 = unknown
  std::uint64_t mb_per_s = 0;           // of all links together, one way; 0 = unknown
  PathClass path = PathClass::unknown;  // pcie
  friend bool operator==(const Edge&, const Edge&) = default;
};

// Invariants (checked by validate): nodes[0] is the machine; the pu nodes are exactly its cpus, or
// there are none at all (files about devices list no CPUs); devices have no children; a
// child's cpus lie in its parent's; each pu has one ancestor of each kind package, numa, l3, core.
// Packages may hold NUMA nodes or the other way round. A numa node without children is memory only
// (HBM, CXL). `l3` is the last cache that cores share: L2 on machines such as A64FX.
struct Machine {
  std::string architecture;
  std::uint32_t line_bytes = 64;  // coherency granule: what keeps two writers apart
  std::uint64_t l2_bytes = 0;     // one L2, 0 = unknown
  std::uint64_t l3_bytes = 0;     // one L3, the largest if they differ, 0 = unknown
  std::vector<Node> nodes;
  std::vector<Edge> edges;
  std::string host;                // its name where the source tells several hosts apart
  bool knows_nvlinks = false;      // else the absence of nvlink edges says nothing
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

inline constexpr std::uint64_t max_mb_per_s = std::uint64_t{1} << 30;  // what a Machine may hold
inline constexpr int max_links = 1024, max_functions = 4096;
detail::Result<void> validate(const Machine&);

std::string to_json(const Machine&);
// Any text at all gives a valid Machine or a failure that says what is wrong.
detail::Result<Machine> machine_from_json(std::string_view);

}  // namespace libcoll::topo
