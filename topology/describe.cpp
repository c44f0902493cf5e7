#include "topology/describe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "topology/text_tree.hpp"

namespace libcoll::topo {
namespace {

using Children = std::vector<std::vector<int>>;  // by node of a Machine

Children children_of(const Machine& m) {
  Children c(m.nodes.size());
  for (std::size_t i = 1; i < m.nodes.size(); ++i)
    c[static_cast<std::size_t>(m.nodes[i].parent)].push_back(static_cast<int>(i));
  return c;
}

std::string text_of(const Machine& m, int index, const std::vector<int>& labels, bool is_leaf) {
  const Node& n = m.nodes[static_cast<std::size_t>(index)];
  const int label = labels[static_cast<std::size_t>(index)];
  const std::string size = n.bytes != 0 ? " (" + format_bytes(n.bytes) + ")" : "";
  switch (n.kind) {
    case NodeKind::package:
      return fmt::format("package {}{}", label, n.name.empty() ? "" : " (" + n.name + ")");
    case NodeKind::numa:
      return fmt::format("NUMA {}{}{}", label, size, is_leaf ? ", memory only" : "");
    case NodeKind::l3:
      if (n.name == "unknown") return "L3 unknown";
      return fmt::format("{} {}{}", n.name.empty() ? "L3" : n.name, label, size);
    case NodeKind::gpu:
      return fmt::format("GPU {}{}{}", label, n.name.empty() ? "" : " (" + n.name + ")",
                         n.bus_id.empty() ? "" : " at " + n.bus_id);
    case NodeKind::nvswitch:
      return fmt::format("NVSwitch {}{}", label, n.bus_id.empty() ? " (not listed)" : " at " + n.bus_id);
    case NodeKind::nic: {
      std::string s = "NIC " + (n.name.empty() ? std::to_string(label) : n.name);
      if (!n.bus_id.empty()) s += " at " + n.bus_id;
      if (n.functions > 1) s += fmt::format(", {} functions", n.functions);
      if (n.mb_per_s != 0) s += fmt::format(", {} GB/s", static_cast<double>(n.mb_per_s) / 1000);
      return s;
    }
    default:
      return fmt::format("{} {}", name_of(n.kind), label);
  }
}

// Cores that share a parent are one line: a tree of 96 of them tells nobody anything.
std::string text_of_cores(const Machine& m, const std::vector<int>& cores, const std::vector<int>& labels) {
  std::vector<int> numbers;
  CpuSet cpus;
  bool are_known = true;
  int fewest = CpuSet::max_cpus, most = 0;
  for (const int c : cores) {
    const Node& n = m.nodes[static_cast<std::size_t>(c)];
    numbers.push_back(labels[static_cast<std::size_t>(c)]);
    are_known = are_known && n.os_index >= 0;
    cpus |= n.cpus;
    fewest = std::min(fewest, n.cpus.count());
    most = std::max(most, n.cpus.count());
  }
  std::sort(numbers.begin(), numbers.end());
  const std::string threads = most == 1        ? ""
                              : fewest == most ? fmt::format(" ({} per core)", most)
                                               : fmt::format(" ({} to {} per core)", fewest, most);
  const std::string which =
      are_known ? fmt::format("{} {}", numbers.size() == 1 ? "core" : "cores", format_ranges(numbers))
                : plural(static_cast<long long>(cores.size()), "core", "cores");
  return fmt::format("{}: {} {}{}", which, cpus.count() == 1 ? "CPU" : "CPUs", cpus.to_list(), threads);
}

TextTree tree_of(const Machine& m, int index, const Children& children, const std::vector<int>& labels) {
  TextTree t;
  std::vector<int> cores;
  const std::vector<int>& below = children[static_cast<std::size_t>(index)];
  if (index > 0) t.text = text_of(m, index, labels, below.empty());
  for (const int c : below) {
    if (m.nodes[static_cast<std::size_t>(c)].kind == NodeKind::core)
      cores.push_back(c);
    else
      t.children.push_back(tree_of(m, c, children, labels));
  }
  if (!cores.empty()) t.children.push_back({text_of_cores(m, cores, labels), {}});
  return t;
}

std::string summary(const Machine& m) {
  std::string s = m.architecture.empty() ? "machine" : m.architecture;
  s += ": " + plural(m.count(NodeKind::package), "package", "packages");
  s += ", " + plural(m.count(NodeKind::numa), "NUMA node", "NUMA nodes");
  s += ", " + plural(m.count(NodeKind::core), "core", "cores");
  s += ", " + plural(m.cpus().count(), "CPU", "CPUs");
  if (const int n = m.count(NodeKind::gpu); n > 0) s += ", " + plural(n, "GPU", "GPUs");
  if (const int n = m.count(NodeKind::nvswitch); n > 0) s += ", " + plural(n, "NVSwitch", "NVSwitches");
  if (const int n = m.count(NodeKind::nic); n > 0) s += ", " + plural(n, "NIC", "NICs");
  s += fmt::format("; lines of {} B", m.line_bytes);
  if (m.l2_bytes != 0) s += ", L2 " + format_bytes(m.l2_bytes);
  if (m.l3_bytes != 0) s += ", L3 " + format_bytes(m.l3_bytes);
  return s;
}

struct Part {
  Level level;
  const char* name;
  Place RankRecord::*place;
};
constexpr std::array parts{
    Part{Level::package, "package", &RankRecord::package}, Part{Level::numa, "NUMA", &RankRecord::numa},
    Part{Level::l3, "L3", &RankRecord::l3}, Part{Level::core, "core", &RankRecord::core}};

std::string text_of_ranks(const std::vector<int>& ranks) {
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", format_ranges(ranks));
}

// The parts of one host, widest first: on some machines NUMA nodes hold packages.
std::vector<Part> order_on_host(const Fabric& f, const std::vector<int>& ranks) {
  std::vector<Part> order(parts.begin(), parts.end());
  const auto groups = [&](const Part& p) {
    std::map<int, int> keys;
    for (const int r : ranks) {
      const Place& place = f.records[static_cast<std::size_t>(r)].*p.place;
      ++keys[place.bound() ? place.key : -2 - r];
    }
    return keys.size();
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](const Part& a, const Part& b) { return groups(a) < groups(b); });
  return order;
}

// `ranks` under `t`, parted by order[depth] and so on. Ranks bound to nothing narrower become a leaf
// that says which CPUs they have.
void add_ranks(TextTree& t, const Fabric& f, const std::vector<int>& ranks, const std::vector<Part>& order,
               std::size_t depth) {
  const auto record = [&](int rank) -> const RankRecord& {
    return f.records[static_cast<std::size_t>(rank)];
  };
  std::map<int, std::vector<int>> bound;
  std::map<std::string, std::vector<int>> unbound;
  for (const int rank : ranks) {
    std::size_t d = depth;
    while (d < order.size() && !(record(rank).*order[d].place).bound()) ++d;
    if (d == order.size())
      unbound[unpack(record(rank).affinity).to_list()].push_back(rank);
    else if (d == depth)
      bound[(record(rank).*order[d].place).key].push_back(rank);
    else
      bound[-1].push_back(rank);  // odd order on a mixed machine: skip a level
  }
  for (const auto& [key, members] : bound) {
    if (key < 0) {
      add_ranks(t, f, members, order, depth + 1);
      continue;
    }
    const int label = (record(members.front()).*order[depth].place).label;
    TextTree child{fmt::format("{} {}", order[depth].name, label), {}};
    if (depth + 1 == order.size())
      child.text += " ← " + text_of_ranks(members);
    else
      add_ranks(child, f, members, order, depth + 1);
    t.children.push_back(std::move(child));
  }
  for (const auto& [cpus, members] : unbound)
    t.children.push_back({fmt::format("any of CPUs {} ← {}", cpus, text_of_ranks(members)), {}});
}

}  // namespace

