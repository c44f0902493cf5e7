#include "topology/draw_layout.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace libcoll::topo::drawing {
namespace {

constexpr std::array kind_names{"none", "title", "host", "package", "numa", "l3", "nvswitch", "island",
                                "demoted", "unknown", "gpu", "nic", "rank", "leader", "key", "note"};
constexpr int swatch_width = 26;

int text_height(const Box& b) {
  const Style s = style_of(b.kind);
  int h = 0;
  for (std::size_t i = 0; i < b.lines.size(); ++i) h += line_height(i == 0 ? s.font_px : s.small_px);
  return h;
}

int text_width_of(const Box& b) {
  const Style s = style_of(b.kind);
  int w = 0;
  for (std::size_t i = 0; i < b.lines.size(); ++i)
    w = std::max(w, text_width(b.lines[i], i == 0 ? s.font_px : s.small_px, i == 0 && s.has_bold_head));
  return w + (b.kind == BoxKind::key ? swatch_width : 0);
}

struct Size {
  int w = 0, h = 0;
};

Size widest(const Box& b) {
  Size s;
  for (const Box& c : b.children) s = {std::max(s.w, c.w), std::max(s.h, c.h)};
  return s;
}

// The children in rows: the index behind each row's last.
std::vector<std::size_t> rows_of(const Box& b) {
  std::vector<std::size_t> ends;
  std::size_t n = b.children.size();
  if (b.arrange == Arrange::stack || b.columns > 0) {
    const std::size_t step = b.arrange == Arrange::stack ? 1 : static_cast<std::size_t>(b.columns);
    for (std::size_t i = 0; i < n; i += step) ends.push_back(std::min(i + step, n));
    return ends;
  }
  int w = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (w > 0 && b.max_width > 0 && w + b.gap + b.children[i].w > b.max_width) {
      ends.push_back(i);
      w = 0;
    }
    w += (w > 0 ? b.gap : 0) + b.children[i].w;
  }
  if (n > 0) ends.push_back(n);
  return ends;
}

// As many columns as fit, evened out: five in rows of four become three and two.
int columns_of(const Box& b) {
  const int n = static_cast<int>(b.children.size()), w = std::max(widest(b).w, 1);
  if (n == 0) return 0;
  const int most = b.max_width == 0 ? n : std::clamp((b.max_width + b.gap) / (w + b.gap), 1, n);
  const int rows = (n + most - 1) / most;
  return (n + rows - 1) / rows;
}

int row_gap_of(const Box& b) { return b.row_gap > 0 ? b.row_gap : b.gap; }

Size children_size(const Box& b) {
  Size s;
  std::size_t i = 0;
  for (const std::size_t end : rows_of(b)) {
    Size row;
    const int column = b.columns > 0 ? widest(b).w : 0;
    for (std::size_t k = i; k < end; ++k) {
      row.w += (k > i ? b.gap : 0) + std::max(column, b.children[k].w);
      row.h = std::max(row.h, b.children[k].h);
    }
    s.w = std::max(s.w, row.w);
    s.h += (i > 0 ? row_gap_of(b) : 0) + row.h;
    i = end;
  }
  return s;
}

int gap_below_text(const Box& b) { return !b.lines.empty() && !b.children.empty() ? 6 : 0; }

}  // namespace

const char* name_of(BoxKind kind) noexcept { return kind_names[static_cast<std::size_t>(kind)]; }

Style style_of(BoxKind kind) noexcept {
  switch (kind) {
    case BoxKind::none: return {12, 11, 0, false};
    case BoxKind::title: return {20, 12, 0, true};
    case BoxKind::host: return {14, 11, 12, true};
    case BoxKind::rank:
    case BoxKind::leader: return {10, 10, 4, false};
    case BoxKind::key:
    case BoxKind::note: return {11, 11, 0, false};
    case BoxKind::nic: return {11, 10, 8, true};
    default: return {12, 10, 8, true};
  }
}

