#include "topology/devices.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <tuple>

namespace libcoll::topo {
namespace {

bool take_hex(std::string_view& text, std::uint32_t& value, char terminator, std::size_t most_digits) {
  const std::size_t end = terminator == '\0' ? text.size() : text.find(terminator);
  if (end == std::string_view::npos || end == 0 || end > most_digits) return false;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + end, value, 16);
  if (error != std::errc{} || stop != text.data() + end) return false;
  text.remove_prefix(std::min(end + 1, text.size()));
  return true;
}

// Ports of a card are functions of one PCI device. Virtual functions have device numbers of their own
// on the card's bus; below a PCIe port only the card itself is device 0.
bool is_same_card(const Device& first, const Device& other) {
  if (!first.identity.empty() && first.identity == other.identity) return true;
  const auto a = parse_pci_address(first.bus_id), b = parse_pci_address(other.bus_id);
  if (!a || !b || a->domain != b->domain || a->bus != b->bus) return false;
  return a->device == b->device || (a->device == 0 && first.vendor == other.vendor);
}

// By device: the one that stands for it, itself or the NIC that it is a part of.
std::vector<std::size_t> fold_nics(const std::vector<Device>& devices) {
  std::vector<std::size_t> stands_for(devices.size());
  std::iota(stands_for.begin(), stands_for.end(), 0u);
  for (std::size_t i = 0; i < devices.size(); ++i)
    for (std::size_t j = 0; j < i && devices[i].kind == NodeKind::nic; ++j)
      if (devices[j].kind == NodeKind::nic && stands_for[j] == j && is_same_card(devices[j], devices[i])) {
        stands_for[i] = j;
        break;
      }
  return stands_for;
}

// By number, else by PCI address, as NVML numbers GPUs.
auto order_key(const Device& d) {
  const PciAddress at = parse_pci_address(d.bus_id).value_or(PciAddress{});
  return std::tuple(d.kind, d.os_index < 0, d.os_index, at.domain, at.bus, at.device, at.function);
}

Node to_node(const Device& d) {
  Node n;
  n.kind = d.kind;
  n.parent = d.parent;
  n.os_index = d.os_index;
  n.name = d.name;
  n.bus_id = d.bus_id;
  n.mb_per_s = d.mb_per_s;
  n.links_elsewhere = d.links_elsewhere;
  return n;
}

}  // namespace

std::optional<PciAddress> parse_pci_address(std::string_view text) {
  PciAddress a;
  if (std::count(text.begin(), text.end(), ':') == 2 && !take_hex(text, a.domain, ':', 8))
    return std::nullopt;
  if (!take_hex(text, a.bus, ':', 2) || !take_hex(text, a.device, '.', 2) ||
      !take_hex(text, a.function, '\0', 2))
    return std::nullopt;
  return a;
}

std::optional<NodeKind> device_kind(std::uint32_t pci_class, std::uint32_t vendor) {
  const std::uint32_t kind = pci_class >> 8;
  switch (kind) {
    case 0x0200:
    case 0x0207:
      return NodeKind::nic;
    case 0x0302:
      return NodeKind::gpu;
    case 0x0380:
    case 0x1200:
      return vendor == amd_vendor ? std::optional(NodeKind::gpu) : std::nullopt;
    // Plain VGA controllers are mostly the display of a service processor.
    case 0x0300:
      return vendor == nvidia_vendor ? std::optional(NodeKind::gpu) : std::nullopt;
    case 0x0680:
      return vendor == nvidia_vendor ? std::optional(NodeKind::nvswitch) : std::nullopt;
    default:
      return std::nullopt;
  }
}

std::string printable(std::string_view text) {
  std::string s(text.substr(0, 64));
  for (char& c : s) c = c >= 0x20 && c < 0x7f ? c : '?';
  return s;
}

