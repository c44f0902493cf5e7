#include "topology/draw_facts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "topology/describe.hpp"
#include "topology/text_tree.hpp"

namespace libcoll::topo::drawing {
namespace {

// The narrowest part of the machine that the rank is bound to.
int home_of(const Machine& m, const RankRecord& r) {
  const std::array<std::pair<NodeKind, const Place*>, 4> places{{{NodeKind::core, &r.core},
                                                                {NodeKind::l3, &r.l3},
                                                                {NodeKind::numa, &r.numa},
                                                                {NodeKind::package, &r.package}}};
  for (const auto& [kind, place] : places)
    for (std::size_t i = 0; i < m.nodes.size() && place->bound(); ++i)
      if (m.nodes[i].kind == kind && m.nodes[i].key == place->key) return static_cast<int>(i);
  return 0;
}

std::size_t at(int i) { return static_cast<std::size_t>(i); }

}  // namespace

Facts::Facts(const Picture& p)
    : picture(p),
      hosts_(p.machines.size()),
      island_of_(p.islands.gpus.size(), -1),
      rail_of_(p.islands.gpus.size(), -1),
      state_of_(p.islands.gpus.size(), GpuState::in_island) {
  for (std::size_t i = 0; i < p.islands.islands.size(); ++i)
    for (const int g : p.islands.islands[i]) island_of_[at(g)] = static_cast<int>(i);
  for (const int g : p.islands.demoted) state_of_[at(g)] = GpuState::demoted;
  for (const int g : p.islands.unknown) state_of_[at(g)] = GpuState::unknown;
  for (std::size_t r = 0; r < p.rails.rails.size(); ++r)
    for (const int g : p.rails.rails[r]) rail_of_[at(g)] = static_cast<int>(r);
  for (int h = 0; h < host_count(); ++h) {
    HostFacts& f = hosts_[at(h)];
    const std::vector<Node>& nodes = machine(h).nodes;
    f.children.resize(nodes.size());
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (i > 0 && !is_device(nodes[i].kind)) f.children[at(nodes[i].parent)].push_back(static_cast<int>(i));
      if (nodes[i].kind == NodeKind::nvswitch) f.nvswitches.push_back(static_cast<int>(i));
      if (nodes[i].kind == NodeKind::nic) f.nics.push_back(static_cast<int>(i));
    }
    // Sources list parts in any order.
    for (std::vector<int>& below : f.children)
      std::stable_sort(below.begin(), below.end(), [&](int a, int b) {
        return std::pair(node(h, a).kind, node(h, a).os_index) < std::pair(node(h, b).kind, node(h, b).os_index);
      });
    read_edges(h);
  }
  for (int g = 0; g < static_cast<int>(p.islands.gpus.size()); ++g) {
    HostFacts& f = hosts_[at(ref(g).host)];
    f.gpus.push_back(g);
    if (const int nic = p.rails.nic_of[at(g)].nic; nic >= 0) f.users[nic].push_back(g);
  }
  place_ranks();
}

void Facts::read_edges(int h) {
  HostFacts& f = hosts_[at(h)];
  const auto add = [](LinkSum& sum, const Edge& e) { sum.links += e.links, sum.mb_per_s += e.mb_per_s; };
  for (const Edge& e : machine(h).edges) {
    if (e.kind == EdgeKind::pcie) continue;
    for (const auto& [from, to] : {std::pair(e.a, e.b), std::pair(e.b, e.a)}) {
      if (node(h, from).kind != NodeKind::gpu) continue;
      if (is_device(node(h, to).kind)) {
        add(f.nvlinks[from][to], e);
      } else {
        auto& [kind, sum] = f.cpu_link[from];
        kind = e.kind;
        add(sum, e);
      }
    }
  }
}

void Facts::place_ranks() {
  if (picture.fabric == nullptr) return;
  for (int r = 0; r < picture.fabric->size(); ++r) {
    const int h = picture.fabric->host_of[at(r)];
    if (h < host_count()) hosts_[at(h)].ranks[home_of(machine(h), picture.fabric->records[at(r)])].push_back(r);
  }
  if (picture.hierarchy != nullptr) leads_ = leaders_of(*picture.hierarchy);
}

