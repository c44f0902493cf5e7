#include "topology/islands.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "topology/cliques.hpp"
#include "topology/text_tree.hpp"

namespace libcoll::topo {
namespace {

struct Links {
  int count = 0;
  std::uint64_t mb_per_s = 0;
  // One scale for bandwidths and bare counts: where a file states one of them only, it does so for all.
  std::uint64_t weight() const { return mb_per_s != 0 ? mb_per_s : static_cast<std::uint64_t>(count); }
  void add(const Edge& e) {
    count += e.links;
    mb_per_s += e.mb_per_s;
  }
};

Links fewer(const Links& a, const Links& b) { return a.weight() <= b.weight() ? a : b; }
bool operator<(const Links& a, const Links& b) { return a.weight() < b.weight(); }

std::string text_of(const Links& l) {
  if (l.count == 0 && l.mb_per_s == 0) return "no NVLink";
  if (l.count != 0) return plural(l.count, "link", "links");
  return fmt::format("{} GB/s", static_cast<double>(l.mb_per_s) / 1000);
}

class Finder {
 public:
  Finder(std::span<const Machine> machines, const GpuNamer& name) : machines_(machines), name_(name) {}

  Islands run() {
    number_gpus();
    read_links();
    std::vector<int> known;
    for (int g = 0; g < count(); ++g)
      if (machine_of(g).knows_nvlinks)
        known.push_back(g);
      else
        out_.unknown.push_back(g);
    report_hosts();
    for (const std::vector<int>& component : components(known)) settle(component);
    std::sort(out_.islands.begin(), out_.islands.end());
    std::sort(out_.demoted.begin(), out_.demoted.end());
    find_bridges();
    return std::move(out_);
  }

 private:
  int count() const { return static_cast<int>(out_.gpus.size()); }
  GpuRef ref(int g) const { return out_.gpus[static_cast<std::size_t>(g)]; }
  const Machine& machine_of(int g) const { return machines_[static_cast<std::size_t>(ref(g).host)]; }
  const Node& node_of(int g) const { return machine_of(g).nodes[static_cast<std::size_t>(ref(g).node)]; }
  std::string name(int g) const { return name_ ? name_(ref(g)) : gpu_name(machines_, ref(g)); }
  void report(std::string text) { out_.reports.push_back(std::move(text)); }

  void number_gpus() {
    for (std::size_t h = 0; h < machines_.size(); ++h)
      for (std::size_t n = 0; n < machines_[h].nodes.size(); ++n)
        if (machines_[h].nodes[n].kind == NodeKind::gpu) {
          number_[{static_cast<int>(h), static_cast<int>(n)}] = count();
          out_.gpus.push_back({static_cast<int>(h), static_cast<int>(n)});
        }
    to_switch_.resize(out_.gpus.size());
    total_.resize(out_.gpus.size());
  }

  void read_links() {
    for (std::size_t h = 0; h < machines_.size(); ++h)
      for (const Edge& e : machines_[h].edges) {
        if (e.kind != EdgeKind::nvlink) continue;
        const auto a = number_.find({static_cast<int>(h), e.a}), b = number_.find({static_cast<int>(h), e.b});
        if (a != number_.end() && b != number_.end()) direct_[{a->second, b->second}].add(e);
        for (const auto& end : {a, b}) {
          if (end == number_.end()) continue;
          total_[static_cast<std::size_t>(end->second)].add(e);
          const int other = end == a ? e.b : e.a;
          if (machines_[h].nodes[static_cast<std::size_t>(other)].kind == NodeKind::nvswitch)
            to_switch_[static_cast<std::size_t>(end->second)].add(e);
        }
      }
  }

  // What joins two GPUs, at its best. GPUs are numbered host by host, so a <= b orders edges as well.
  Links between(int a, int b) const {
    if (a > b) std::swap(a, b);
    const Links through =
        fewer(to_switch_[static_cast<std::size_t>(a)], to_switch_[static_cast<std::size_t>(b)]);
    if (ref(a).host != ref(b).host) return shares_fabric(a, b) ? through : Links{};
    const auto it = direct_.find({a, b});
    const Links straight = it == direct_.end() ? Links{} : it->second;
    return straight < through ? through : straight;
  }

