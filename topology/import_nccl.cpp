// system > cpu > pci* > gpu > nvlink | xgmi | c2c, and (pci | cpu) > nic > net. NCCL writes one system
// for all hosts of a multi-node NVLink domain and tells them apart by the host_hash of their CPUs.
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "topology/devices.hpp"
#include "topology/hash.hpp"
#include "topology/import.hpp"
#include "topology/xml_tree.hpp"

namespace libcoll::topo {
namespace {

constexpr std::size_t max_hosts = 256;
constexpr std::size_t max_link_elements = 256;  // of one GPU
constexpr std::uint32_t class_switch = 0x068000, class_cpu_bridge = 0x068001;

double number(const XmlElement& e, const char* attribute, double low, double high, double otherwise) {
  const std::string* text = e.find(attribute);
  if (text == nullptr) return otherwise;
  double v = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), v);
  if (error != std::errc{} || end != text->data() + text->size() || !std::isfinite(v) || v < low || v > high)
    throw BadXml(
        e, fmt::format("{}=\"{}\" is not a number from {} to {}", attribute, text->substr(0, 40), low, high));
  return v;
}

int integer(const XmlElement& e, const char* attribute, int low, int high, int otherwise) {
  const double v = number(e, attribute, low, high, otherwise);
  if (v != std::floor(v)) throw BadXml(e, fmt::format("{} must be whole", attribute));
  return static_cast<int>(v);
}

std::uint32_t hex(const XmlElement& e, const char* attribute) {
  const std::string text = e.get(attribute);
  if (text.empty()) return 0;
  const std::size_t skip = text.starts_with("0x") ? 2 : 0;
  std::uint32_t v = 0;
  const auto [end, error] = std::from_chars(text.data() + skip, text.data() + text.size(), v, 16);
  if (error != std::errc{} || end != text.data() + text.size())
    throw BadXml(e, fmt::format("{}=\"{}\" is not hexadecimal", attribute, text.substr(0, 40)));
  return v;
}