PathClass path_class(const Machine& m, const Device& x, const Device& y) {
  std::size_t common = 0;
  while (common < x.switches.size() && common < y.switches.size() && x.switches[common] == y.switches[common])
    ++common;
  if (common > 0)
    return common == x.switches.size() && common == y.switches.size() ? PathClass::pix : PathClass::pxb;
  if (x.host_bridge >= 0 && x.host_bridge == y.host_bridge) return PathClass::phb;
  const int a = m.ancestor(x.parent, NodeKind::numa), b = m.ancestor(y.parent, NodeKind::numa);
  if (a >= 0 && a == b) return PathClass::node;
  return a >= 0 && b >= 0 ? PathClass::sys : PathClass::unknown;
}

std::vector<int> add_devices(Machine& m, const std::vector<Device>& devices) {
  const std::vector<std::size_t> stands_for = fold_nics(devices);
  std::vector<std::size_t> order(devices.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return order_key(devices[a]) < order_key(devices[b]);
  });
  std::vector<int> node_of(devices.size(), -1);
  for (const std::size_t i : order) {
    if (stands_for[i] != i) continue;
    node_of[i] = static_cast<int>(m.nodes.size());
    m.nodes.push_back(to_node(devices[i]));
  }
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (stands_for[i] == i) continue;
    node_of[i] = node_of[stands_for[i]];
    Node& n = m.nodes[static_cast<std::size_t>(node_of[i])];
    n.functions = std::min(n.functions + 1, max_functions);
    n.mb_per_s = std::min(n.mb_per_s + devices[i].mb_per_s, max_mb_per_s);
    if (n.name.empty()) n.name = devices[i].name;
  }
  for (std::size_t i = 0; i < devices.size(); ++i)
    for (std::size_t j = 0; j < devices.size(); ++j) {
      if (devices[i].kind != NodeKind::gpu || stands_for[j] != j || i == j) continue;
      if (devices[j].kind != NodeKind::nic && !(devices[j].kind == NodeKind::gpu && i < j)) continue;
      const auto [a, b] = std::minmax(node_of[i], node_of[j]);
      m.edges.push_back({.kind = EdgeKind::pcie,
                         .a = a,
                         .b = b,
                         .links = 0,
                         .mb_per_s = 0,
                         .path = path_class(m, devices[i], devices[j])});
    }
  return node_of;
}

void LinkTable::add(EdgeKind kind, int from, int to, int links, std::uint64_t mb_per_s) {
  Sum& sum = told_[{kind, from, to}];
  sum.links = std::min(sum.links + links, max_links);
  sum.mb_per_s = std::min(sum.mb_per_s + mb_per_s, max_mb_per_s);
}

void LinkTable::settle(Machine& m) const {
  constexpr int most_notes = 8;
  int disagreements = 0;
  const auto is_gpu = [&](int node) { return m.nodes[static_cast<std::size_t>(node)].kind == NodeKind::gpu; };
  for (const auto& [key, there] : told_) {
    const auto [kind, from, to] = key;
    const auto back = told_.find({kind, to, from});
    if (back != told_.end() && from > to) continue;  // once a pair
    Sum sum = there;
    if (is_gpu(from) && is_gpu(to)) {
      const Sum other = back == told_.end() ? Sum{} : back->second;
      const bool agree = other.links == there.links && other.mb_per_s == there.mb_per_s;
      if (!agree && ++disagreements <= most_notes)
        m.notes.push_back(
            fmt::format("GPUs {} and {} disagree about the links between them ({} and {}): the fewer count",
                        m.label(from), m.label(to), there.links, other.links));
      sum = {std::min(there.links, other.links), std::min(there.mb_per_s, other.mb_per_s)};
      if (sum.links == 0 && sum.mb_per_s == 0) continue;
    }
    m.edges.push_back({.kind = kind,
                       .a = std::min(from, to),
                       .b = std::max(from, to),
                       .links = sum.links,
                       .mb_per_s = sum.mb_per_s,
                       .path = PathClass::unknown});
  }
  if (disagreements > most_notes)
    m.notes.push_back(
        fmt::format("{} more pairs of GPUs disagree about their links", disagreements - most_notes));
}

}  // namespace libcoll::topo
