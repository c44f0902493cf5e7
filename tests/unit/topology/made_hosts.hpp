// Hosts with GPUs, made up: the shapes that no captured file shows.
#pragma once

#include <algorithm>
#include <vector>

#include "topology/devices.hpp"
#include "topology/machine.hpp"

namespace libcoll::topo {

struct MadeHost {
  Machine machine;
  std::vector<int> gpus, nics;  // nodes
};

// Two NUMA nodes; as many GPUs and NICs, each pair below a PCIe switch of its own.
inline MadeHost make_host(int gpus, int nics) {
  MadeHost h;
  h.machine.nodes.emplace_back();
  for (int i = 0; i < 2; ++i) {
    Node numa;
    numa.kind = NodeKind::numa;
    numa.parent = 0;
    numa.os_index = i;
    h.machine.nodes.push_back(numa);
  }
  std::vector<Device> devices;
  const auto add = [&](NodeKind kind, int i, int count) {
    Device d;
    d.kind = kind;
    d.os_index = i;
    d.parent = 1 + (i * 2 >= count);
    d.host_bridge = d.parent;
    d.switches = {i};
    if (kind == NodeKind::nic) {
      d.name = "nic" + std::to_string(i);
      d.mb_per_s = 50000;
    }
    devices.push_back(d);
  };
  for (int i = 0; i < gpus; ++i) add(NodeKind::gpu, i, gpus);
  for (int i = 0; i < nics; ++i) add(NodeKind::nic, i, nics);
  const std::vector<int> nodes = add_devices(h.machine, devices);
  h.gpus.assign(nodes.begin(), nodes.begin() + gpus);
  h.nics.assign(nodes.begin() + gpus, nodes.end());
  h.machine.knows_nvlinks = true;
  return h;
}

inline void link(Machine& m, int a, int b, int links) {
  m.edges.push_back({.kind = EdgeKind::nvlink,
                     .a = std::min(a, b),
                     .b = std::max(a, b),
                     .links = links,
                     .mb_per_s = static_cast<std::uint64_t>(links) * 25000,
                     .path = PathClass::unknown});
}

// All GPUs at one NVSwitch by `links` each.
inline MadeHost make_switched_host(int gpus, int nics, int links) {
  MadeHost h = make_host(gpus, nics);
  Node s;
  s.kind = NodeKind::nvswitch;
  s.parent = 0;
  h.machine.nodes.push_back(s);
  for (const int g : h.gpus) link(h.machine, g, static_cast<int>(h.machine.nodes.size()) - 1, links);
  return h;
}

inline void set_fabric(MadeHost& h, const NvlinkFabric& fabric) {
  for (const int g : h.gpus) h.machine.nodes[static_cast<std::size_t>(g)].fabric = fabric;
}

}  // namespace libcoll::topo
