// The words of pictures.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "topology/devices.hpp"
#include "topology/draw_facts.hpp"
#include "topology/text_tree.hpp"

namespace libcoll::topo::drawing {
namespace {

constexpr const char* dot = " \xc2\xb7 ";  // a middle dot

struct Tint {
  const char *fill, *ink;
};
// Pale areas with dark text on them, told apart by the colour-blind too (after P. Tol's sets).
constexpr std::array<Tint, island_colors> tints{{{"#dbe7f5", "#33588a"},
                                                 {"#e3efd3", "#4c6b1f"},
                                                 {"#fbe3d6", "#9a4a1c"},
                                                 {"#ece0f2", "#6a4183"},
                                                 {"#d8eeee", "#1f6a6a"},
                                                 {"#f6edc4", "#75620f"}}};
// Okabe and Ito's set, its yellow darkened: it has to show on white.
constexpr std::array<const char*, rail_colors> rail_set{"#0072b2", "#e69f00", "#009e73", "#cc79a7",
                                                        "#56b4e9", "#d55e00", "#b8a800", "#5b5b5b"};

double gb(std::uint64_t mb) { return static_cast<double>(mb) / 1000; }

std::size_t at(int i) { return static_cast<std::size_t>(i); }

std::string count_text(long long n, const char* one, const char* many) { return n == 0 ? "" : plural(n, one, many); }

std::string join(const std::vector<std::string>& parts, const char* separator) {
  std::string all;
  for (const std::string& p : parts)
    if (!p.empty()) all.append(all.empty() ? "" : separator).append(p);
  return all;
}

// Equal in what a reader of the picture would miss.
bool is_alike(const Machine& a, const Machine& b) {
  for (int k = 0; k < node_kind_count; ++k)
    if (a.count(static_cast<NodeKind>(k)) != b.count(static_cast<NodeKind>(k))) return false;
  return true;
}

}  // namespace

const char* island_fill(int i) noexcept { return tints[at(i) % tints.size()].fill; }
const char* island_ink(int i) noexcept { return tints[at(i) % tints.size()].ink; }
const char* rail_color(int r) noexcept { return rail_set[at(r) % rail_set.size()]; }

std::string escape_xml(std::string_view text) {
  std::string s;
  for (const char c : text) {
    switch (c) {
      case '&': s += "&amp;"; break;
      case '<': s += "&lt;"; break;
      case '>': s += "&gt;"; break;
      case '"': s += "&quot;"; break;
      case '\'': s += "&#39;"; break;
      default: s += c;
    }
  }
  return s;
}

std::string clean(std::string_view text) {
  std::string s(text);
  for (char& c : s) c = c >= 0x20 && c < 0x7f ? c : '?';
  return s;
}

std::string link_text(const LinkSum& l) {
  return join({count_text(l.links, "link", "links"), l.mb_per_s == 0 ? "" : fmt::format("{} GB/s", gb(l.mb_per_s))}, ", ");
}

std::string short_link_text(const LinkSum& l) {
  if (l.links > 0) return fmt::format("\xc3\x97{}", l.links);
  return l.mb_per_s == 0 ? "link" : fmt::format("{} GB/s", gb(l.mb_per_s));
}

std::string rank_text(const std::vector<int>& ranks) {
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", format_ranges(ranks));
}

std::string Facts::id(int h, int n) const { return fmt::format("h{}n{}", h, n); }

std::string Facts::title() const { return picture.title.empty() ? "machine" : clean(picture.title); }

std::string Facts::counts() const {
  if (picture.machines.empty()) return "nothing to show";
  std::array<long long, node_kind_count> n{};
  long long cpus = 0;
  for (const Machine& m : picture.machines) {
    cpus += m.cpus().count();
    for (const Node& node : m.nodes) ++n[static_cast<std::size_t>(node.kind)];
  }
  const auto of = [&](NodeKind k) { return n[static_cast<std::size_t>(k)]; };
  const std::string& arch = machine(0).architecture;
  return join({clean(arch), count_text(host_count() == 1 ? 0 : host_count(), "host", "hosts"),
               count_text(picture.fabric == nullptr ? 0 : picture.fabric->size(), "rank", "ranks"),
               count_text(of(NodeKind::package), "package", "packages"),
               count_text(of(NodeKind::numa), "NUMA node", "NUMA nodes"),
               count_text(of(NodeKind::core), "core", "cores"), count_text(cpus, "CPU", "CPUs"),
               count_text(of(NodeKind::gpu), "GPU", "GPUs"),
               count_text(of(NodeKind::nvswitch), "NVSwitch", "NVSwitches"),
               count_text(of(NodeKind::nic), "NIC", "NICs"),
               count_text(static_cast<long long>(picture.islands.islands.size()), "island", "islands"),
               count_text(static_cast<long long>(picture.islands.bridges.size()), "bridge", "bridges")},
              dot);
}

std::string Facts::more_hosts() const {
  const int more = host_count() - drawn_hosts();
  if (more == 0) return "";
  bool are_alike = true;
  for (int h = drawn_hosts(); h < host_count(); ++h)
    are_alike = are_alike && is_alike(machine(h), machine(drawn_hosts() - 1));
  return fmt::format("and {} more {}", more, are_alike ? "like it" : more == 1 ? "host" : "hosts");
}

std::string Facts::host_text(int h) const {
  if (!machine(h).host.empty() || host_count() > 1) return clean(host_name(picture.machines, h));
  return "host";
}

std::vector<std::string> Facts::part_lines(int h, int index) const {
  const Node& n = node(h, index);
  const int label = machine(h).label(index);
  const std::string size = n.bytes == 0 ? "" : format_bytes(n.bytes);
  switch (n.kind) {
    case NodeKind::package: {
      std::vector<std::string> lines{fmt::format("package {}", label)};
      if (!n.name.empty()) lines.push_back(printable(n.name));
      return lines;
    }
    case NodeKind::numa: {
      const bool is_memory = host(h).children[at(index)].empty() && n.cpus.empty() && n.bytes != 0;
      std::vector<std::string> lines{join({fmt::format("NUMA {}", label), size}, dot)};
      if (is_memory) lines.push_back("memory only");
      else if (host(h).children[at(index)].empty() && !n.cpus.empty())
        lines.push_back(printable(fmt::format("CPUs {}", n.cpus.to_list())));
      return lines;
    }
    case NodeKind::l3:
      if (n.name == "unknown") return {"L3 unknown"};
      return {join({fmt::format("{} {}", n.name.empty() ? "L3" : printable(n.name), label), size}, dot)};
    default:
      return {fmt::format("{} {}", topo::name_of(n.kind), label)};
  }
}

std::vector<std::string> Facts::core_lines(int h, int parent) const {
  std::vector<int> cores;
  CpuSet cpus;
  bool are_known = true;
  for (const int c : host(h).children[at(parent)]) {
    if (node(h, c).kind != NodeKind::core) continue;
    cores.push_back(machine(h).label(c));
    are_known = are_known && node(h, c).os_index >= 0;
    cpus |= node(h, c).cpus;
  }
  if (cores.empty()) return {};
  std::sort(cores.begin(), cores.end());
  std::string which = are_known ? fmt::format("{} {}", cores.size() == 1 ? "core" : "cores", format_ranges(cores))
                                : plural(static_cast<long long>(cores.size()), "core", "cores");
  return {std::move(which), fmt::format("{} {}", cpus.count() == 1 ? "CPU" : "CPUs", cpus.to_list())};
}

std::vector<std::string> Facts::area_lines(const Area& a) const {
  if (a.state == GpuState::demoted) return {"demoted", "fewer links than their siblings"};
  if (a.state == GpuState::unknown) return {"no island known", "their NVLinks were not told"};
  const std::vector<int>& all = picture.islands.islands[at(a.island)];
  std::string head = fmt::format("island {}", a.island);
  if (a.gpus.size() < all.size()) head += fmt::format("{}{} of its {} GPUs", dot, a.gpus.size(), all.size());
  std::vector<int> ranks;
  for (const int g : a.gpus)
    if (at(g) < picture.ranks_of_gpu.size()) ranks.insert(ranks.end(), picture.ranks_of_gpu[at(g)].begin(), picture.ranks_of_gpu[at(g)].end());
  std::sort(ranks.begin(), ranks.end());
  if (!ranks.empty()) head += dot + rank_text(ranks);
  if (all.size() == 1) return {std::move(head)};
  LinkSum low{max_links, UINT64_MAX}, high{};
  for (const int g : a.gpus) {
    LinkSum sum;
    if (const auto links = host(ref(g).host).nvlinks.find(ref(g).node); links != host(ref(g).host).nvlinks.end())
      for (const auto& [to, l] : links->second) {
        const bool is_inside =
            node(ref(g).host, to).kind == NodeKind::nvswitch ||
            std::any_of(a.gpus.begin(), a.gpus.end(), [&, end = to](int other) { return ref(other).node == end; });
        if (is_inside) sum = {sum.links + l.links, sum.mb_per_s + l.mb_per_s};
      }
    low = {std::min(low.links, sum.links), std::min(low.mb_per_s, sum.mb_per_s)};
    high = {std::max(high.links, sum.links), std::max(high.mb_per_s, sum.mb_per_s)};
  }
  if (high == LinkSum{}) return {std::move(head)};
  if (low == high) return {std::move(head), link_text(high) + " each"};
  if (high.links == 0) return {std::move(head), fmt::format("{} to {} GB/s each", gb(low.mb_per_s), gb(high.mb_per_s))};
  return {std::move(head), fmt::format("{} to {} links each", low.links, high.links)};
}

std::string Facts::nvswitch_text(int h) const {
  std::vector<int> labels;
  for (const int n : host(h).nvswitches) labels.push_back(machine(h).label(n));
  std::sort(labels.begin(), labels.end());
  const bool is_hidden = labels.size() == 1 && node(h, host(h).nvswitches[0]).bus_id.empty();
  if (is_hidden) return "NVSwitches, not listed by the source";
  return fmt::format("{} {}", labels.size() == 1 ? "NVSwitch" : "NVSwitches", format_ranges(labels));
}

std::string Facts::gpu_ranks(int gpu) const {
  if (at(gpu) >= picture.ranks_of_gpu.size() || picture.ranks_of_gpu[at(gpu)].empty()) return "";
  return rank_text(picture.ranks_of_gpu[at(gpu)]);
}

std::string Facts::gpu_text(int gpu) const { return fmt::format("GPU {}", machine(ref(gpu).host).label(ref(gpu).node)); }

std::string Facts::gpu_place(int gpu) const {
  const Machine& m = machine(ref(gpu).host);
  const int numa = m.ancestor(ref(gpu).node, NodeKind::numa), package = m.ancestor(ref(gpu).node, NodeKind::package);
  const std::string where = numa >= 0      ? fmt::format("NUMA {}", m.label(numa))
                            : package >= 0 ? fmt::format("package {}", m.label(package))
                                           : "";
  const NicChoice& c = picture.rails.nic_of[at(gpu)];
  return join({where, c.nic < 0 || c.path == PathClass::unknown ? "" : topo::name_of(c.path)}, dot);
}

std::string Facts::cpu_link_text(int gpu) const {
  const auto& links = host(ref(gpu).host).cpu_link;
  const auto it = links.find(ref(gpu).node);
  if (it == links.end()) return "";
  const auto& [kind, sum] = it->second;
  return fmt::format("{} {}", kind == EdgeKind::c2c ? "C2C" : "NVLink to CPU",
                     sum.mb_per_s == 0 ? link_text(sum) : fmt::format("{:.0f} GB/s", gb(sum.mb_per_s)));
}

std::string Facts::nic_name(int h, int nic) const {
  const Node& n = node(h, nic);
  return n.name.empty() ? fmt::format("NIC {}", machine(h).label(nic)) : printable(n.name);
}

std::string Facts::nic_detail(int h, int nic) const {
  const std::vector<int> rails = rails_of_nic(h, nic);
  const std::string which =
      rails.empty() ? host(h).users.contains(nic) || host(h).gpus.empty() ? "" : "no GPU's"
                    : fmt::format("{} {}", rails.size() == 1 ? "rail" : "rails", format_ranges(rails));
  const std::uint64_t speed = node(h, nic).mb_per_s;
  return join({which, speed == 0 ? "" : fmt::format("{} GB/s", gb(speed))}, dot);
}

std::string Facts::nic_users(int h, int nic) const {
  const auto users = host(h).users.find(nic);
  if (users == host(h).users.end()) return "";
  std::vector<int> labels;
  for (const int g : users->second) labels.push_back(machine(h).label(ref(g).node));
  std::sort(labels.begin(), labels.end());
  return fmt::format("{} {}", labels.size() == 1 ? "GPU" : "GPUs", format_ranges(labels));
}

std::string Facts::gpu_tip(int gpu) const {
  const auto [h, n] = ref(gpu);
  std::vector<std::string> parts{clean(gpu_name(picture.machines, ref(gpu))), printable(node(h, n).name), printable(node(h, n).bus_id),
                                 gpu_ranks(gpu), gpu_place(gpu), cpu_link_text(gpu)};
  if (state_of(gpu) == GpuState::in_island) parts.push_back(fmt::format("island {}", island_of(gpu)));
  if (state_of(gpu) == GpuState::demoted) parts.push_back("demoted: fewer links than its siblings");
  if (state_of(gpu) == GpuState::unknown) parts.push_back("its NVLinks were not told");
  for (const int r : rails_of_gpu(gpu)) parts.push_back(fmt::format("rail {}", r));
  constexpr std::size_t most_links = 16;
  std::size_t said = 0;
  if (const auto links = host(h).nvlinks.find(n); links != host(h).nvlinks.end())
    for (const auto& [to, sum] : links->second)
      if (++said <= most_links)
        parts.push_back(fmt::format("to {} {}: {}", node(h, to).kind == NodeKind::gpu ? "GPU" : "NVSwitch",
                                    machine(h).label(to), link_text(sum)));
  if (said > most_links) parts.push_back(fmt::format("and {} more", said - most_links));
  return join(parts, "; ");
}

std::string Facts::nic_tip(int h, int nic) const {
  const Node& n = node(h, nic);
  std::vector<std::string> parts{nic_name(h, nic), printable(n.bus_id), nic_detail(h, nic)};
  if (n.functions > 1) parts.push_back(fmt::format("{} functions", n.functions));
  parts.push_back(nic_users(h, nic));
  return join(parts, "; ");
}

std::string Facts::rank_tip(int rank) const {
  const RankRecord& r = picture.fabric->records[at(rank)];
  const std::string where = r.core.bound()      ? fmt::format("core {}", r.core.label)
                            : r.l3.bound()      ? fmt::format("L3 {}", r.l3.label)
                            : r.numa.bound()    ? fmt::format("NUMA {}", r.numa.label)
                            : r.package.bound() ? fmt::format("package {}", r.package.label)
                                                : "";
  return join({fmt::format("rank {}", rank), where, fmt::format("CPUs {}", unpack(r.affinity).to_list()),
               is_leader(rank) ? "leads a group" : ""},
              "; ");
}

}  // namespace libcoll::topo::drawing
