// hwloc's tree -> Machine. hwloc lists what it was told by the kernel, in any nesting and with any
// level absent; a Machine always has package, NUMA node, L3 and core above each PU. What hwloc lacks
// is inserted here and noted.
#include "topology/probe_hwloc.hpp"

#include <fmt/format.h>
#include <hwloc.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <memory>

#include "topology/devices.hpp"
#include "topology/files.hpp"
#include "topology/import.hpp"
#include "topology/process.hpp"
#include "topology/xml_guard.hpp"

namespace libcoll::topo {
namespace {

struct TopologyDeleter {
  void operator()(hwloc_topology_t t) const noexcept { hwloc_topology_destroy(t); }
};
using Topology = std::unique_ptr<hwloc_topology, TopologyDeleter>;

CpuSet to_cpuset(hwloc_const_bitmap_t bitmap) {
  CpuSet s;
  if (bitmap == nullptr || hwloc_bitmap_weight(bitmap) < 0) return s;  // infinite: unknown
  for (int cpu = hwloc_bitmap_first(bitmap); cpu >= 0; cpu = hwloc_bitmap_next(bitmap, cpu)) s.add(cpu);
  return s;
}

int os_index_of(hwloc_obj_t o) { return o->os_index > (1u << 30) ? -1 : static_cast<int>(o->os_index); }

std::string info_of(hwloc_obj_t o, const char* name) {
  const char* value = hwloc_obj_get_info_by_name(o, name);
  std::string s(value ? value : "");
  // CPU models are padded with blanks by some firmware.
  while (!s.empty() && s.back() == ' ') s.pop_back();
  s.erase(0, std::min(s.find_first_not_of(' '), s.size()));
  return s.substr(0, 200);
}

// Which of a PU's ancestors are in the Machine already, and the node that new ones go under.
struct Path {
  int deepest = -1;
  std::array<int, node_kind_count> at{-1, -1, -1, -1, -1, -1, -1, -1, -1};
  bool has(NodeKind kind) const { return at[static_cast<std::size_t>(kind)] >= 0; }
};

class Reader {
 public:
  explicit Reader(hwloc_topology_t t) : topology_(t) {
    const int l3 = hwloc_get_nbobjs_by_type(t, HWLOC_OBJ_L3CACHE);
    const int l2 = hwloc_get_nbobjs_by_type(t, HWLOC_OBJ_L2CACHE);
    // Where cores share an L2 and there is no L3, the L2 is what keeps neighbours close.
    if (l3 == 0 && l2 > 0 && l2 < hwloc_get_nbobjs_by_type(t, HWLOC_OBJ_CORE))
      shared_cache_ = HWLOC_OBJ_L2CACHE;
  }

  Machine read() {
    const hwloc_obj_t root = hwloc_get_root_obj(topology_);
    m_.architecture = info_of(root, "Architecture");
    visit(root, Path{}, 0);
    read_caches();
    add_notes();
    return std::move(m_);
  }

 private:
  int emit(NodeKind kind, hwloc_obj_t o, Path& path) {
    Node n{.kind = kind,
           .parent = path.deepest,
           .os_index = os_index_of(o),
           .key = -1,
           .bytes = 0,
           .cpus = to_cpuset(o->cpuset),
           .name = {}};
    n.key = to_cpuset(o->complete_cpuset).first();
    if (kind == NodeKind::machine) n.os_index = -1;
    if (kind == NodeKind::package) n.name = info_of(o, "CPUModel");
    if (kind == NodeKind::numa) n.bytes = o->attr->numanode.local_memory;
    if (kind == NodeKind::l3) n.bytes = o->attr->cache.size;
    if (kind == NodeKind::l3 && shared_cache_ == HWLOC_OBJ_L2CACHE) n.name = "L2";
    return push(std::move(n), path);
  }

  int push(Node n, Path& path) {
    const int index = static_cast<int>(m_.nodes.size());
    path.at[static_cast<std::size_t>(n.kind)] = path.deepest = index;
    m_.nodes.push_back(std::move(n));
    return index;
  }

  // A stand-in for a level that hwloc does not show: all of the deepest known node.
  void ensure(NodeKind kind, Path& path) {
    if (path.has(kind)) return;
    const auto key = std::pair{path.deepest, kind};
    if (const auto it = stand_ins_.find(key); it != stand_ins_.end()) {
      path.at[static_cast<std::size_t>(kind)] = path.deepest = it->second;
      return;
    }
    const Node& above = m_.nodes[static_cast<std::size_t>(path.deepest)];
    Node n{.kind = kind,
           .parent = path.deepest,
           .os_index = -1,
           .key = above.key,
           .bytes = 0,
           .cpus = above.cpus,
           .name = kind == NodeKind::l3 ? "unknown" : ""};
    stand_ins_[key] = push(std::move(n), path);
  }