std::vector<std::string> level_texts(const Hierarchy& h) {
  std::vector<std::string> texts;
  for (const LevelGroups& level : h.levels) {
    std::size_t fewest = level.groups.empty() ? 0 : level.groups[0].ranks.size(), most = 0;
    std::vector<int> leaders;
    for (const Group& g : level.groups) {
      fewest = std::min(fewest, g.ranks.size());
      most = std::max(most, g.ranks.size());
      leaders.push_back(g.leader);
    }
    std::sort(leaders.begin(), leaders.end());
    const std::string ranks = fewest == most ? plural(static_cast<long long>(most), "rank", "ranks")
                                             : fmt::format("{} to {} ranks", fewest, most);
    texts.push_back(fmt::format("{}: {} of {}, led by {}", name_of(level.level),
                                plural(static_cast<long long>(level.groups.size()), "group", "groups"), ranks,
                                format_ranges(leaders)));
  }
  return texts;
}

std::string describe(const Hierarchy& h) {
  TextTree t{"levels", {}};
  for (std::string& text : level_texts(h)) t.children.push_back({std::move(text), {}});
  return draw(t);
}

std::string describe(const Machine& m) {
  std::vector<int> labels(m.nodes.size());
  std::array<int, node_kind_count> ordinals{};
  for (std::size_t i = 0; i < m.nodes.size(); ++i) {
    const int ordinal = ordinals[static_cast<std::size_t>(m.nodes[i].kind)]++;
    labels[i] = m.nodes[i].os_index >= 0 ? m.nodes[i].os_index : ordinal;
  }
  TextTree t = m.nodes.empty() ? TextTree{} : tree_of(m, 0, children_of(m), labels);
  t.text = summary(m);
  join_chains(t);
  std::string out = draw(t);
  if (m.notes.empty()) return out;
  TextTree notes{"not probed", {}};
  for (const std::string& note : m.notes) notes.children.push_back({note, {}});
  return out + draw(notes);
}

std::string describe(const Fabric& f, const Hierarchy& h) {
  TextTree t{fmt::format("{} on {}", plural(f.size(), "rank", "ranks"),
                         plural(static_cast<long long>(f.hosts.size()), "host", "hosts")),
             {}};
  for (const Host& host : f.hosts) {
    TextTree tree;
    add_ranks(tree, f, host.ranks, order_on_host(f, host.ranks), 0);
    join_chains(tree);
    tree.text =
        fmt::format("host {}: {}, {} usable{}", host.name,
                    plural(static_cast<long long>(host.ranks.size()), "rank", "ranks"),
                    plural(host.usable_cpus, "CPU", "CPUs"), host.oversubscribed ? ", oversubscribed" : "");
    t.children.push_back(std::move(tree));
  }
  return draw(t) + describe(h);
}

}  // namespace libcoll::topo
