// A Scene as SVG: shapes and text at their places, no scripts, no fonts of its own.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <map>

#include "topology/draw_facts.hpp"
#include "topology/draw_scene.hpp"

namespace libcoll::topo {
namespace {

using namespace drawing;

// Light areas on a background of their own, so that the page behind may be dark.
constexpr const char* css = R"(
text{font-family:"DejaVu Sans",Verdana,"Segoe UI",Helvetica,Arial,sans-serif;fill:#1d2733}
.head{font-weight:bold}
.small{fill:#46525f}
.page{fill:#f6f7f9}
.host rect{fill:#ffffff;stroke:#aab4c0}
.package rect{fill:#eef1f5;stroke:#c6ced8}
.numa rect{fill:#ffffff;stroke:#c6ced8}
.l3 rect{fill:#f4f6f9;stroke:#d5dbe3}
.nvswitch rect{fill:#3b4654;stroke:#3b4654}
.nvswitch text{fill:#ffffff}
.demoted rect{fill:#f7f7f7;stroke:#b3261e;stroke-dasharray:6 3}
.unknown rect{fill:#f7f7f7;stroke:#7b8794;stroke-dasharray:2 3}
.gpu rect{fill:#ffffff}
.nic rect{fill:#ffffff;stroke:#8a95a3}
.rank rect{fill:#fff6d6;stroke:#b58f12}
.leader rect{fill:#ffd84d;stroke:#7a5c00;stroke-width:2}
.link path{fill:none;stroke-linejoin:round}
.link rect{fill:#ffffff}
.rail{stroke-width:2.5}
)";

int radius_of(BoxKind kind) {
  switch (kind) {
    case BoxKind::host: return 12;
    case BoxKind::rank:
    case BoxKind::leader: return 8;
    case BoxKind::l3: return 5;
    default: return 8;
  }
}

bool is_framed(BoxKind kind) {
  return kind != BoxKind::none && kind != BoxKind::title && kind != BoxKind::key && kind != BoxKind::note;
}

class SvgWriter {
 public:
  explicit SvgWriter(Scene s) : scene_(std::move(s)) {}

  std::string run() {
    index(scene_.root);
    const int w = scene_.root.w + 2 * scene_.root.x, h = scene_.root.h + 2 * scene_.root.y;
    put("<svg xmlns=\"http://www.w3.org/2000/svg\" "
        "width=\"{}\" height=\"{}\" viewBox=\"0 0 {} {}\" style=\"max-width:100%;height:auto\" role=\"graphics-document\" "
        "aria-labelledby=\"title desc\">\n",
        w, h, w, h);
    put("<title id=\"title\">{}</title>\n<desc id=\"desc\">{}</desc>\n", escape_xml(scene_.title), escape_xml(scene_.description));
    put("<style>{}</style>\n<rect class=\"page\" width=\"{}\" height=\"{}\"/>\n", css, w, h);
    box(scene_.root);
    for (const RailLine& l : scene_.rails) rail(l);
    // All lines, then all labels: a line is never drawn over a number.
    for (const LinkLine& l : scene_.links) link_path(l);
    for (const LinkLine& l : scene_.links) link_label(l);
    return std::move(out_) + "</svg>\n";
  }

 private:
  template <class... Args>
  void put(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }

  void index(const Box& b) {
    if (!b.id.empty()) at_[b.id] = &b;
    for (const Box& c : b.children) index(c);
  }

  void box(const Box& b) {
    if (b.kind == BoxKind::key)
      key(b);
    else if (b.kind != BoxKind::none)
      shape(b);
    for (const Box& c : b.children) box(c);
  }

  void shape(const Box& b) {
    put("<g class=\"{}\"", drawing::name_of(b.kind));
    if (!b.id.empty()) put(" id=\"{}\"", b.id);
    put(">");
    if (!b.tip.empty()) put("<title>{}</title>", escape_xml(b.tip));
    if (is_framed(b.kind))
      put("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{}\"{}/>", b.x, b.y, b.w, b.h, radius_of(b.kind),
          paint(b));
    stripe(b);
    lines(b);
    put("</g>\n");
  }

  static std::string paint(const Box& b) {
    if (b.kind == BoxKind::island)
      return fmt::format(" fill=\"{}\" stroke=\"{}\"", island_fill(b.color), island_ink(b.color));
    if (b.kind == BoxKind::gpu) return fmt::format(" stroke=\"{}\"", b.color < 0 ? "#7b8794" : island_ink(b.color));
    return "";
  }

  // The rails' colours: at a GPU's foot, at a NIC's head.
  void stripe(const Box& b) {
    const int n = static_cast<int>(std::min<std::size_t>(b.rails.size(), rail_colors));
    const int left = b.x + 8, width = b.w - 16, y = b.kind == BoxKind::gpu ? b.y + b.h - 6 : b.y + 3;
    for (int i = 0; i < n; ++i) {
      const int from = left + width * i / n, to = left + width * (i + 1) / n;
      put("<path d=\"M{} {}H{}\" stroke=\"{}\" stroke-width=\"3\"/>", from, y + 1, to, rail_color(b.rails[static_cast<std::size_t>(i)]));
    }
  }

  void lines(const Box& b) {
    const Style s = style_of(b.kind);
    const bool is_pill = b.kind == BoxKind::rank || b.kind == BoxKind::leader || b.kind == BoxKind::nvswitch;
    const int count = static_cast<int>(b.lines.size());
    int y = b.y + s.pad + (b.kind == BoxKind::nic ? 3 : 0);
    if (b.has_foot_text) y = b.y + b.h - s.pad - line_height(s.font_px) - (count - 1) * line_height(s.small_px);
    for (int i = 0; i < count; ++i) {
      const int px = i == 0 ? s.font_px : s.small_px;
      const int x = is_pill ? b.x + b.w / 2 : b.x + s.pad;
      put("<text x=\"{}\" y=\"{}\" font-size=\"{}\"{}{}>{}</text>", x, y + px, px,
          i > 0 ? " class=\"small\"" : s.has_bold_head ? " class=\"head\"" : "", is_pill ? " text-anchor=\"middle\"" : "",
          escape_xml(b.lines[static_cast<std::size_t>(i)]));
      y += line_height(px);
    }
  }

  void key(const Box& b) {
    const int y = b.y + 2, middle = y + 6;
    put("<g class=\"key\">");
    const Swatch& s = b.swatch;
    int text = b.x;
    if (s.is_line) {
      put("<path d=\"M{} {}H{}\" stroke=\"{}\" stroke-width=\"2\"/>", b.x, middle, b.x + 20,
          s.color < 0 ? "#3b4654" : island_ink(s.color));
    } else if (s.kind == BoxKind::nic) {
      put("<path d=\"M{} {}H{}\" stroke=\"{}\" stroke-width=\"5\"/>", b.x, middle, b.x + 20, rail_color(s.color));
    } else if (s.kind != BoxKind::none) {
      Box small{.kind = s.kind, .color = s.color};
      put("<g class=\"{}\"><rect x=\"{}\" y=\"{}\" width=\"20\" height=\"12\" rx=\"4\"{}/></g>", drawing::name_of(s.kind), b.x, y,
          paint(small));
    }
    if (s.is_line || s.kind != BoxKind::none) text += 26;
    put("<text x=\"{}\" y=\"{}\" font-size=\"11\">{}</text></g>\n", text, b.y + 11, escape_xml(b.lines.front()));
  }

  void rail(const RailLine& l) {
    const Box &gpu = *at_.at(l.gpu), &nic = *at_.at(l.nic);
    put("<path class=\"rail\" d=\"M{} {}V{}\" stroke=\"{}\"/>\n", gpu.x + gpu.w / 2, gpu.y + gpu.h, nic.y,
        l.rail < 0 ? "#8a95a3" : rail_color(l.rail));
  }

  static const char* ink_of(const LinkLine& l) { return l.island < 0 ? "#3b4654" : island_ink(l.island); }
  static int port_x(const Box& gpu, int port, int ports) { return gpu.x + gpu.w * (port + 1) / (ports + 1); }

  int track_y(const LinkLine& l) const {
    const Box& devices = *at_.at(devices_id(l.host));
    return devices.y + devices.head_room - track_margin / 2 - l.track * track_height - track_height / 2;
  }

  void link_path(const LinkLine& l) {
    const Box &a = *at_.at(l.from), &b = *at_.at(l.to);
    const double width = 1.2 + 0.5 * std::clamp(l.links, 1, 6);
    put("<g class=\"link\"><title>{}</title><path d=\"M{} {}V{}H{}V{}\" stroke=\"{}\" stroke-width=\"{:.1f}\"/></g>\n",
        escape_xml(l.tip), port_x(a, l.from_port, l.from_ports), a.y, track_y(l), port_x(b, l.to_port, l.to_ports), b.y,
        ink_of(l), width);
  }

  // On the track between two ports, as near its middle as other lines that cross it allow.
  int free_place(const LinkLine& label, int left, int right, int w) const {
    const int middle = (left + right) / 2, room = w / 2 + 4;
    std::vector<int> crossings;
    for (const LinkLine& l : scene_.links) {
      if (l.host != label.host || l.track <= label.track) continue;
      crossings.push_back(port_x(*at_.at(l.from), l.from_port, l.from_ports));
      crossings.push_back(port_x(*at_.at(l.to), l.to_port, l.to_ports));
    }
    for (int off = 0; middle - off >= left + room; off += 4)
      for (const int x : {middle - off, middle + off})
        if (std::none_of(crossings.begin(), crossings.end(), [&](int at) { return std::abs(at - x) < room; })) return x;
    return middle;
  }

  void link_label(const LinkLine& l) {
    const Box &a = *at_.at(l.from), &b = *at_.at(l.to);
    const int w = text_width(l.text, 10, false) + 8, y = track_y(l);
    const int middle = free_place(l, port_x(a, l.from_port, l.from_ports), port_x(b, l.to_port, l.to_ports), w);
    put("<g class=\"link\"><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"16\" rx=\"8\" stroke=\"{}\"/>",
        escape_xml(l.tip), middle - w / 2, y - 8, w, ink_of(l));
    put("<text x=\"{}\" y=\"{}\" font-size=\"10\" text-anchor=\"middle\">{}</text></g>\n", middle, y + 4, escape_xml(l.text));
  }

  const Scene scene_;
  std::string out_;
  std::map<std::string, const Box*> at_;
};

}  // namespace

std::string to_svg(const Picture& p) { return SvgWriter(make_scene(p)).run(); }
std::string to_svg(const std::string& title, const Hierarchy& h) { return SvgWriter(make_scene(title, h)).run(); }

}  // namespace libcoll::topo