  static NodeKind kind_of(hwloc_obj_t o, hwloc_obj_type_t shared_cache) {
    if (o->type == HWLOC_OBJ_PACKAGE) return NodeKind::package;
    if (o->type == shared_cache) return NodeKind::l3;
    if (o->type == HWLOC_OBJ_CORE) return NodeKind::core;
    if (o->type == HWLOC_OBJ_PU) return NodeKind::pu;
    return NodeKind::machine;
  }

  void visit(hwloc_obj_t o, Path path, int depth) {
    if (depth > 128) return;
    const NodeKind kind = kind_of(o, shared_cache_);
    if (depth == 0) emit(NodeKind::machine, o, path);
    // Where a NUMA node and a package are the same CPUs, the package is the outer one, as in lstopo.
    if (kind == NodeKind::package) emit_normal(kind, o, path);
    if (o->memory_arity > 0) visit_memory(o, path);
    if (kind != NodeKind::package && kind != NodeKind::machine) emit_normal(kind, o, path);
    for (hwloc_obj_t c = o->first_child; c != nullptr; c = c->next_sibling) visit(c, path, depth + 1);
  }

  void emit_normal(NodeKind kind, hwloc_obj_t o, Path& path) {
    if (path.has(kind)) return;  // only hand-written files nest a kind in itself
    if (kind != NodeKind::package) ensure(NodeKind::package, path);
    if (kind == NodeKind::core || kind == NodeKind::pu) {
      ensure(NodeKind::numa, path);
      ensure(NodeKind::l3, path);
    }
    if (kind == NodeKind::pu && !path.has(NodeKind::core)) {
      // One core each: threads that share a core unseen only make two ranks look farther apart.
      push({.kind = NodeKind::core,
            .parent = path.deepest,
            .os_index = -1,
            .key = os_index_of(o),
            .bytes = 0,
            .cpus = to_cpuset(o->cpuset),
            .name = {}},
           path);
      no_cores_ = true;
    }
    emit(kind, o, path);
  }

  // The first NUMA node with CPUs, unless closer ones follow below, holds what is under `o`. Others
  // (HBM, CXL, memory without CPUs) are leaves beside it.
  void visit_memory(hwloc_obj_t o, Path& path) {
    const bool may_hold = !path.has(NodeKind::numa) && !has_closer_numa(o);
    std::vector<hwloc_obj_t> leaves;
    hwloc_obj_t holder = nullptr;
    for (hwloc_obj_t c = o->memory_first_child; c != nullptr; c = c->next_sibling) {
      hwloc_obj_t numa = c;
      for (int i = 0; numa != nullptr && numa->type != HWLOC_OBJ_NUMANODE && i < 8; ++i)
        numa = numa->memory_first_child;  // below a memory-side cache
      if (numa == nullptr || numa->type != HWLOC_OBJ_NUMANODE) continue;
      const bool holds = may_hold && holder == nullptr && !hwloc_bitmap_iszero(numa->cpuset) &&
                         hwloc_bitmap_isincluded(o->cpuset, numa->cpuset);
      if (holds)
        holder = numa;
      else
        leaves.push_back(numa);
    }
    for (const hwloc_obj_t leaf : leaves) {
      if (path.has(NodeKind::numa)) continue;
      Path beside = path;
      emit(NodeKind::numa, leaf, beside);
    }
    if (holder != nullptr) emit(NodeKind::numa, holder, path);
  }

  bool has_closer_numa(hwloc_obj_t o) const {
    const int n = hwloc_get_nbobjs_by_type(topology_, HWLOC_OBJ_NUMANODE);
    for (int i = 0; i < n; ++i) {
      const hwloc_obj_t numa = hwloc_get_obj_by_type(topology_, HWLOC_OBJ_NUMANODE, static_cast<unsigned>(i));
      if (numa != nullptr && !hwloc_bitmap_iszero(numa->cpuset) &&
          hwloc_bitmap_isincluded(numa->cpuset, o->cpuset) && !hwloc_bitmap_isequal(numa->cpuset, o->cpuset))
        return true;
    }
    return false;
  }

