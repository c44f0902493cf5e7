// The islands and rails of ranks as a map: a row for each island, a column for each rail, so that whoever exchanges with
// each other within an island stands side by side, and between islands one above the other.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "topology/cpuset.hpp"
#include "topology/draw.hpp"
#include "topology/draw_dot.hpp"
#include "topology/draw_facts.hpp"
#include "topology/text_tree.hpp"

namespace libcoll::topo {
namespace {

using namespace drawing;

constexpr std::size_t most_rows = 64, most_columns = 72, most_text_columns = 24;

// What all forms of the map say.
class Map {
 public:
  Map(const GpuFabric& f, std::span<const GpuRecord> records) : fabric(f), records_(records) {
    std::map<std::uint64_t, int> hosts;
    for (const GpuRecord& r : records) host_of_.push_back(hosts.try_emplace(r.host_id, static_cast<int>(hosts.size())).first->second);
    hosts_ = static_cast<int>(hosts.size());
    const auto add = [&](const char* what, const std::vector<int>& ranks) {
      if (!ranks.empty()) others.push_back({what, ranks});
    };
    add("demoted: fewer NVLinks than their siblings", f.demoted);
    add("NVLinks unknown", f.unknown);
    add("slices of GPUs (MIG)", f.mig);
    add("without a GPU", f.without_gpu);
    std::vector<int> behind;
    for (const auto& ranks : f.shared) behind.insert(behind.end(), ranks.begin() + 1, ranks.end());
    std::sort(behind.begin(), behind.end());
    add("on the GPU of another rank", behind);
  }

  std::size_t rows() const { return std::min(fabric.islands.size(), most_rows); }
  std::size_t columns(std::size_t most) const { return std::min(fabric.rails.size(), most); }
  bool leads(int rank) const {
    const int i = fabric.island_of[static_cast<std::size_t>(rank)];
    return i >= 0 && fabric.islands[static_cast<std::size_t>(i)].size() > 1 && fabric.leaders[static_cast<std::size_t>(i)] == rank;
  }
  std::string hosts_of(const std::vector<int>& ranks) const {
    std::vector<int> all;
    for (const int r : ranks) all.push_back(host_of_[static_cast<std::size_t>(r)]);
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return (all.size() == 1 ? "host " : "hosts ") + format_ranges(all);
  }
  std::string place_of(int rank) const { return fmt::format("host {}", host_of_[static_cast<std::size_t>(rank)]); }
  std::string nic_of(int rank) const {
    const int k = fabric.nic_of[static_cast<std::size_t>(rank)];
    if (k < 0) return "no NIC";
    const GpuRecord::Nic& nic = records_[static_cast<std::size_t>(rank)].nic[k];
    const std::string name = clean(std::string(nic.name, std::find(nic.name, std::end(nic.name), '\0')));
    return name.empty() ? "NIC " + unpack_bus(nic.bus) : name;
  }
  std::string tip_of(int rank) const {
    const GpuRecord& r = records_[static_cast<std::size_t>(rank)];
    const std::string gpu = !r.has(GpuRecord::has_gpu) ? "no GPU" : "GPU at " + (r.bus == 0 ? "an unknown address" : unpack_bus(r.bus));
    return fmt::format("rank {} on {}, {}, {}{}", rank, place_of(rank), gpu, nic_of(rank), leads(rank) ? "; leads its island" : "");
  }
  std::string counts() const {
    return fmt::format("{} on {}, {}, {}", plural(fabric.size, "rank", "ranks"), plural(hosts_, "host", "hosts"), plural(static_cast<long long>(fabric.islands.size()), "island", "islands"),
                       plural(static_cast<long long>(fabric.rails.size()), "rail", "rails"));
  }
  std::string more(std::size_t columns) const {
    std::string s;
    if (fabric.islands.size() > rows()) s = fmt::format("{} more islands", fabric.islands.size() - rows());
    if (fabric.rails.size() > columns) s += fmt::format("{}{} more rails", s.empty() ? "" : ", ", fabric.rails.size() - columns);
    return s.empty() ? s : "not drawn: " + s;
  }
  static std::string bridge_text(const Bridge& b) { return b.links != 0 ? plural(b.links, "link", "links") : fmt::format("{} MB/s", b.mb_per_s); }

  const GpuFabric& fabric;
  struct Others {
    std::string what;
    std::vector<int> ranks;
  };
  std::vector<Others> others;  // ranks in no island

