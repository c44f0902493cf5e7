#include "topology/missing.hpp"

#include <fmt/format.h>

#include "topology/cpuset.hpp"
#include "topology/text_tree.hpp"

namespace libcoll::topo {
namespace {

constexpr const char* by_file = "name a file in LIBCOLL_TOPOLOGY (docs/topology.md)";

std::string placed_by(bool has_virtual_topology) {
  if (has_virtual_topology) return fmt::format("LIBCOLL_TOPOLOGY={}", virtual_topology);
  return fmt::format("a virtual machine may get it from nvidia-topologyd (LIBCOLL_TOPOLOGY={}); else {}", virtual_topology, by_file);
}

void miss_devices(const Machine& m, bool has_virtual_topology, std::vector<Missing>& all) {
  int gpus = 0, nics = 0;
  std::vector<int> lost;  // GPUs that are nowhere
  for (std::size_t i = 0; i < m.nodes.size(); ++i) {
    nics += m.nodes[i].kind == NodeKind::nic;
    if (m.nodes[i].kind != NodeKind::gpu) continue;
    ++gpus;
    if (m.ancestor(m.nodes[i].parent, NodeKind::numa) < 0 && m.ancestor(m.nodes[i].parent, NodeKind::package) < 0)
      lost.push_back(m.label(static_cast<int>(i)));
  }
  if (gpus == 0) all.push_back({"no GPUs seen", "if there are any: is the driver there, and does the container show them? Else " + std::string(by_file)});
  if (gpus > 0 && !m.knows_nvlinks)
    all.push_back({"NVLinks of the GPUs", "make libnvidia-ml.so.1 visible, or name the output of nvidia-smi topo -m in LIBCOLL_TOPOLOGY"});
  if (!lost.empty())
    all.push_back({fmt::format("which CPUs and NICs are near {} {}", lost.size() == 1 ? "GPU" : "GPUs", format_ranges(lost)), placed_by(has_virtual_topology)});
  if (nics == 0) all.push_back({"no NICs seen", "if there are any: does the container show /sys/bus/pci? Else " + std::string(by_file)});
}

void miss_bindings(const Fabric& f, std::vector<Missing>& all) {
  std::vector<int> loose;
  for (int rank = 0; rank < f.size(); ++rank) {
    const RankRecord& r = f.records[static_cast<std::size_t>(rank)];
    if (!r.l3.bound() || !r.numa.bound()) loose.push_back(rank);
  }
  if (!loose.empty())
    all.push_back({fmt::format("which caches and memory {} {} {} near: not bound to CPUs", loose.size() == 1 ? "rank" : "ranks", format_ranges(loose),
                               loose.size() == 1 ? "is" : "are"),
                   "bind ranks: mpirun --bind-to core, srun --cpu-bind=cores, taskset; or say who is together in LIBCOLL_HIERARCHY"});
}

}  // namespace

std::vector<Missing> missing_of(const Machine& m, const Fabric* fabric, bool has_virtual_topology) {
  std::vector<Missing> all;
  miss_devices(m, has_virtual_topology, all);
  if (fabric != nullptr && fabric->size() > 1) miss_bindings(*fabric, all);
  for (const std::string& note : m.notes)
    if (!note.starts_with("LIBCOLL_TOPOLOGY")) all.push_back({note, ""});
  return all;
}

std::string describe(const std::vector<Missing>& all) {
  TextTree t{all.empty() ? "could not be probed: nothing" : "could not be probed", {}};
  for (const Missing& x : all) {
    TextTree& line = t.children.emplace_back(TextTree{x.what, {}});
    if (!x.how.empty()) line.children.push_back({"to supply it: " + x.how, {}});
  }
  return draw(t);
}

}  // namespace libcoll::topo