  void read_caches() {
    std::uint32_t line = 0;
    for (const hwloc_obj_type_t type : {HWLOC_OBJ_L1CACHE, HWLOC_OBJ_L2CACHE, HWLOC_OBJ_L3CACHE})
      for (hwloc_obj_t o = nullptr; (o = hwloc_get_next_obj_by_type(topology_, type, o)) != nullptr;) {
        const unsigned here = o->attr->cache.linesize;
        if (here >= 16 && here <= 4096 && (here & (here - 1)) == 0) line = std::max(line, here);
        if (type == HWLOC_OBJ_L2CACHE)
          m_.l2_bytes = std::max<std::uint64_t>(m_.l2_bytes, o->attr->cache.size);
        if (type == HWLOC_OBJ_L3CACHE)
          m_.l3_bytes = std::max<std::uint64_t>(m_.l3_bytes, o->attr->cache.size);
      }
    m_.line_bytes = line;  // 0 until add_notes or probe_host fills it
  }

  void add_notes() {
    if (shared_cache_ == HWLOC_OBJ_L2CACHE)
      m_.notes.push_back("no L3: cores that share an L2 count as sharing one");
    const auto assumed = [&](NodeKind kind) {
      return std::any_of(stand_ins_.begin(), stand_ins_.end(),
                         [&](const auto& s) { return s.first.second == kind; });
    };
    if (assumed(NodeKind::package)) m_.notes.push_back("packages not shown: taken as one");
    if (assumed(NodeKind::numa))
      m_.notes.push_back("NUMA nodes not shown for some CPUs: taken as one per package");
    if (assumed(NodeKind::l3))
      m_.notes.push_back("L3 not shown: cores grouped by package, or by NUMA node where that is smaller");
    if (no_cores_) m_.notes.push_back("cores not shown: each CPU taken as one");
  }

