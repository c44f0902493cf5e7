// A Picture as DOT: clusters for what lies in what, edges with link counts and path classes.
#include "topology/draw_dot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "topology/draw_facts.hpp"

namespace libcoll::topo {
namespace drawing {

std::string dot_string(std::string_view text) {
  std::string s = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': s += "\\\""; break;
      case '\\': s += "\\\\"; break;
      case '\n': s += "\\n"; break;
      case '&': s += "&amp;"; break;  // Graphviz reads entities of HTML in any label
      default: s += c;
    }
  }
  return s + "\"";
}

std::string dot_head(std::string_view label) {
  return fmt::format(
      "graph \"libcoll\" {{\n"
      "  graph [label={}, labelloc=t, fontname=\"Helvetica\", fontsize=16, bgcolor=\"white\", compound=true, "
      "style=rounded];\n"
      "  node [shape=box, style=\"rounded,filled\", fillcolor=\"white\", fontname=\"Helvetica\", fontsize=11];\n"
      "  edge [fontname=\"Helvetica\", fontsize=10];\n",
      dot_string(label));
}

}  // namespace drawing

namespace {

using namespace drawing;

// Links between all GPUs of a larger island say no more than its name does.
constexpr std::size_t max_meshed = 16;

std::string lines_of(const std::vector<std::string>& lines) {
  std::string s;
  for (const std::string& l : lines) s += (s.empty() ? "" : "\n") + l;
  return s;
}

class DotWriter {
 public:
  explicit DotWriter(const Picture& p) : facts_(p) {}

  std::string run() {
    out_ = dot_head(facts_.title() + "\n" + facts_.counts());
    for (int h = 0; h < facts_.drawn_hosts(); ++h) host(h);
    if (const std::string more = facts_.more_hosts(); !more.empty())
      put("  \"more\" [label={}, shape=plaintext, style=\"\"];\n", dot_string(more));
    if (facts_.host_count() > 1) rails();
    return std::move(out_) + "}\n";
  }

 private:
  template <class... Args>
  void put(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }

  void open(int depth, const std::string& id, const std::string& label, const std::string& attributes) {
    const std::string indent(static_cast<std::size_t>(2 * depth), ' ');
    put("{}subgraph \"cluster_{}\" {{\n{}  label={}; {}\n", indent, id, indent, dot_string(label), attributes);
  }
  void close(int depth) { put("{}}}\n", std::string(static_cast<std::size_t>(2 * depth), ' ')); }

  void host(int h) {
    open(1, fmt::format("h{}", h), facts_.host_text(h), "style=rounded; color=\"#aab4c0\";");
    const HostFacts& f = facts_.host(h);
    if (f.children.empty() || (f.children[0].empty() && f.gpus.empty() && f.nics.empty() && f.ranks.empty()))
      put("    \"h{}nothing\" [label=\"nothing shown\", shape=plaintext, style=\"\"];\n", h);
    if (!f.children.empty())
      for (const int n : f.children[0]) part(h, n, 2);
    ranks(h, {0}, fmt::format("h{}", h), 2);
    for (const Facts::Area& a : facts_.areas(h)) area(h, a);
    for (const int n : f.nvswitches)
      put("    \"{}\" [label={}, fillcolor=\"#3b4654\", fontcolor=\"white\"];\n", facts_.id(h, n),
          dot_string(fmt::format("NVSwitch {}", facts_.machine(h).label(n))));
    for (const int n : f.nics)
      put("    \"{}\" [label={}, tooltip={}, color=\"{}\"];\n", facts_.id(h, n),
          dot_string(lines_of({facts_.nic_name(h, n), facts_.nic_detail(h, n)})), dot_string(facts_.nic_tip(h, n)),
          color_of(facts_.rails_of_nic(h, n)));
    close(1);
    edges(h);
  }

  // Ends at a node that edges can name: the cores, or the part itself where it holds nothing.
  void part(int h, int index, int depth) {
    const std::vector<int>& below = facts_.host(h).children[static_cast<std::size_t>(index)];
    const std::string id = facts_.id(h, index), indent(static_cast<std::size_t>(2 * depth), ' ');
    if (below.empty()) {
      put("{}\"{}\" [label={}];\n", indent, id, dot_string(lines_of(facts_.part_lines(h, index))));
      ranks(h, {index}, id, depth);
      return;
    }
    open(depth, id, lines_of(facts_.part_lines(h, index)), "style=rounded; color=\"#c6ced8\";");
    std::vector<int> homes{index};
    for (const int c : below)
      if (facts_.node(h, c).kind == NodeKind::core)
        homes.push_back(c);
      else
        part(h, c, depth + 1);
    if (homes.size() > 1)
      put("{}  \"{}\" [label={}, fillcolor=\"#eef1f5\"];\n", indent, id,
          dot_string(lines_of(facts_.core_lines(h, index))));
    ranks(h, homes, id, depth + 1);
    close(depth);
  }

  void ranks(int h, const std::vector<int>& homes, const std::string& id, int depth) {
    std::vector<int> all;
    for (const int n : homes)
      if (const auto at = facts_.host(h).ranks.find(n); at != facts_.host(h).ranks.end())
        all.insert(all.end(), at->second.begin(), at->second.end());
    if (all.empty()) return;
    std::sort(all.begin(), all.end());
    std::vector<int> leaders;
    std::copy_if(all.begin(), all.end(), std::back_inserter(leaders), [&](int r) { return facts_.is_leader(r); });
    const std::string led = leaders.empty() ? "" : "leading: " + rank_text(leaders);
    put("{}\"{}ranks\" [label={}, fillcolor=\"#fff6d6\", color=\"#b58f12\"];\n", std::string(static_cast<std::size_t>(2 * depth), ' '),
        id, dot_string(led.empty() ? rank_text(all) : rank_text(all) + "\n" + led));
  }

