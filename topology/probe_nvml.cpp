#include "topology/probe_nvml.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "topology/cpuset.hpp"
#include "topology/probe_hwloc.hpp"
#include "topology/text_tree.hpp"

namespace libcoll::topo {
namespace {

std::string text_of(const PciAddress& a) {
  return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", a.domain, a.bus, a.device, a.function);
}

// Devices are leaves, so no other node loses its parent.
void remove_devices(Machine& m, const std::vector<bool>& is_removed) {
  std::vector<int> moved(m.nodes.size(), -1);
  std::vector<Node> kept;
  for (std::size_t i = 0; i < m.nodes.size(); ++i) {
    if (is_removed[i]) continue;
    moved[i] = static_cast<int>(kept.size());
    kept.push_back(std::move(m.nodes[i]));
    if (kept.back().parent >= 0) kept.back().parent = moved[static_cast<std::size_t>(kept.back().parent)];
  }
  m.nodes = std::move(kept);
  for (Edge& e : m.edges) {
    e.a = moved[static_cast<std::size_t>(e.a)];
    e.b = moved[static_cast<std::size_t>(e.b)];
  }
  std::erase_if(m.edges, [](const Edge& e) { return e.a < 0 || e.b < 0; });
}

class Joiner {
 public:
  Joiner(Machine& m, const NvmlReport& report) : m_(m), report_(report) {}

  void run(const std::function<bool(const std::string&)>& keeps) {
    m_.notes.insert(m_.notes.end(), report_.notes.begin(), report_.notes.end());
    remove_strangers(keeps);
    add_unseen();
    describe_gpus();
    LinkTable links;
    for (std::size_t g = 0; g < report_.gpus.size(); ++g) read_links(g, links);
    links.settle(m_);
    settle_rates();
    for (const NvmlGpu& g : report_.gpus) m_.knows_nvlinks = m_.knows_nvlinks || g.knows_links;
    note_by_gpu(loops_, "to itself: ignored");
    note_by_gpu(elsewhere_, "to devices that are not shown here, or are parted by MIG");
  }

 private:
  Node& node(int index) { return m_.nodes[static_cast<std::size_t>(index)]; }

  int find(const PciAddress& at, NodeKind kind) const {
    for (std::size_t i = 0; i < m_.nodes.size(); ++i)
      if (m_.nodes[i].kind == kind && parse_pci_address(m_.nodes[i].bus_id) == at) return static_cast<int>(i);
    return -1;
  }

  void remove_strangers(const std::function<bool(const std::string&)>& keeps) {
    std::vector<bool> is_removed(m_.nodes.size());
    std::string removed;
    for (std::size_t i = 0; i < m_.nodes.size(); ++i) {
      const Node& n = m_.nodes[i];
      const auto at = parse_pci_address(n.bus_id);
      if (n.kind != NodeKind::gpu || !at) continue;
      if (std::any_of(report_.gpus.begin(), report_.gpus.end(), [&](const NvmlGpu& g) { return g.at == *at; }) ||
          keeps(n.bus_id))
        continue;
      is_removed[i] = true;
      removed += (removed.empty() ? "" : ", ") + n.bus_id;
    }
    if (removed.empty()) return;
    remove_devices(m_, is_removed);
    m_.notes.push_back(fmt::format(
        "the PCI bus shows GPUs that NVML does not, as in a container or where one is lost: {} left out", removed));
  }

  void add_unseen() {
    std::vector<Device> unseen;
    std::vector<int> indexes;
    for (const NvmlGpu& g : report_.gpus) {
      node_of_.push_back(find(g.at, NodeKind::gpu));
      if (node_of_.back() >= 0) continue;
      Device d;
      d.bus_id = text_of(g.at);
      d.vendor = nvidia_vendor;
      unseen.push_back(std::move(d));
      indexes.push_back(g.index);
    }
    if (unseen.empty()) return;
    add_devices(m_, unseen);
    for (std::size_t g = 0; g < node_of_.size(); ++g)
      if (node_of_[g] < 0) node_of_[g] = find(report_.gpus[g].at, NodeKind::gpu);
    m_.notes.push_back(fmt::format("NVML shows {} that the PCI bus does not: nearest CPUs and NICs are unknown",
                                   (indexes.size() == 1 ? "GPU " : "GPUs ") + format_ranges(indexes)));
  }

  void describe_gpus() {
    // Numbers that only some GPUs have would collide with positions.
    const bool are_all = m_.count(NodeKind::gpu) == static_cast<int>(report_.gpus.size());
    for (std::size_t g = 0; g < report_.gpus.size(); ++g) {
      const NvmlGpu& from = report_.gpus[g];
      Node& to = node(node_of_[g]);
      if (are_all) to.os_index = from.index;
      to.name = from.name;
      to.uuid = from.uuid;
      to.is_mig = from.is_mig;
      if (!from.is_mig) to.fabric = from.fabric;
    }
  }

  void read_links(std::size_t gpu, LinkTable& links) {
    const NvmlGpu& g = report_.gpus[gpu];
    const int own = node_of_[gpu], cpu = cpu_of(own);
    if (g.c2c_links > 0 && cpu >= 0)
      links.add(EdgeKind::c2c, own, cpu, g.c2c_links, std::min(g.c2c_mb_per_s, max_mb_per_s));
    if (g.is_mig) return;
    for (const NvmlLink& l : g.links) {
      if (l.mb_per_s == 0) has_unknown_rate_ = true;
      if (l.peer == g.at) {
        ++loops_[g.index];
        continue;
      }
      const int to = end_of(l, cpu);
      if (to >= 0) {
        links.add(EdgeKind::nvlink, own, to, 1, l.mb_per_s);
        continue;
      }
      ++elsewhere_[g.index];
      node(own).links_elsewhere = std::min(node(own).links_elsewhere + 1, max_links);
    }
  }

