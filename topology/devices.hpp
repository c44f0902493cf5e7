// PCI devices as a source shows them -> nodes of a Machine and the path classes between them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "topology/machine.hpp"

namespace libcoll::topo {

inline constexpr std::uint32_t nvidia_vendor = 0x10de, amd_vendor = 0x1002;

struct PciAddress {
  std::uint32_t domain = 0, bus = 0, device = 0, function = 0;
  friend bool operator==(const PciAddress&, const PciAddress&) = default;
};
// "0000:1b:00.0", "1b:00.0"; nothing if it is no such address.
std::optional<PciAddress> parse_pci_address(std::string_view);

// gpu, nic or nvswitch by PCI class and vendor ("0x030200", "10de"); nothing for other devices.
std::optional<NodeKind> device_kind(std::uint32_t pci_class, std::uint32_t vendor);

// At most 64 characters, others than printable ASCII as '?': names from files, fit for terminals and JSON.
std::string printable(std::string_view);

struct Device {
  NodeKind kind = NodeKind::gpu;
  std::string bus_id;  // may be empty
  std::string name;
  std::uint32_t vendor = 0;
  int os_index = -1;
  int parent = 0;             // node of the Machine: NUMA node or package, or the machine where unknown
  int host_bridge = -1;       // equal below one PCIe host bridge, -1 = unknown
  std::vector<int> switches;  // the PCIe switches above it, outermost first, each a number of its own
  std::uint64_t mb_per_s = 0;
  std::string identity;  // NICs with an equal one are ports of one card; empty = unknown
  int links_elsewhere = 0;
};

inline constexpr std::size_t max_devices = 512;  // of one machine; their pairs become edges

// Folds ports and virtual functions of one NIC into one device, orders each kind by os_index (else by PCI
// address), adds nodes, and pcie edges from each GPU to the other GPUs and to the NICs. The result maps each
// device to its node. At most max_devices.
std::vector<int> add_devices(Machine&, const std::vector<Device>&);

// NVLink (xGMI) and C2C as each end tells them. Both ends of a link between GPUs must: what only one
// end says, or the lower of two answers, is what can be relied on.
class LinkTable {
 public:
  void add(EdgeKind kind, int from, int to, int links, std::uint64_t mb_per_s);
  // Into edges, with a note for each pair whose ends disagree.
  void settle(Machine&) const;

 private:
  struct Sum {
    int links = 0;
    std::uint64_t mb_per_s = 0;
  };
  std::map<std::tuple<EdgeKind, int, int>, Sum> told_;
};

PathClass path_class(const Machine&, const Device&, const Device&);

}  // namespace libcoll::topo