std::string bus_id_of(const XmlElement& e, const char* attribute) {
  std::string text = e.get(attribute);
  if (!parse_pci_address(text))
    throw BadXml(e, fmt::format("{}=\"{}\" is not a PCI address", attribute, text.substr(0, 40)));
  for (char& c : text) c = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

// MB/s of one link, one way, by what NCCL calls sm: the generation's signalling rate. RCCL states sm in
// another meaning, and gcn beside it.
std::uint64_t mb_per_link(const XmlElement& gpu) {
  if (const std::string gcn = gpu.get("gcn"); !gcn.empty())
    return gcn == "910" || gcn == "gfx90a" ? 50000 : gcn == "gfx942" ? 64000 : 0;
  const int sm = integer(gpu, "sm", 0, 10000, 0);
  return sm >= 100 ? 50000 : sm >= 70 ? 25000 : sm >= 60 ? 20000 : 0;
}

struct Gpu {
  const XmlElement* element;
  std::size_t device;  // in Host::devices
};

struct Host {
  Machine machine;
  std::vector<Device> devices;
  std::vector<const XmlElement*> elements;  // by device: what to name in a complaint
  std::vector<Gpu> gpus;
  std::set<int> numa_nodes;
  int unknown_functions = 0;  // PCI functions that say neither their class nor what they are
  int next_bridge = 0;
};

struct Place {
  int parent;  // NUMA node
  std::vector<int> switches;
};

class Importer {
 public:
  std::vector<Machine> run(const XmlElement& system) {
    if (system.name != "system") throw BadXml(system, "expected <system>, as NCCL writes it");
    if (const std::string version = system.get("version"); version != "1" && version != "2")
      throw BadXml(system, fmt::format("version \"{}\" of the format, this library reads 1 and 2",
                                       version.substr(0, 40)));
    for (const XmlElement& e : system.children)
      if (e.name == "cpu") read_cpu(e);
    if (hosts_.empty()) throw BadXml(system, "no <cpu> in it");
    std::vector<Machine> machines;
    for (Host& h : hosts_) machines.push_back(finish(h));
    if (machines.size() > 1) assume_one_fabric(machines);
    return machines;
  }

 private:
  Host& host_of(const XmlElement& cpu) {
    const std::string hash = cpu.get("host_hash");
    const auto [it, is_new] = host_numbers_.try_emplace(hash, hosts_.size());
    if (!is_new) return hosts_[it->second];
    if (hosts_.size() == max_hosts) throw BadXml(cpu, "too many hosts");
    Host& h = hosts_.emplace_back();
    h.machine.host = printable(hash);
    h.machine.architecture = printable(cpu.get("arch"));
    h.machine.nodes.emplace_back();
    return h;
  }

  void read_cpu(const XmlElement& cpu) {
    Host& h = host_of(cpu);
    Node numa;
    numa.kind = NodeKind::numa;
    numa.parent = 0;
    numa.os_index = integer(cpu, "numaid", -1, 1 << 20, -1);
    if (!h.numa_nodes.insert(numa.os_index).second)
      throw BadXml(cpu, fmt::format("NUMA node {} twice on one host", numa.os_index));
    auto cpus = CpuSet::from_mask(cpu.get("affinity"));
    if (!cpus) throw BadXml(cpu, "affinity is " + cpus.error().text);
    numa.cpus = std::move(*cpus);
    numa.key = numa.cpus.first();
    h.machine.nodes[0].cpus |= numa.cpus;
    h.machine.nodes.push_back(std::move(numa));
    const Place place{static_cast<int>(h.machine.nodes.size()) - 1, {}};
    for (const XmlElement& e : cpu.children) {
      if (e.name == "pci") read_pci(h, e, place);
      if (e.name == "nic") read_nic(h, e, place, nullptr);
    }
  }

  void read_pci(Host& h, const XmlElement& pci, const Place& place) {
    const std::string bus_id = bus_id_of(pci, "busid");
    Place below = place;
    below.switches.push_back(h.next_bridge++);
    bool is_bridge = false, is_known = false;
    for (const XmlElement& e : pci.children) {
      if (e.name == "pci") {
        read_pci(h, e, below);
        is_bridge = true;
      } else if (e.name == "nic") {
        read_nic(h, e, place, &pci);
        is_known = true;
      } else if (e.name == "gpu") {
        h.gpus.push_back({&e, add(h, NodeKind::gpu, pci, place)});
        h.devices.back().os_index = integer(e, "dev", 0, 4095, -1);
        is_known = true;
      }
    }
    if (is_bridge || is_known) return;
    if (const auto kind = device_kind(hex(pci, "class"), hex(pci, "vendor")))
      add(h, *kind, pci, place);
    else if (pci.find("class") == nullptr)
      ++h.unknown_functions;
  }

  // `e` is its <pci>, or the <net> of a NIC that is none of PCI, such as a bond of several.
  static std::size_t add(Host& h, NodeKind kind, const XmlElement& e, const Place& place) {
    if (h.devices.size() == max_devices) throw BadXml(e, "too many devices on one host");
    Device d;
    d.kind = kind;
    if (e.name == "pci") {
      d.bus_id = bus_id_of(e, "busid");
      d.vendor = hex(e, "vendor");
      d.switches = place.switches;
    }
    d.parent = place.parent;
    d.host_bridge = place.parent;  // NCCL sees one per CPU
    h.devices.push_back(std::move(d));
    h.elements.push_back(&e);
    return h.devices.size() - 1;
  }

  static void read_nic(Host& h, const XmlElement& nic, const Place& place, const XmlElement* pci) {
    bool has_net = false;
    for (const XmlElement& net : nic.children) {
      if (net.name != "net") continue;
      has_net = true;
      add(h, NodeKind::nic, pci != nullptr ? *pci : net, place);
      Device& d = h.devices.back();
      d.name = printable(net.get("name"));
      d.os_index = integer(net, "dev", 0, 4095, -1);
      // Slingshot's driver states its speed in another unit than the others.
      if (!d.name.starts_with("cxi"))
        d.mb_per_s = static_cast<std::uint64_t>(number(net, "speed", 0, 8e9, 0) / 8);
      if (const std::string guid = net.get("guid"); hex_is_nonzero(guid)) d.identity = guid.substr(0, 64);
    }
    if (!has_net && pci != nullptr) add(h, NodeKind::nic, *pci, place);
  }

  static bool hex_is_nonzero(std::string_view text) {
    return text.find_first_not_of("0x") != std::string_view::npos;
  }

  static Machine finish(Host& h) {
    Machine& m = h.machine;
    const std::vector<int> node_of = add_devices(m, h.devices);
    std::map<std::string, int> node_at;
    for (std::size_t i = 0; i < h.devices.size(); ++i)
      if (const Device& d = h.devices[i];
          !d.bus_id.empty() && !node_at.try_emplace(d.bus_id, node_of[i]).second && d.kind == NodeKind::gpu)
        throw BadXml(*h.elements[i], fmt::format("the GPU at {} twice", d.bus_id));
    LinkTable links;
    for (const Gpu& g : h.gpus) read_links(h, g, node_of[g.device], node_at, links);
    links.settle(m);
    // NCCL looked at its GPUs when it wrote <gpu>; a bare list of PCI functions tells nothing of NVLink.
    m.knows_nvlinks = !h.gpus.empty();
    m.notes.push_back("NCCL's file: of the CPUs it shows the NUMA nodes only");
    if (!m.knows_nvlinks && m.count(NodeKind::gpu) > 0)
      m.notes.push_back("a PCI skeleton, which says nothing about NVLink");
    if (h.unknown_functions > 0)
      m.notes.push_back(
          fmt::format("a PCI skeleton: {} functions, not saying which are GPUs or NICs, and no NVLinks",
                      h.unknown_functions));
    return std::move(m);
  }

  static void read_links(Host& h, const Gpu& g, int node, std::map<std::string, int>& node_at,
                         LinkTable& links) {
    Machine& m = h.machine;
    const std::string& own = h.devices[g.device].bus_id;
    const int cpu = h.devices[g.device].parent;
    int loops = 0, elsewhere = 0;
    if (g.element->children.size() > max_link_elements) throw BadXml(*g.element, "too many links");
    for (const XmlElement& e : g.element->children) {
      const int count = integer(e, "count", 0, max_links, 1);
      if (e.name == "c2c") {
        const auto each = static_cast<std::uint64_t>(number(e, "bw", 0, 1e8, 0));
        links.add(EdgeKind::c2c, node, cpu, count,
                  std::min(each * static_cast<std::uint64_t>(count), max_mb_per_s));
      }
      if (count == 0 || (e.name != "nvlink" && e.name != "xgmi")) continue;
      const std::uint64_t mb = mb_per_link(*g.element) * static_cast<std::uint64_t>(count);
      const std::string target = bus_id_of(e, "target");
      const std::uint32_t target_class = hex(e, "tclass");
      if (target == own) {
        loops += count;
      } else if (target_class == class_cpu_bridge) {
        links.add(EdgeKind::nvlink, node, cpu, count, mb);
      } else if (const auto it = node_at.find(target); it != node_at.end()) {
        const NodeKind kind = m.nodes[static_cast<std::size_t>(it->second)].kind;
        if (kind == NodeKind::nic) throw BadXml(e, fmt::format("an NVLink to the NIC at {}", target));
        links.add(EdgeKind::nvlink, node, it->second, count, mb);
      } else if (target_class == class_switch) {
        if (m.count(NodeKind::nvswitch) >= static_cast<int>(max_devices))
          throw BadXml(e, "too many NVSwitches");
        links.add(EdgeKind::nvlink, node, add_switch(m, target, node_at), count, mb);
      } else {
        elsewhere = std::min(elsewhere + count, max_links);
      }
    }
    m.nodes[static_cast<std::size_t>(node)].links_elsewhere = elsewhere;
    if (loops > 0) m.notes.push_back(fmt::format("the GPU at {} lists links to itself: ignored", own));
    if (elsewhere > 0)
      m.notes.push_back(
          fmt::format("the GPU at {} has {} links to devices that the file does not show", own, elsewhere));
  }

  // Switches that the hosts do not see as PCI devices all carry one made-up address.
  static int add_switch(Machine& m, const std::string& target, std::map<std::string, int>& node_at) {
    Node n;
    n.kind = NodeKind::nvswitch;
    n.parent = 0;
    if (parse_pci_address(target)->domain > 0xffff)
      n.name = "hidden";
    else
      n.bus_id = target;
    m.nodes.push_back(std::move(n));
    return node_at[target] = static_cast<int>(m.nodes.size()) - 1;
  }

  static void assume_one_fabric(std::vector<Machine>& machines) {
    Hash hash;
    for (const Machine& m : machines) hash.add(std::string_view(m.host));
    for (Machine& m : machines) {
      for (const Edge& e : m.edges) {
        const int gpu = m.nodes[static_cast<std::size_t>(e.a)].kind == NodeKind::gpu ? e.a : e.b;
        const int other = e.a + e.b - gpu;
        if (e.kind == EdgeKind::nvlink && m.nodes[static_cast<std::size_t>(other)].kind == NodeKind::nvswitch)
          m.nodes[static_cast<std::size_t>(gpu)].fabric = {
              .cluster = fmt::format("file-{:016x}", hash.value()), .clique = 0, .is_healthy = true};
      }
      m.notes.push_back(
          "several hosts in one file, which NCCL writes for one multi-node NVLink domain: taken as such");
    }
  }

  std::vector<Host> hosts_;
  std::map<std::string, std::size_t> host_numbers_;
};

}  // namespace

detail::Result<std::vector<Machine>> import_nccl_xml(std::string_view text) {
  const auto bad = [](const std::string& why) {
    return detail::failure(Errc::invalid_argument, "NCCL topology XML: " + why);
  };
  const auto root = parse_xml(text);
  if (!root) return bad(root.error().text);
  try {
    std::vector<Machine> machines = Importer{}.run(*root);
    for (const Machine& m : machines)
      if (auto ok = validate(m); !ok) return bad(ok.error().text);
    return machines;
  } catch (const BadXml& e) {
    return bad(e.what);
  }
}

}  // namespace libcoll::topo