 private:
  std::span<const GpuRecord> records_;
  std::vector<int> host_of_;
  int hosts_ = 0;
};

std::string ranks_of(const std::vector<int>& ranks) { return (ranks.size() == 1 ? "rank " : "ranks ") + format_ranges(ranks); }

}  // namespace

std::string to_text(const GpuFabric& f, std::span<const GpuRecord> records) {
  const Map map(f, records);
  const std::size_t columns = map.columns(most_text_columns);
  const std::size_t label = 7 + std::to_string(f.islands.size()).size(), cell = 2 + std::max<std::size_t>(std::to_string(f.size).size(), 2);
  std::string s = map.counts() + "\n";
  if (columns != 0) {
    s += fmt::format("{:{}}", "", label - 4) + "rail ";
    for (std::size_t r = 0; r < columns; ++r) s += fmt::format("{:>{}}", r, r == 0 ? cell - 1 : cell);
    s += "\n";
  }
  bool any_leader = false;
  for (std::size_t i = 0; i < map.rows(); ++i) {
    const std::vector<int>& island = f.islands[i];
    s += fmt::format("{:<{}}", fmt::format("island {}", i), label);
    for (std::size_t r = 0; r < columns; ++r) {
      const bool leads = r < island.size() && map.leads(island[r]);
      any_leader |= leads;
      s += fmt::format("{:>{}}", r >= island.size() ? "" : fmt::format("{}{}", leads ? "*" : "", island[r]), cell);
    }
    s += "   " + map.hosts_of(island) + "\n";
  }
  if (any_leader) s += "* leads its island\n";
  for (const Bridge& b : f.bridges) s += fmt::format("bridge: rank {} - rank {}, {}\n", b.a, b.b, Map::bridge_text(b));
  for (const auto& o : map.others) s += fmt::format("in no island, {}: {}\n", o.what, ranks_of(o.ranks));
  if (const std::string more = map.more(columns); !more.empty()) s += more + "\n";
  return s;
}

std::string to_dot(const std::string& title, const GpuFabric& f, std::span<const GpuRecord> records) {
  const Map map(f, records);
  std::string s = dot_head(clean(title) + "\n" + map.counts());
  const auto put = [&]<class... A>(fmt::format_string<A...> format, A&&... a) { fmt::format_to(std::back_inserter(s), format, std::forward<A>(a)...); };
  const auto node = [&](int rank, const char* look) {
    put("    \"r{}\" [label={}, tooltip={}{}];\n", rank, dot_string(fmt::format("rank {}\n{} · {}", rank, map.place_of(rank), map.nic_of(rank))), dot_string(map.tip_of(rank)), look);
  };
  for (std::size_t i = 0; i < map.rows(); ++i) {
    const int number = static_cast<int>(i);
    put("  subgraph \"cluster_i{}\" {{\n    label={}; style=\"rounded,filled\"; fillcolor=\"{}\"; color=\"{}\";\n", i,
        dot_string(fmt::format("island {} · {}", i, map.hosts_of(f.islands[i]))), island_fill(number), island_ink(number));
    for (std::size_t r = 0; r < std::min(f.islands[i].size(), most_columns); ++r) node(f.islands[i][r], map.leads(f.islands[i][r]) ? ", fillcolor=\"#ffd84d\", penwidth=2" : "");
    s += "  }\n";
  }
  for (std::size_t k = 0; k < map.others.size(); ++k) {
    put("  subgraph \"cluster_o{}\" {{\n    label={}; style=\"rounded,dashed\"; color=\"#b3261e\";\n", k, dot_string(map.others[k].what));
    for (std::size_t r = 0; r < std::min(map.others[k].ranks.size(), most_columns); ++r) node(map.others[k].ranks[r], "");
    s += "  }\n";
  }
  for (std::size_t r = 0; r < map.columns(most_columns); ++r) {
    const std::vector<int>& rail = f.rails[r];
    for (std::size_t k = 1; k < std::min(rail.size(), map.rows()); ++k)
      put("  \"r{}\" -- \"r{}\" [label={}, color=\"{}\", penwidth=2];\n", rail[k - 1], rail[k], dot_string(k == 1 ? fmt::format("rail {}", r) : ""), rail_color(static_cast<int>(r)));
  }
  for (const Bridge& b : f.bridges) put("  \"r{}\" -- \"r{}\" [label={}, color=\"#3b4654\", style=bold, constraint=false];\n", b.a, b.b, dot_string(Map::bridge_text(b)));
  if (const std::string more = map.more(most_columns); !more.empty()) put("  \"more\" [label={}, shape=plaintext, style=\"\"];\n", dot_string(more));
  return s + "}\n";
}

namespace {

class MapSvg {
 public:
  MapSvg(const std::string& title, const GpuFabric& f, std::span<const GpuRecord> records) : title_(clean(title)), map_(f, records) {}

