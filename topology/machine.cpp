#include "topology/machine.hpp"

#include <fmt/format.h>

#include <array>
#include <set>
#include <tuple>

#include "topology/hash.hpp"

namespace libcoll::topo {
namespace {

constexpr std::array<const char*, node_kind_count> kind_names{"machine", "package", "numa",     "l3", "core",
                                                              "pu",      "gpu",     "nvswitch", "nic"};
constexpr std::array<const char*, path_class_count> path_names{"PIX", "PXB", "PHB", "NODE", "SYS", "unknown"};
constexpr std::array<const char*, edge_kind_count> edge_names{"nvlink", "c2c", "pcie"};
constexpr std::array on_every_path{NodeKind::package, NodeKind::numa, NodeKind::l3, NodeKind::core};

auto broken(std::size_t node, const char* what) {
  return detail::failure(Errc::invalid_argument, fmt::format("machine node {}: {}", node, what));
}

bool may_join(EdgeKind kind, NodeKind a, NodeKind b) {
  if (a != NodeKind::gpu && b != NodeKind::gpu) return false;
  const NodeKind other = a == NodeKind::gpu ? b : a;
  const bool is_cpu = other == NodeKind::package || other == NodeKind::numa;
  switch (kind) {
    case EdgeKind::nvlink: return other == NodeKind::gpu || other == NodeKind::nvswitch || is_cpu;
    case EdgeKind::c2c: return is_cpu;
    case EdgeKind::pcie: return other == NodeKind::gpu || other == NodeKind::nic;
  }
  return false;
}

detail::Result<void> validate_edges(const Machine& m) {
  std::set<std::tuple<EdgeKind, int, int>> seen;
  for (std::size_t i = 0; i < m.edges.size(); ++i) {
    const Edge& e = m.edges[i];
    const auto bad = [&](const char* what) {
      return detail::failure(Errc::invalid_argument, fmt::format("machine edge {}: {}", i, what));
    };
    if (e.a < 0 || e.a >= e.b || static_cast<std::size_t>(e.b) >= m.nodes.size())
      return bad("its ends must be two nodes, the lower one first");
    if (!may_join(e.kind, m.nodes[static_cast<std::size_t>(e.a)].kind, m.nodes[static_cast<std::size_t>(e.b)].kind))
      return bad("its ends cannot be joined by such an edge");
    if (e.links < 0 || e.links > max_links || e.mb_per_s > max_mb_per_s) return bad("links or bandwidth out of range");
    if (!seen.emplace(e.kind, e.a, e.b).second) return bad("the same edge twice");
  }
  return {};
}

}  // namespace

const char* name_of(PathClass path) noexcept {
  const auto i = static_cast<std::size_t>(path);
  return i < path_names.size() ? path_names[i] : "unknown";
}

const char* name_of(EdgeKind kind) noexcept {
  const auto i = static_cast<std::size_t>(kind);
  return i < edge_names.size() ? edge_names[i] : "unknown kind";
}

const char* name_of(NodeKind kind) noexcept {
  const auto i = static_cast<std::size_t>(kind);
  return i < kind_names.size() ? kind_names[i] : "unknown kind";
}

const CpuSet& Machine::cpus() const {
  static const CpuSet none;
  return nodes.empty() ? none : nodes.front().cpus;
}

int Machine::count(NodeKind kind) const {
  int n = 0;
  for (const Node& node : nodes) n += node.kind == kind;
  return n;
}

int Machine::ancestor(int node, NodeKind kind) const {
  while (node >= 0 && nodes[static_cast<std::size_t>(node)].kind != kind)
    node = nodes[static_cast<std::size_t>(node)].parent;
  return node;
}

int Machine::ordinal(int node) const {
  int n = 0;
  for (int i = 0; i < node; ++i)
    n += nodes[static_cast<std::size_t>(i)].kind == nodes[static_cast<std::size_t>(node)].kind;
  return n;
}

int Machine::label(int node) const {
  const int os = nodes[static_cast<std::size_t>(node)].os_index;
  return os >= 0 ? os : ordinal(node);
}

int Machine::enclosing(NodeKind kind, const CpuSet& set) const {
  int found = -1;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].kind != NodeKind::pu || !set.contains(nodes[i].os_index)) continue;
    const int here = ancestor(static_cast<int>(i), kind);
    if (here < 0 || (found >= 0 && here != found)) return -1;
    found = here;
  }
  return found;
}

std::uint64_t Machine::fingerprint() const {
  Hash h;
  h.add(architecture).add(line_bytes).add(l2_bytes).add(l3_bytes);
  for (const Node& n : nodes) {
    // Not memory: what the kernel reserves of it differs between boots of one machine.
    const std::uint64_t size = n.kind == NodeKind::numa ? 0 : n.bytes;
    h.add(n.kind).add(n.parent).add(n.os_index).add(n.key).add(size).add(n.name);
    for (const std::uint64_t w : n.cpus.words()) h.add(w);
    if (is_device(n.kind)) h.add(n.bus_id).add(n.mb_per_s);
  }
  for (const Edge& e : edges) h.add(e.kind).add(e.a).add(e.b).add(e.links).add(e.mb_per_s).add(e.path);
  return h.value();
}

detail::Result<void> validate(const Machine& m) {
  if (m.nodes.empty() || m.nodes[0].kind != NodeKind::machine || m.nodes[0].parent != -1)
    return detail::failure(Errc::invalid_argument, "machine: the first node must be the machine itself");
  CpuSet pus;
  for (std::size_t i = 1; i < m.nodes.size(); ++i) {
    const Node& n = m.nodes[i];
    if (n.parent < 0 || static_cast<std::size_t>(n.parent) >= i)
      return broken(i, "parent must come before it");
    if (n.kind == NodeKind::machine) return broken(i, "a second machine");
    const NodeKind above = m.nodes[static_cast<std::size_t>(n.parent)].kind;
    if (above == NodeKind::pu || is_device(above)) return broken(i, "child of a PU or of a device");
    if (is_device(n.kind) && !n.cpus.empty()) return broken(i, "a device with CPUs");
    if (n.mb_per_s > max_mb_per_s || n.functions < 1 || n.functions > max_functions || n.links_elsewhere < 0 ||
        n.links_elsewhere > max_links)
      return broken(i, "bandwidth, functions or links out of range");
    if (!m.nodes[static_cast<std::size_t>(n.parent)].cpus.includes(n.cpus))
      return broken(i, "its CPUs are not among its parent's");
    // Also what bounds the depth: every kind occurs once on a path.
    if (m.ancestor(n.parent, n.kind) >= 0) return broken(i, "inside a node of its own kind");
    if (n.kind != NodeKind::pu) continue;
    if (n.os_index < 0 || n.cpus.count() != 1 || !n.cpus.contains(n.os_index))
      return broken(i, "a PU has one CPU, its own");
    if (pus.contains(n.os_index)) return broken(i, "the same PU twice");
    pus.add(n.os_index);
    for (const NodeKind kind : on_every_path)
      if (m.ancestor(static_cast<int>(i), kind) < 0)
        return broken(i, "a PU without package, NUMA node, L3 or core");
  }
  if (!pus.empty() && pus != m.cpus())
    return detail::failure(Errc::invalid_argument, "machine: its CPUs are not those of its PUs");
  return validate_edges(m);
}

}  // namespace libcoll::topo