std::vector<Facts::Area> Facts::areas(int h) const {
  std::map<std::pair<GpuState, int>, std::vector<int>> by;
  for (const int g : host(h).gpus) by[{state_of(g), island_of(g)}].push_back(g);
  std::vector<Area> all;
  for (auto& [key, gpus] : by) all.push_back({key.first, key.second, std::move(gpus)});
  return all;
}

std::vector<Bridge> Facts::bridges(int h) const {
  std::vector<Bridge> own;
  for (const Bridge& b : picture.islands.bridges)
    if (ref(b.a).host == h) own.push_back(b);
  return own;
}

std::vector<Bridge> Facts::uneven_links(int h) const {
  constexpr std::size_t most_gpus = 6;
  std::vector<Bridge> all;
  for (const Area& a : areas(h)) {
    if (a.state != GpuState::in_island || a.gpus.size() < 3 || a.gpus.size() > most_gpus) continue;
    std::vector<Bridge> own;
    for (const int x : a.gpus)
      for (const int y : a.gpus) {
        const auto links = host(h).nvlinks.find(ref(x).node);
        if (x >= y || links == host(h).nvlinks.end()) continue;
        if (const auto sum = links->second.find(ref(y).node); sum != links->second.end())
          own.push_back({x, y, sum->second.links, sum->second.mb_per_s});
      }
    const bool are_even = std::all_of(own.begin(), own.end(), [&](const Bridge& b) {
      return b.links == own[0].links && b.mb_per_s == own[0].mb_per_s;
    });
    if (!are_even) all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

std::vector<int> Facts::rails_of_gpu(int gpu) const {
  const int r = rail_of_[at(gpu)];
  return r < 0 ? std::vector<int>{} : std::vector<int>{r};
}

std::vector<int> Facts::rails_of_nic(int h, int nic) const {
  std::set<int> rails;
  if (const auto users = host(h).users.find(nic); users != host(h).users.end())
    for (const int g : users->second) rails.insert(rail_of_[at(g)]);
  rails.erase(-1);
  return {rails.begin(), rails.end()};
}

std::vector<std::string> Facts::levels() const {
  return picture.hierarchy == nullptr ? std::vector<std::string>{} : level_texts(*picture.hierarchy);
}

std::vector<std::string> Facts::notes() const {
  std::vector<std::string> all;
  const auto add = [&](const std::string& text) {
    if (std::find(all.begin(), all.end(), text) == all.end()) all.push_back(text);
  };
  for (const auto* reports : {&picture.islands.reports, &picture.rails.reports})
    for (const std::string& text : *reports) add(clean(text));
  for (const Machine& m : picture.machines)  // hosts of one file say the same
    for (const std::string& note : m.notes) add(clean(note));
  return all;
}

std::set<int> leaders_of(const Hierarchy& h) {
  std::set<int> leaders;
  for (const LevelGroups& level : h.levels)
    for (const Group& g : level.groups)
      if (g.ranks.size() > 1) leaders.insert(g.leader);
  return leaders;
}

GroupBox nest(const Hierarchy& h) {
  // From the narrowest level up, each group takes in those whose ranks it holds.
  std::vector<std::pair<int, GroupBox>> below;  // lowest rank, group
  std::vector<bool> is_inside(at(h.size), false);
  for (const LevelGroups& level : h.levels) {
    std::vector<std::pair<int, GroupBox>> here;
    std::vector<int> owner(at(h.size), -1);
    for (std::size_t i = 0; i < level.groups.size(); ++i) {
      const Group& g = level.groups[i];
      GroupBox box;
      box.text = level.groups.size() == 1 ? name_of(level.level) : fmt::format("{} {}", name_of(level.level), i);
      box.text += " \xc2\xb7 " + plural(static_cast<long long>(g.ranks.size()), "rank", "ranks");
      box.tip = fmt::format("{} {}: {}, led by {}", name_of(level.level), i, rank_text(g.ranks), g.leader);
      for (const int r : g.ranks) {
        owner[at(r)] = static_cast<int>(i);
        if (!is_inside[at(r)]) box.ranks.push_back(r);
        is_inside[at(r)] = true;
      }
      here.emplace_back(g.ranks.empty() ? 0 : g.ranks.front(), std::move(box));
    }
    for (auto& [lowest, box] : below)
      here[at(owner[at(lowest)])].second.inside.push_back(std::move(box));
    below = std::move(here);
  }
  return below.size() == 1 ? std::move(below.front().second) : GroupBox{};
}

}  // namespace libcoll::topo::drawing