  hwloc_topology_t topology_;
  hwloc_obj_type_t shared_cache_ = HWLOC_OBJ_L3CACHE;
  Machine m_;
  std::map<std::pair<int, NodeKind>, int> stand_ins_;
  bool no_cores_ = false;
};

std::uint32_t line_bytes_of_host() {
  long line = ::sysconf(_SC_LEVEL1_DCACHE_LINESIZE);
  for (int i = 0; i < 4; ++i) {
    std::ifstream in(fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/coherency_line_size", i));
    long here = 0;
    if (in >> here) line = std::max(line, here);
  }
  return line >= 16 && line <= 4096 && (line & (line - 1)) == 0 ? static_cast<std::uint32_t>(line) : 0;
}

void settle_line_bytes(Machine& m, std::uint32_t from_host) {
  m.line_bytes = std::max(m.line_bytes, from_host);
  if (m.line_bytes != 0) return;
  // Too large costs a little memory, too small costs false sharing.
  const std::string_view arch = m.architecture;
  m.line_bytes = arch.starts_with("ppc64") ? 128 : arch.starts_with("s390") ? 256 : 64;
  m.notes.push_back(fmt::format("cache line size not shown: taken as {} bytes", m.line_bytes));
}

// What is left to say where hwloc can say nothing.
Machine flat_machine(const CpuSet& cpus, const std::string& why) {
  Machine m;
  m.line_bytes = 0;
  const auto add = [&](NodeKind kind, int parent, int os_index, const CpuSet& own) {
    m.nodes.push_back({.kind = kind,
                       .parent = parent,
                       .os_index = os_index,
                       .key = own.first(),
                       .bytes = 0,
                       .cpus = own,
                       .name = kind == NodeKind::l3 ? "unknown" : ""});
    return static_cast<int>(m.nodes.size()) - 1;
  };
  int above = add(NodeKind::machine, -1, -1, cpus);
  for (const NodeKind kind : {NodeKind::package, NodeKind::numa, NodeKind::l3})
    above = add(kind, above, -1, cpus);
  for (const int cpu : cpus.to_vector()) {
    const CpuSet one = CpuSet::range(cpu, cpu);
    add(NodeKind::pu, add(NodeKind::core, above, -1, one), cpu, one);
  }
  m.notes.push_back("nothing but the CPUs of this process's affinity is known: " + why);
  return m;
}

detail::Result<Machine> finish(Machine m) {
  if (auto ok = validate(m); !ok)
    return detail::failure(Errc::unsupported,
                           "hwloc gave a topology that makes no sense: " + ok.error().text);
  return m;
}

// `prepare` names the source to hwloc; it returns 0 on success, as hwloc does.
template <class Prepare>
detail::Result<Machine> load(const std::string& source, Prepare prepare, bool expect_this_system = false) {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return detail::failure(Errc::system, "hwloc could not start");
  const Topology topology(raw);
  if (prepare(raw) != 0 || hwloc_topology_load(raw) != 0)
    return detail::failure(Errc::invalid_argument, "hwloc could not read " + source);
  Machine m = Reader(raw).read();
  if (expect_this_system && hwloc_topology_is_thissystem(raw) == 0)
    m.notes.push_back("HWLOC_* environment variables replace this host's topology");
  return m;
}

}  // namespace

detail::Result<Machine> probe_host() {
  const CpuSet affinity = affinity_of_process();
  auto m = load(
      "the topology of this host", [](hwloc_topology_t) { return 0; }, true);
  if (m) m = finish(std::move(*m));
  if (!m) {
    if (affinity.empty()) return m;
    m = flat_machine(affinity, m.error().text);
  }
  settle_line_bytes(*m, line_bytes_of_host());
  CpuSet unknown = affinity;
  unknown -= m->cpus();
  if (!unknown.empty())
    m->notes.push_back(fmt::format("CPUs {} of this process's affinity are not shown", unknown.to_list()));
  return m;
}

detail::Result<PciScan> probe_pci_devices(Machine& m) {
  const auto failed = [](const char* what) {
    return detail::failure(Errc::system, std::string("hwloc could not ") + what);
  };
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return failed("start");
  const Topology topology(raw);
  // Sysfs tells all that is wanted. Of the plugins, libpciaccess (pci) leaks what it lists, X servers may
  // answer late or never, and NVML is asked by us.
  for (const char* plugin : {"pci", "gl", "opencl", "cuda", "nvml", "rsmi", "levelzero"})
    hwloc_topology_set_components(raw, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, plugin);
  // All PCI devices, as hwloc does not think NVSwitches important.
  if (hwloc_topology_set_io_types_filter(raw, HWLOC_TYPE_FILTER_KEEP_IMPORTANT) != 0 ||
      hwloc_topology_set_type_filter(raw, HWLOC_OBJ_PCI_DEVICE, HWLOC_TYPE_FILTER_KEEP_ALL) != 0 ||
      hwloc_topology_load(raw) != 0)
    return failed("list PCI devices");
  PciScan scan;
  scan.is_this_host = hwloc_topology_is_thissystem(raw) != 0;
  for (hwloc_obj_t o = nullptr; (o = hwloc_get_next_pcidev(raw, o)) != nullptr;)
    if (const auto& pci = o->attr->pcidev; pci.vendor_id == nvidia_vendor)
      scan.has_nvidia |= device_kind(std::uint32_t{pci.class_id} << 8, pci.vendor_id) == NodeKind::gpu;
#if HWLOC_API_VERSION >= 0x00030000
  constexpr unsigned long version_2 = HWLOC_TOPOLOGY_EXPORT_XML_FLAG_V2;
#else
  constexpr unsigned long version_2 = 0;
#endif
  // Through the XML, so that one reader knows what hwloc's devices mean.
  char* text = nullptr;
  int chars = 0;
  if (hwloc_topology_export_xmlbuffer(raw, &text, &chars, version_2) != 0) return failed("export PCI devices");
  Machine with_devices = m;
  const auto read = import_hwloc_devices(with_devices, std::string_view(text));
  hwloc_free_xmlbuffer(raw, text);
  if (!read) return tl::make_unexpected(read.error());
  if (auto ok = validate(with_devices); !ok) return tl::make_unexpected(ok.error());
  m = std::move(with_devices);
  return scan;
}

detail::Result<Machine> import_hwloc_xml(std::string_view text) {
  auto guarded = guard_hwloc_xml(text);
  if (!guarded) return tl::make_unexpected(guarded.error());
  auto m = load("the XML", [&](hwloc_topology_t t) {
    return hwloc_topology_set_xmlbuffer(t, guarded->c_str(), static_cast<int>(guarded->size() + 1));
  });
  if (!m) return m;
  settle_line_bytes(*m, 0);
  m = finish(std::move(*m));
  if (!m) return m;
  if (auto read = import_hwloc_devices(*m, text); !read) return tl::make_unexpected(read.error());
  return finish(std::move(*m));
}

detail::Result<Machine> import_hwloc_xml_file(const std::string& path) {
  auto text = read_file(path, 32u << 20);
  return text ? import_hwloc_xml(*text) : tl::make_unexpected(text.error());
}

detail::Result<Machine> synthetic_machine(const std::string& description) {
  auto m = load("the description '" + description + "'",
                [&](hwloc_topology_t t) { return hwloc_topology_set_synthetic(t, description.c_str()); });
  if (!m) return m;
  settle_line_bytes(*m, 0);
  return finish(std::move(*m));
}

}  // namespace libcoll::topo