// After DejaVu Sans and Verdana, the widest of the fonts that viewers fall back to.
int text_width(std::string_view text, int font_px, bool is_bold) {
  long long thousandths = 0;
  for (const char ch : text) {
    const auto c = static_cast<unsigned char>(ch);
    if ((c & 0xc0) == 0x80) continue;  // the rest of a character
    const auto is_in = [&](std::string_view set) { return set.find(ch) != std::string_view::npos; };
    thousandths += c >= 0x80           ? 840
                   : is_in("ijlI'|")   ? 340
                   : is_in("mwMW@%&")  ? 1000
                   : is_in(" .,:;!/\\ftr()[]-`") ? 420
                   : c >= 'A' && c <= 'Z' ? 770
                                          : 650;
  }
  const long long px = (thousandths * font_px * (is_bold ? 110 : 100) + 99999) / 100000;
  return static_cast<int>(std::min(px, 1LL << 30));  // names from files may be of any length
}

int line_height(int font_px) noexcept { return font_px + 5; }

std::string fit(std::string_view text, int width, int font_px, bool is_bold) {
  if (text_width(text, font_px, is_bold) <= width) return std::string(text);
  // No character is narrower than a pixel.
  for (std::size_t keep = std::min(text.size(), static_cast<std::size_t>(std::max(width, 0))); keep > 0;) {
    do --keep;
    while (keep > 0 && (static_cast<unsigned char>(text[keep]) & 0xc0) == 0x80);
    std::string cut = std::string(text.substr(0, keep)) + "...";
    if (text_width(cut, font_px, is_bold) <= width) return cut;
  }
  return "...";
}

std::vector<std::string> wrap(std::string_view text, int width, int font_px, bool is_bold) {
  std::vector<std::string> lines;
  std::string line;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string word = fit(text.substr(0, end), width, font_px, is_bold);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && text_width(line + " " + word, font_px, is_bold) > width) {
      lines.push_back(std::move(line));
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  if (!line.empty()) lines.push_back(std::move(line));
  return lines;
}

void measure(Box& b) {
  for (Box& c : b.children) measure(c);
  if (b.arrange == Arrange::grid) b.columns = columns_of(b);
  const Size inside = children_size(b);
  const int pad = style_of(b.kind).pad;
  b.w = std::max({b.w, inside.w + 2 * pad, text_width_of(b) + 2 * pad});
  b.h = std::max(b.h, b.head_room + inside.h + text_height(b) + gap_below_text(b) + 2 * pad);
}

void place(Box& b, int x, int y, int w, int h) {
  b.x = x, b.y = y, b.w = w, b.h = h;
  const int pad = style_of(b.kind).pad, room = w - 2 * pad;
  int top = y + pad + b.head_room + (b.has_foot_text ? 0 : text_height(b) + gap_below_text(b));
  const int column = b.columns > 0 ? std::max(widest(b).w, (room - b.gap * (b.columns - 1)) / b.columns) : 0;
  // Boxes that are not wider than they need to be stay so: ranks and hosts.
  const bool may_widen = b.is_stretched || b.kind != BoxKind::none;
  std::size_t i = 0;
  for (const std::size_t end : rows_of(b)) {
    int left = x + pad, height = 0;
    for (std::size_t k = i; k < end; ++k) height = std::max(height, b.children[k].h);
    for (std::size_t k = i; k < end; ++k) {
      Box& c = b.children[k];
      int width = c.w, tall = height;
      if (b.columns > 0) width = may_widen ? column : widest(b).w;
      if (b.arrange == Arrange::stack && c.is_stretched) width = room;
      if (b.arrange == Arrange::flow && c.kind == BoxKind::none) tall = c.h;
      place(c, left, top, width, tall);
      left += width + b.gap;
    }
    top += height + row_gap_of(b);
    i = end;
  }
}

}  // namespace libcoll::topo::drawing