  std::string run() {
    const GpuFabric& f = map_.fabric;
    const std::size_t columns = map_.columns(most_columns);
    width_ = std::max(560, 2 * margin + label_width + static_cast<int>(std::max<std::size_t>(columns, 1)) * column_width);
    y_ = margin;
    text(margin, y_ += 18, 18, "head", title_);
    text(margin, y_ += 22, 13, "small", map_.counts());
    y_ += 16;
    const int rails_from = y_;
    if (columns != 0) y_ += 24;
    std::vector<int> rows;
    std::string boxes = std::exchange(out_, {});
    for (std::size_t i = 0; i < map_.rows(); ++i) rows.push_back(row(i));
    const std::string islands = std::exchange(out_, {});
    for (std::size_t r = 0; r < columns; ++r) rail(r, rails_from, rows);
    bridges(rows);
    std::string lines = std::exchange(out_, {});
    // Bands, then lines over them, then ranks on top.
    out_ = boxes + bands_ + lines + islands;
    for (const auto& o : map_.others) rest(o);
    legend();
    if (const std::string more = map_.more(most_columns); !more.empty()) text(margin, y_ += 20, 13, "small", more);
    for (const std::string& report : f.reports) text(margin, y_ += 20, 13, "small", "to note: " + clean(report), &width_);
    const int height = y_ + margin;
    return fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" style=\"max-width:100%;height:auto\" role=\"graphics-document\" "
                       "aria-labelledby=\"title desc\">\n<title id=\"title\">{2}</title>\n<desc id=\"desc\">{3}</desc>\n<style>{4}</style>\n"
                       "<rect class=\"page\" width=\"{0}\" height=\"{1}\"/>\n{5}</svg>\n",
                       width_, height, escape_xml(title_), escape_xml(map_.counts()), css, out_);
  }

 private:
  static constexpr const char* css =
      "text{font-family:\"DejaVu Sans\",Verdana,Helvetica,Arial,sans-serif;fill:#1d2733}.head{font-weight:bold}.small{fill:#46525f}.page{fill:#f6f7f9}"
      ".rank rect{fill:#ffffff;stroke:#7b8794}.leader rect{fill:#ffd84d;stroke:#7a5c00;stroke-width:2}.other rect{fill:#f7f7f7;stroke:#b3261e;stroke-dasharray:6 3}";
  static constexpr int margin = 24, label_width = 132, column_width = 92, row_height = 74, box_width = 78, box_height = 44;