  void area(int h, const Facts::Area& a) {
    const bool is_island = a.state == GpuState::in_island;
    const std::string id = is_island ? fmt::format("h{}i{}", h, a.island)
                                     : fmt::format("h{}{}", h, a.state == GpuState::demoted ? "demoted" : "unknown");
    open(2, id, lines_of(facts_.area_lines(a)),
         is_island ? fmt::format("style=\"rounded,filled\"; fillcolor=\"{}\"; color=\"{}\";", island_fill(a.island),
                                 island_ink(a.island))
                   : "style=\"rounded,dashed\"; color=\"#b3261e\";");
    for (const int g : a.gpus) {
      std::vector<std::string> lines{facts_.gpu_text(g)};
      for (std::string line : {facts_.gpu_ranks(g), facts_.gpu_place(g), facts_.cpu_link_text(g)})
        if (!line.empty()) lines.push_back(std::move(line));
      put("      \"{}\" [label={}, tooltip={}, color=\"{}\"];\n", facts_.id(h, facts_.ref(g).node),
          dot_string(lines_of(lines)), dot_string(facts_.gpu_tip(g)), color_of(facts_.rails_of_gpu(g)));
    }
    close(2);
  }

  static const char* color_of(const std::vector<int>& rails) { return rails.empty() ? "#7b8794" : rail_color(rails[0]); }

  // A node that lies in that part of the machine, -1 if none is written.
  int inside(int h, int index) const {
    const std::vector<int>& below = facts_.host(h).children[static_cast<std::size_t>(index)];
    if (index == 0) return -1;
    if (below.empty() || facts_.node(h, below[0]).kind == NodeKind::core) return index;
    return inside(h, below[0]);
  }

  void edges(int h) {
    const HostFacts& f = facts_.host(h);
    const Machine& m = facts_.machine(h);
    std::vector<int> gpu_of(m.nodes.size(), -1);
    for (const int g : f.gpus) gpu_of[static_cast<std::size_t>(facts_.ref(g).node)] = g;
    std::map<int, std::size_t> sizes;  // of islands, on this host
    for (const int g : f.gpus) ++sizes[facts_.island_of(g)];
    for (const Edge& e : m.edges) {
      if (e.kind == EdgeKind::pcie) continue;
      const int a = gpu_of[static_cast<std::size_t>(e.a)], b = gpu_of[static_cast<std::size_t>(e.b)];
      const bool are_gpus = a >= 0 && b >= 0;
      const bool is_bridge = are_gpus && facts_.island_of(a) != facts_.island_of(b);
      if (are_gpus && !is_bridge && sizes[facts_.island_of(a)] > max_meshed) continue;
      const int from = is_device(m.nodes[static_cast<std::size_t>(e.a)].kind) ? e.a : inside(h, e.a);
      const int to = is_device(m.nodes[static_cast<std::size_t>(e.b)].kind) ? e.b : inside(h, e.b);
      if (from < 0 || to < 0) continue;
      put("  \"{}\" -- \"{}\" [label={}, color=\"{}\", penwidth={}{}];\n", facts_.id(h, from), facts_.id(h, to),
          dot_string((e.kind == EdgeKind::c2c ? "C2C " : "") + link_text({e.links, e.mb_per_s})),
          is_bridge ? "#3b4654" : "#7aa06a", is_bridge ? 2.5 : 1.5, is_bridge ? ", style=bold" : "");
    }
    for (const int g : f.gpus) {
      const NicChoice& c = facts_.picture.rails.nic_of[static_cast<std::size_t>(g)];
      if (c.nic < 0) continue;
      put("  \"{}\" -- \"{}\" [label={}, color=\"{}\", penwidth=2];\n", facts_.id(h, facts_.ref(g).node), facts_.id(h, c.nic),
          dot_string(c.path == PathClass::unknown ? "" : topo::name_of(c.path)), color_of(facts_.rails_of_gpu(g)));
    }
  }

  // What joins the NICs of several hosts.
  void rails() {
    for (std::size_t r = 0; r < facts_.picture.rails.rails.size(); ++r) {
      std::set<std::string> nics;
      for (const int g : facts_.picture.rails.rails[r]) {
        const int nic = facts_.picture.rails.nic_of[static_cast<std::size_t>(g)].nic, h = facts_.ref(g).host;
        if (nic >= 0 && h < facts_.drawn_hosts()) nics.insert(facts_.id(h, nic));
      }
      if (nics.size() < 2) continue;
      const char* color = rail_color(static_cast<int>(r));
      put("  \"rail{}\" [label=\"rail {}\", shape=ellipse, color=\"{}\"];\n", r, r, color);
      for (const std::string& nic : nics) put("  \"{}\" -- \"rail{}\" [color=\"{}\", penwidth=2];\n", nic, r, color);
    }
  }

  const Facts facts_;
  std::string out_;
};

}  // namespace

std::string to_dot(const Picture& p) { return DotWriter(p).run(); }

}  // namespace libcoll::topo
