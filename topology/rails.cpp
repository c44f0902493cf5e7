#include "topology/rails.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "topology/text_tree.hpp"

namespace libcoll::topo {
namespace {

std::vector<NicChoice> choose_nics(std::span<const Machine> machines, const Islands& islands) {
  std::map<std::pair<int, int>, int> taken;  // (host, NIC) -> GPUs
  std::vector<std::vector<int>> nics;        // by host
  for (const Machine& m : machines) nics.push_back(usable_nics(m));
  std::vector<NicChoice> choices;
  for (const GpuRef gpu : islands.gpus) {
    const Machine& m = machines[static_cast<std::size_t>(gpu.host)];
    const std::vector<PathClass> paths = paths_from(m, gpu.node);
    NicChoice best;
    for (const int n : nics[static_cast<std::size_t>(gpu.host)]) {
      const PathClass path = paths[static_cast<std::size_t>(n)];
      if (best.nic < 0 ||
          std::pair(path, taken[{gpu.host, n}]) < std::pair(best.path, taken[{gpu.host, best.nic}]))
        best = {n, path};
    }
    if (best.nic >= 0) ++taken[{gpu.host, best.nic}];
    choices.push_back(best);
  }
  return choices;
}

// An island's GPUs, host by host.
std::map<int, std::vector<int>> by_host(const Islands& islands, const std::vector<int>& island) {
  std::map<int, std::vector<int>> parts;
  for (const int g : island) parts[islands.gpus[static_cast<std::size_t>(g)].host].push_back(g);
  return parts;
}

void join_rails(const Islands& islands, Rails& rails) {
  std::size_t fewest = islands.gpus.size(), most = 0;
  for (const std::vector<int>& island : islands.islands)
    for (const auto& [host, gpus] : by_host(islands, island)) {
      fewest = std::min(fewest, gpus.size());
      most = std::max(most, gpus.size());
      if (rails.rails.size() < gpus.size()) rails.rails.resize(gpus.size());
      for (std::size_t r = 0; r < gpus.size(); ++r) rails.rails[r].push_back(gpus[r]);
    }
  for (std::vector<int>& rail : rails.rails) std::sort(rail.begin(), rail.end());
  if (fewest < most)
    rails.reports.push_back(fmt::format("islands have {} to {} GPUs on a host: {} through all of them",
                                        fewest, most,
                                        plural(static_cast<long long>(fewest), "rail runs", "rails run")));
}

void report_nics(std::span<const Machine> machines, Rails& rails) {
  int far = 0;
  for (const NicChoice& c : rails.nic_of) far += c.nic >= 0 && c.path >= PathClass::sys;
  if (far > 0)
    rails.reports.push_back(plural(far, "GPU has no NIC on its side", "GPUs have no NIC on their side") +
                            " of the machine");
  for (std::size_t h = 0; h < machines.size(); ++h) {
    const int gpus = machines[h].count(NodeKind::gpu);
    const int nics = static_cast<int>(usable_nics(machines[h]).size()),
              slow = machines[h].count(NodeKind::nic) - nics;
    const std::string host = machines.size() == 1 ? "" : host_name(machines, static_cast<int>(h)) + ": ";
    if (gpus > 0 && nics == 0) rails.reports.push_back(host + "no NICs shown");
    if (gpus > 0 && slow > 0)
      rails.reports.push_back(host + plural(slow, "NIC", "NICs") +
                              " left out, slower than half of the fastest");
    if (nics > 0 && nics < gpus)
      rails.reports.push_back(
          fmt::format("{}{} for {} GPUs: rails share them", host, plural(nics, "NIC", "NICs"), gpus));
  }
}

}  // namespace

std::vector<PathClass> paths_from(const Machine& m, int gpu) {
  std::vector<PathClass> paths(m.nodes.size(), PathClass::unknown);
  for (const Edge& e : m.edges)
    if (e.kind == EdgeKind::pcie && (e.a == gpu || e.b == gpu))
      paths[static_cast<std::size_t>(e.a + e.b - gpu)] = e.path;
  return paths;
}

std::vector<int> usable_nics(const Machine& m) {
  std::uint64_t fastest = 0;
  for (const Node& n : m.nodes)
    if (n.kind == NodeKind::nic) fastest = std::max(fastest, n.mb_per_s);
  std::vector<int> nics;
  for (std::size_t i = 0; i < m.nodes.size(); ++i)
    if (const Node& n = m.nodes[i]; n.kind == NodeKind::nic && (n.mb_per_s == 0 || n.mb_per_s * 2 >= fastest))
      nics.push_back(static_cast<int>(i));
  return nics;
}

Rails find_rails(std::span<const Machine> machines, const Islands& islands) {
  Rails rails;
  rails.nic_of = choose_nics(machines, islands);
  join_rails(islands, rails);
  for (const std::vector<int>& island : islands.islands)
    rails.leaders.push_back(*std::min_element(island.begin(), island.end(), [&](int a, int b) {
      return rails.nic_of[static_cast<std::size_t>(a)].path < rails.nic_of[static_cast<std::size_t>(b)].path;
    }));
  report_nics(machines, rails);
  return rails;
}

}  // namespace libcoll::topo