  template <class... A>
  void put(fmt::format_string<A...> format, A&&... a) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<A>(a)...);
  }
  // With `limit` the page grows to hold it.
  void text(int x, int y, int size, const char* style, const std::string& s, int* limit = nullptr) {
    put("<text class=\"{}\" x=\"{}\" y=\"{}\" font-size=\"{}\">{}</text>\n", style, x, y, size, escape_xml(s));
    if (limit != nullptr) *limit = std::max(*limit, x + static_cast<int>(s.size()) * size * 5 / 8 + margin);
  }
  static int x_of(std::size_t column) { return margin + label_width + static_cast<int>(column) * column_width; }

  void box(int rank, int x, int y, const char* style) {
    put("<g class=\"{}\" id=\"r{}\"><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"8\"/>", style, rank, escape_xml(map_.tip_of(rank)), x, y, box_width, box_height);
    put("<text class=\"head\" x=\"{0}\" y=\"{1}\" font-size=\"13\" text-anchor=\"middle\">rank {2}</text><text class=\"small\" x=\"{0}\" y=\"{3}\" font-size=\"10\" text-anchor=\"middle\">{4}</text></g>\n",
        x + box_width / 2, y + 18, rank, y + 34, escape_xml(map_.nic_of(rank).substr(0, 13)));
  }

  // Its upper edge.
  int row(std::size_t i) {
    const GpuFabric& f = map_.fabric;
    const int top = y_, number = static_cast<int>(i);
    const std::size_t members = std::min(f.islands[i].size(), most_columns);
    fmt::format_to(std::back_inserter(bands_), "<g class=\"island\" id=\"i{}\"><title>island {}: {}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"10\" fill=\"{}\" stroke=\"{}\"/></g>\n", i, i,
                   ranks_of(f.islands[i]), margin, top, label_width + static_cast<int>(members) * column_width, row_height - 12, island_fill(number), island_ink(number));
    text(margin + 12, top + 26, 14, "head", fmt::format("island {}", i));
    text(margin + 12, top + 46, 12, "small", map_.hosts_of(f.islands[i]));
    for (std::size_t r = 0; r < members; ++r) box(f.islands[i][r], x_of(r), top + 9, map_.leads(f.islands[i][r]) ? "leader" : "rank");
    y_ += row_height;
    return top;
  }

  void rail(std::size_t r, int from, const std::vector<int>& rows) {
    const int x = x_of(r) + box_width / 2;
    const char* color = rail_color(static_cast<int>(r));
    put("<text x=\"{}\" y=\"{}\" font-size=\"13\" text-anchor=\"middle\" style=\"fill:{}\">rail {}</text>\n", x, from + 14, color, r);
    int last = -1;
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (map_.fabric.islands[i].size() > r) last = rows[i];
    if (last >= 0) put("<path d=\"M{} {}V{}\" stroke=\"{}\" stroke-width=\"4\"><title>rail {}</title></path>\n", x, from + 20, last + 9, color, r);
  }

  void bridges(const std::vector<int>& rows) {
    const GpuFabric& f = map_.fabric;
    const auto is_drawn = [&](int rank) {
      const int i = f.island_of[static_cast<std::size_t>(rank)];
      return i >= 0 && static_cast<std::size_t>(i) < rows.size() && static_cast<std::size_t>(f.rail_of[static_cast<std::size_t>(rank)]) < most_columns;
    };
    const auto at = [&](int rank) {
      return std::pair(x_of(static_cast<std::size_t>(f.rail_of[static_cast<std::size_t>(rank)])) + box_width - 10, rows[static_cast<std::size_t>(f.island_of[static_cast<std::size_t>(rank)])] + 9 + box_height / 2);
    };
    for (const Bridge& b : f.bridges) {
      if (!is_drawn(b.a) || !is_drawn(b.b)) continue;
      const auto [ax, ay] = at(b.a);
      const auto [bx, by] = at(b.b);
      put("<path d=\"M{} {}L{} {}\" stroke=\"#3b4654\" stroke-width=\"3\" stroke-dasharray=\"2 3\"><title>bridge between ranks {} and {}: {}</title></path>\n", ax, ay, bx, by, b.a, b.b, Map::bridge_text(b));
    }
  }

  void rest(const Map::Others& o) {
    text(margin + 12, y_ + 16, 13, "head", "in no island, " + o.what);
    y_ += 24;
    const int in_row = std::max(1, (width_ - 2 * margin) / column_width);
    const std::size_t drawn = std::min(o.ranks.size(), most_columns);
    for (std::size_t k = 0; k < drawn; ++k) box(o.ranks[k], margin + static_cast<int>(k) % in_row * column_width, y_ + static_cast<int>(k) / in_row * (box_height + 8), "other");
    y_ += (static_cast<int>(drawn) + in_row - 1) / in_row * (box_height + 8) + 6;
    if (drawn < o.ranks.size()) text(margin, y_ += 12, 12, "small", fmt::format("and {} more", o.ranks.size() - drawn));
  }

  void legend() {
    put("<g class=\"leader\"><rect x=\"{}\" y=\"{}\" width=\"18\" height=\"14\" rx=\"4\"/></g>\n", margin, y_ + 8);
    text(margin + 26, y_ += 20, 12, "small", "leads its island");
    text(margin + 150, y_, 12, "small", "row: joined by NVLink alone · column: a rail, joined by the NICs named");
    width_ = std::max(width_, margin + 150 + 560);
  }

  std::string title_;
  const Map map_;
  std::string out_, bands_;
  int width_ = 0, y_ = 0;
};

}  // namespace

std::string to_svg(const std::string& title, const GpuFabric& f, std::span<const GpuRecord> records) { return MapSvg(title, f, records).run(); }

}  // namespace libcoll::topo