  bool shares_fabric(int a, int b) const {
    const NvlinkFabric &x = node_of(a).fabric, &y = node_of(b).fabric;
    return !x.cluster.empty() && x.is_healthy && x == y;
  }

  void report_hosts() {
    for (std::size_t h = 0; h < machines_.size(); ++h) {
      const Machine& m = machines_[h];
      const std::string host =
          machines_.size() == 1 ? "this machine " : host_name(machines_, static_cast<int>(h)) + " ";
      const int gpus = m.count(NodeKind::gpu);
      if (gpus == 0)
        report(host + (m.count(NodeKind::nic) == 0 ? "shows neither GPUs nor NICs" : "shows no GPUs"));
      else if (!m.knows_nvlinks)
        report(fmt::format("{}does not tell its NVLinks: {} left out of the islands", host,
                           plural(gpus, "GPU is", "GPUs are")));
    }
    for (int g = 0; g < count(); ++g)
      if (!node_of(g).fabric.cluster.empty() && !node_of(g).fabric.is_healthy)
        report(fmt::format("{}: its multi-node fabric is not healthy, no links to other hosts", name(g)));
  }

  std::vector<std::vector<int>> components(const std::vector<int>& gpus) const {
    std::vector<std::vector<int>> all;
    std::set<int> left(gpus.begin(), gpus.end());
    while (!left.empty()) {
      std::vector<int> component{*left.begin()};
      left.erase(left.begin());
      for (std::size_t i = 0; i < component.size(); ++i)
        for (auto it = left.begin(); it != left.end();)
          if (between(component[i], *it).weight() != 0) {
            component.push_back(*it);
            it = left.erase(it);
          } else {
            ++it;
          }
      std::sort(component.begin(), component.end());
      all.push_back(std::move(component));
    }
    return all;
  }

  WeightedGraph graph_of(const std::vector<int>& gpus) const {
    WeightedGraph g(static_cast<int>(gpus.size()));
    for (std::size_t i = 0; i < gpus.size(); ++i)
      for (std::size_t j = 0; j < i; ++j)
        g.set(static_cast<int>(i), static_cast<int>(j), between(gpus[i], gpus[j]).weight());
    return g;
  }

  // The commonest number of links among them, the larger one if two are equally common.
  Links usual(const std::vector<int>& gpus, const std::vector<Links>& links) const {
    std::map<std::uint64_t, std::pair<int, Links>> votes;
    for (const int g : gpus) {
      auto& [n, value] = votes[links[static_cast<std::size_t>(g)].weight()];
      ++n;
      value = links[static_cast<std::size_t>(g)];
    }
    const std::pair<int, Links>* winner = &votes.begin()->second;
    for (const auto& [weight, vote] : votes)
      if (vote.first >= winner->first) winner = &vote;
    return winner->second;
  }

  // A GPU with links to what the source does not show is not short of links.
  bool is_short(int g, const std::vector<Links>& links, const Links& siblings) const {
    return links[static_cast<std::size_t>(g)] < siblings && node_of(g).links_elsewhere == 0;
  }

  void demote(int g, const Links& has, const Links& siblings) {
    out_.demoted.push_back(g);
    report(fmt::format("{}: {}, its siblings have {}: taken out of the islands", name(g), text_of(has),
                       text_of(siblings)));
  }

  void settle(std::vector<int> gpus) {
    if (gpus.size() == 1) return settle_lonely(gpus[0]);
    demote_from_switches(gpus);
    if (const WeightedGraph g = graph_of(gpus); g.is_complete() && g.is_balanced())
      return out_.islands.push_back(gpus);
    if (demote_few(gpus)) return;
    if (gpus.size() > static_cast<std::size_t>(max_clique_vertices)) {
      report(fmt::format(
          "{} GPUs from {} on are joined neither completely nor evenly, and are too many to part: each alone",
          gpus.size(), name(gpus[0])));
      for (const int g : gpus) out_.islands.push_back({g});
      return;
    }
    for (const std::vector<int>& part : best_cliques(graph_of(gpus))) {
      std::vector<int> island;
      for (const int v : part) island.push_back(gpus[static_cast<std::size_t>(v)]);
      out_.islands.push_back(std::move(island));
    }
    const Links siblings = usual(gpus, total_);
    for (const int g : gpus)
      if (is_short(g, total_, siblings))
        report(fmt::format("{}: {}, its siblings have {}", name(g),
                           text_of(total_[static_cast<std::size_t>(g)]), text_of(siblings)));
  }