  // Node at the other end, -1 if this process cannot reach anything there.
  int end_of(const NvmlLink& l, int cpu) {
    using nvml::RemoteType;
    if (l.to == RemoteType::ibm_npu) return cpu;
    if (l.peer)
      for (std::size_t g = 0; g < report_.gpus.size(); ++g)
        if (report_.gpus[g].at == *l.peer) return report_.gpus[g].is_mig ? -1 : node_of_[g];
    if (l.to == RemoteType::gpu || (l.to != RemoteType::nvswitch && !l.peer)) return -1;
    // Switches that the host does not see as PCI devices all carry one made-up address, of no real domain.
    const bool is_hidden = !l.peer || l.peer->domain > 0xffff;
    const int seen = is_hidden ? hidden_switch_ : find(*l.peer, NodeKind::nvswitch);
    if (seen >= 0) return seen;
    return l.to == RemoteType::nvswitch || is_hidden ? add_switch(is_hidden ? "" : text_of(*l.peer)) : -1;
  }

  int add_switch(const std::string& bus_id) {
    Node n;
    n.kind = NodeKind::nvswitch;
    n.parent = 0;
    n.bus_id = bus_id;
    if (bus_id.empty()) n.name = "hidden";
    m_.nodes.push_back(std::move(n));
    const int index = static_cast<int>(m_.nodes.size()) - 1;
    if (bus_id.empty()) hidden_switch_ = index;
    return index;
  }

  // The GPU's NUMA node or package; the only package where the GPU's place is unknown.
  int cpu_of(int gpu) const {
    for (const NodeKind kind : {NodeKind::numa, NodeKind::package})
      if (const int at = m_.ancestor(gpu, kind); at >= 0) return at;
    if (m_.count(NodeKind::package) != 1) return -1;
    return static_cast<int>(std::find_if(m_.nodes.begin(), m_.nodes.end(),
                                         [](const Node& n) { return n.kind == NodeKind::package; }) -
                            m_.nodes.begin());
  }

  // Islands compare rates, or else counts: a mixture would compare one with the other.
  void settle_rates() {
    if (!has_unknown_rate_) return;
    for (Edge& e : m_.edges)
      if (e.kind == EdgeKind::nvlink) e.mb_per_s = 0;
    m_.notes.push_back("NVLinks of an unknown rate: all of them are compared by their number");
  }

  void note_by_gpu(const std::map<int, int>& counts, const char* what) {
    std::map<int, std::vector<int>> gpus;  // by number of links
    for (const auto& [gpu, links] : counts) gpus[links].push_back(gpu);
    for (const auto& [links, indexes] : gpus)
      m_.notes.push_back(fmt::format("{} {}: {} {}", indexes.size() == 1 ? "GPU" : "GPUs", format_ranges(indexes),
                                     plural(links, "NVLink", "NVLinks"), what));
  }

  Machine& m_;
  const NvmlReport& report_;
  std::vector<int> node_of_;  // by GPU of the report
  std::map<int, int> loops_, elsewhere_;  // links by NVML's number of the GPU
  int hidden_switch_ = -1;
  bool has_unknown_rate_ = false;
};

bool is_of_other_vendor(const FileReader& read, const std::string& bus_id) {
  const auto vendor = read("/sys/bus/pci/devices/" + bus_id + "/vendor");
  return vendor && !vendor->starts_with(fmt::format("{:#06x}", nvidia_vendor));
}

void note_no_nvml(Machine& m, const std::string& why) {
  m.notes.push_back(fmt::format("NVLinks are unknown, as NVML cannot tell them ({}); {}", why, how_to_supply_gpus));
}

}  // namespace

void join_nvml(Machine& m, const NvmlReport& report, const std::function<bool(const std::string&)>& keeps) {
  Machine joined = m;
  Joiner(joined, report).run(keeps);
  if (auto ok = validate(joined); !ok) return note_no_nvml(m, "what it says makes no sense: " + ok.error().text);
  m = std::move(joined);
}

void add_nvml(Machine& m, const nvml::Table& table, const FileReader& read) {
  const auto report = read_nvml(table);
  if (!report) return note_no_nvml(m, report.error().text);
  join_nvml(m, *report, [&](const std::string& bus_id) { return is_of_other_vendor(read, bus_id); });
}

void probe_devices(Machine& m) {
  const auto scan = probe_pci_devices(m);
  if (!scan) m.notes.push_back("PCI devices are unknown: " + scan.error().text);
  // Devices of another machine, as far as HWLOC_* variables tell, have nothing to do with this one's driver.
  if (scan && !scan->is_this_host) return;
  // Opening NVML costs time and loads a driver's library into the process: only where there is a GPU for it,
  // even if without a driver, or a driver, as containers may hide the PCI bus.
  const bool has_driver = ::access("/proc/driver/nvidia/version", F_OK) == 0 || ::access("/dev/nvidiactl", F_OK) == 0;
  if (!has_driver && !(scan && scan->has_nvidia)) return;
  const auto table = nvml::load_nvml();
  if (!table) return note_no_nvml(m, table.error().text);
  add_nvml(m, *table);
}

}  // namespace libcoll::topo
