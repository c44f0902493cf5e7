// The device side of hwloc XML. hwloc itself never sees it (xml_guard says why): the tree of bridges,
// PCI devices and their system names is read here, and so is the matrix of NVLink bandwidths.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "topology/devices.hpp"
#include "topology/import.hpp"
#include "topology/xml_tree.hpp"

namespace libcoll::topo {
namespace {

constexpr std::size_t max_objects = 1024;  // of a matrix
constexpr std::uint32_t class_vga = 0x0300;

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  std::size_t at = 0;
  while ((at = text.find_first_not_of(" \t\r\n", at)) != std::string_view::npos) {
    const std::size_t end = std::min(text.find_first_of(" \t\r\n", at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

std::uint64_t number(const XmlElement& e, std::string_view text, std::uint64_t most, int base = 10) {
  std::uint64_t v = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v, base);
  if (error != std::errc{} || end != text.data() + text.size() || v > most)
    throw BadXml(e, fmt::format("\"{}\" is not a number up to {}", text.substr(0, 40), most));
  return v;
}

struct Place {
  int parent = 0;  // node of the machine
  int host_bridge = -1;
  std::vector<int> bridges;
};

class Importer {
 public:
  explicit Importer(Machine& m) : m_(m) {}

  void run(const XmlElement& root) {
    for (const XmlElement& e : root.children)
      if (e.name == "object") read_object(e, Place{});
    number_gpus();
    const std::vector<int> node_of = add_devices(m_, devices_);
    for (const auto& [gp, device] : device_of_) node_at_[gp] = node_of[device];
    LinkTable links;
    for (const XmlElement& e : root.children)
      if (e.name.starts_with("distances2") && is_links(e.get("name"))) read_matrix(e, links);
    links.settle(m_);
  }

 private:
  static bool is_links(const std::string& name) {
    return name == "NVLinkBandwidth" || name == "XGMIBandwidth";
  }

  void read_object(const XmlElement& e, Place place) {
    const std::string type = e.get("type");
    if (type == "Bridge") {
      const int id = next_bridge_++;
      if (e.get("bridge_type").starts_with("0"))
        place.host_bridge = id;
      else
        place.bridges.push_back(id);
    } else if (type == "PCIDev") {
      return read_pci(e, place);
    } else if (e.find("cpuset") != nullptr) {
      place.parent = node_of_cpus(e);
      if (const std::string* gp = e.find("gp_index")) node_at_[number(e, *gp, UINT64_MAX)] = place.parent;
    }
    for (const XmlElement& child : e.children)
      if (child.name == "object") read_object(child, place);
  }

  // The NUMA node that all of these CPUs are in, or the package, or else the machine.
  int node_of_cpus(const XmlElement& e) const {
    const auto cpus = CpuSet::from_mask(e.get("cpuset"));
    if (!cpus) throw BadXml(e, "cpuset: " + cpus.error().text);
    for (const NodeKind kind : {NodeKind::numa, NodeKind::package})
      if (const int node = m_.enclosing(kind, *cpus); node >= 0) return node;
    return 0;
  }

  // pci_type="0302 [10de:15f9] [10de:116b] a1"
  void read_pci(const XmlElement& e, const Place& place) {
    const std::string text = e.get("pci_type"), bus_id = e.get("pci_busid");
    if (text.size() < 15 || text[4] != ' ' || text[5] != '[' || text[10] != ':')
      throw BadXml(
          e, fmt::format("pci_type=\"{}\" does not begin like \"0200 [15b3:1017]\"", text.substr(0, 40)));
    if (!parse_pci_address(bus_id))
      throw BadXml(e, fmt::format("pci_busid=\"{}\" is not a PCI address", bus_id.substr(0, 40)));
    const auto pci_class =
        static_cast<std::uint32_t>(number(e, std::string_view(text).substr(0, 4), 0xffff, 16));
    const auto vendor =
        static_cast<std::uint32_t>(number(e, std::string_view(text).substr(6, 4), 0xffff, 16));
    auto kind = device_kind(pci_class << 8, vendor);
    // The class of a device that is powered down reads as 0; NVML knew better.
    if (e.get("subtype") == "NVSwitch") kind = NodeKind::nvswitch;
    if (!kind && pci_class == class_vga && is_coprocessor(e)) kind = NodeKind::gpu;
    if (!kind) return;
    if (devices_.size() == max_devices) throw BadXml(e, "too many devices");
    Device d;
    d.kind = *kind;
    d.bus_id = bus_id;
    d.vendor = vendor;
    d.parent = place.parent;
    d.host_bridge = place.host_bridge;
    d.switches = place.bridges;
    // hwloc shows both ports of a switch; the one right above a device is the device's alone.
    if (!d.switches.empty()) d.switches.pop_back();
    remember(e);
    for (const XmlElement& os : e.children) read_os_device(os, d);
    devices_.push_back(std::move(d));
  }

  // A display controller that CUDA, OpenCL or Level Zero can compute on.
  static bool is_coprocessor(const XmlElement& pci) {
    constexpr std::string_view coprocessor = "5";
    return std::any_of(pci.children.begin(), pci.children.end(), [&](const XmlElement& os) {
      return os.get("type") == "OSDev" && os.get("osdev_type") == coprocessor;
    });
  }

  void read_os_device(const XmlElement& os, Device& d) {
    if (os.get("type") != "OSDev") return;
    remember(os);
    const std::string name = printable(os.get("name"));
    constexpr std::string_view network = "2", openfabrics = "3";
    const std::string type = os.get("osdev_type");
    if (d.kind == NodeKind::gpu && name.starts_with("nvml")) {
      int index = 0;
      const auto [end, error] = std::from_chars(name.data() + 4, name.data() + name.size(), index);
      if (error == std::errc{} && end == name.data() + name.size() && index >= 0 && index < 4096)
        d.os_index = index;
    }
    if (d.kind == NodeKind::nic && (type == openfabrics || (type == network && d.name.empty())))
      d.name = name;
  }

  // Numbers that only some GPUs have would collide with positions.
  void number_gpus() {
    bool all = true;
    for (const Device& d : devices_) all = all && (d.kind != NodeKind::gpu || d.os_index >= 0);
    for (Device& d : devices_)
      if (!all) d.os_index = -1;
  }

  void remember(const XmlElement& e) {
    if (const std::string* gp = e.find("gp_index")) device_of_[number(e, *gp, UINT64_MAX)] = devices_.size();
  }

  void read_matrix(const XmlElement& e, LinkTable& links) {
    const std::vector<int> nodes = objects_of(e);
    std::vector<std::uint64_t> values;
    for (const XmlElement& c : e.children)
      if (c.name == "u64values")
        for (const std::string_view w : words_of(c.text)) {
          if (values.size() == nodes.size() * nodes.size())
            throw BadXml(c, "more values than pairs of objects");
          values.push_back(number(c, w, max_mb_per_s));
        }
    if (values.size() != nodes.size() * nodes.size())
      throw BadXml(e, fmt::format("{} values for {} objects", values.size(), nodes.size()));
    m_.knows_nvlinks = true;
    for (std::size_t i = 0; i < nodes.size(); ++i)
      for (std::size_t j = 0; j < nodes.size(); ++j) {
        const std::uint64_t mb = values[i * nodes.size() + j];
        // What it says of an object and itself is a constant of no meaning.
        if (mb == 0 || i == j || nodes[i] < 0 || nodes[i] == nodes[j]) continue;
        // A link to a switch or CPU is told by both; the GPU's word counts.
        Node& from = m_.nodes[static_cast<std::size_t>(nodes[i])];
        if (from.kind != NodeKind::gpu) continue;
        if (nodes[j] >= 0 && is_joinable(nodes[j]))
          links.add(EdgeKind::nvlink, nodes[i], nodes[j], 0, mb);
        else
          from.links_elsewhere = std::min(from.links_elsewhere + 1, max_links);
      }
  }

  bool is_joinable(int node) const {
    const NodeKind kind = m_.nodes[static_cast<std::size_t>(node)].kind;
    return kind == NodeKind::gpu || kind == NodeKind::nvswitch || kind == NodeKind::package ||
           kind == NodeKind::numa;
  }

  // "OSDev:332 Package:3" in matrices of several types, "332 333" (gp) in those of one. -1: an object that is
  // no device of ours.
  std::vector<int> objects_of(const XmlElement& e) const {
    const bool is_by_gp = e.name == "distances2hetero" || e.get("indexing") == "gp";
    if (!is_by_gp) throw BadXml(e, "a matrix of devices that is not indexed by gp");
    std::vector<int> nodes;
    for (const XmlElement& c : e.children)
      if (c.name == "indexes")
        for (std::string_view w : words_of(c.text)) {
          if (nodes.size() == max_objects) throw BadXml(c, "too many objects");
          w.remove_prefix(w.find(':') == std::string_view::npos ? 0 : w.find(':') + 1);
          const auto it = node_at_.find(number(c, w, UINT64_MAX));
          nodes.push_back(it == node_at_.end() ? -1 : it->second);
        }
    if (nodes.empty()) throw BadXml(e, "no objects");
    return nodes;
  }

  Machine& m_;
  std::vector<Device> devices_;
  std::map<std::uint64_t, std::size_t> device_of_;  // by gp_index of a PCI or OS device
  std::map<std::uint64_t, int> node_at_;            // by gp_index
  int next_bridge_ = 0;
};

}  // namespace

detail::Result<void> import_hwloc_devices(Machine& m, std::string_view text) {
  const auto bad = [](const std::string& why) {
    return detail::failure(Errc::invalid_argument, "hwloc XML: " + why);
  };
  const auto root = parse_xml(text);
  if (!root) return bad(root.error().text);
  try {
    Importer{m}.run(*root);
    return {};
  } catch (const BadXml& e) {
    return bad(e.what);
  }
}

}  // namespace libcoll::topo