  void settle_lonely(int g) {
    Links most;
    for (int other = 0; other < count(); ++other)
      if (ref(other).host == ref(g).host && most < total_[static_cast<std::size_t>(other)])
        most = total_[static_cast<std::size_t>(other)];
    const Links& own = total_[static_cast<std::size_t>(g)];
    if (own.weight() == 0 && node_of(g).links_elsewhere == 0 && most.weight() != 0)
      return demote(g, own, most);
    out_.islands.push_back({g});
  }

  // A switch hides which links are missing, so the GPU with fewer would slow down all of them.
  void demote_from_switches(std::vector<int>& gpus) {
    const auto is_at_switch = [&](int g) { return to_switch_[static_cast<std::size_t>(g)].weight() != 0; };
    if (!std::all_of(gpus.begin(), gpus.end(), is_at_switch)) return;
    const Links siblings = usual(gpus, to_switch_);
    for (const int g : gpus)
      if (is_short(g, to_switch_, siblings)) demote(g, to_switch_[static_cast<std::size_t>(g)], siblings);
    std::erase_if(gpus, [&](int g) { return is_short(g, to_switch_, siblings); });
  }

  // Whether taking out up to a quarter of the GPUs, all of them short of links, leaves one island.
  bool demote_few(const std::vector<int>& gpus) {
    const Links siblings = usual(gpus, total_);
    std::vector<int> kept = gpus, poor;
    for (const int g : gpus)
      if (is_short(g, total_, siblings)) poor.push_back(g);
    std::stable_sort(poor.begin(), poor.end(), [&](int a, int b) {
      const Links &x = total_[static_cast<std::size_t>(a)], &y = total_[static_cast<std::size_t>(b)];
      return x < y || (!(y < x) && a > b);
    });
    for (std::size_t i = 0; i < poor.size() && (i + 1) * 4 <= gpus.size(); ++i) {
      std::erase(kept, poor[i]);
      const WeightedGraph g = graph_of(kept);
      if (!g.is_complete() || !g.is_balanced()) continue;
      out_.islands.push_back(kept);
      for (std::size_t k = 0; k <= i; ++k)
        demote(poor[k], total_[static_cast<std::size_t>(poor[k])], siblings);
      return true;
    }
    return false;
  }

  // Direct links only: through a switch everybody is joined to everybody.
  void find_bridges() {
    for (const auto& [pair, links] : direct_) {
      const int a = out_.island_of(pair.first), b = out_.island_of(pair.second);
      if (a >= 0 && b >= 0 && a != b)
        out_.bridges.push_back({pair.first, pair.second, links.count, links.mb_per_s});
    }
  }

  std::span<const Machine> machines_;
  const GpuNamer& name_;
  Islands out_;
  std::map<std::pair<int, int>, int> number_;    // (host, node) -> GPU
  std::map<std::pair<int, int>, Links> direct_;  // by GPUs, lower first
  std::vector<Links> to_switch_, total_;         // by GPU
};

}  // namespace

int Islands::island_of(int gpu) const {
  for (std::size_t i = 0; i < islands.size(); ++i)
    if (std::binary_search(islands[i].begin(), islands[i].end(), gpu)) return static_cast<int>(i);
  return -1;
}

Islands find_islands(std::span<const Machine> machines, const GpuNamer& name) { return Finder(machines, name).run(); }

std::string host_name(std::span<const Machine> machines, int host) {
  const std::string& given = machines[static_cast<std::size_t>(host)].host;
  return given.empty() ? fmt::format("host {}", host) : given;
}

std::string gpu_name(std::span<const Machine> machines, GpuRef gpu) {
  const std::string own = fmt::format("GPU {}", machines[static_cast<std::size_t>(gpu.host)].label(gpu.node));
  return machines.size() == 1 ? own : host_name(machines, gpu.host) + " " + own;
}

}  // namespace libcoll::topo
