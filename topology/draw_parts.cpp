#include "topology/draw_parts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "topology/draw_facts.hpp"

namespace libcoll::topo::drawing {

void set_text(Box& b, const std::vector<std::string>& lines, int width) {
  const Style s = style_of(b.kind);
  std::string all;
  for (const std::string& line : lines) {
    const bool is_head = b.lines.empty();
    b.lines.push_back(fit(line, width, is_head ? s.font_px : s.small_px, is_head && s.has_bold_head));
    all += (all.empty() ? "" : "; ") + line;
  }
  if (b.tip.empty()) b.tip = std::move(all);
}

void add_ranks(Box& b, const std::vector<int>& ranks, const RankLook& look) {
  constexpr std::size_t most = 64;
  if (ranks.empty()) return;
  if (ranks.size() > most) {
    Box text{.kind = BoxKind::note};
    set_text(text, {rank_text(ranks)}, widest_part);
    b.children.push_back(std::move(text));
    return;
  }
  Box pills{.arrange = Arrange::grid, .gap = 4, .max_width = 224};
  for (const int r : ranks)
    pills.children.push_back({.kind = look.is_leader(r) ? BoxKind::leader : BoxKind::rank,
                              .id = fmt::format("r{}", r),
                              .tip = look.tip(r),
                              .lines = {std::to_string(r)},
                              .w = 24});
  b.children.push_back(std::move(pills));
}

int row_width(const Box& grid) {
  int w = 1, h = 1, best = 0;
  double least = 1e9;
  for (const Box& b : grid.children) w = std::max(w, b.w), h = std::max(h, b.h);
  const int n = static_cast<int>(grid.children.size());
  for (int columns = 1; columns <= n; ++columns) {
    const int rows = (n + columns - 1) / columns, width = columns * (w + grid.gap) - grid.gap;
    const double off = std::abs(std::log(static_cast<double>(width) / (rows * (h + grid.gap)) / 2.0));
    if (off < least) least = off, best = width;
  }
  return best;
}

Box title_box(const Scene& s, int width) {
  Box b{.kind = BoxKind::title, .lines = {fit(s.title, width, style_of(BoxKind::title).font_px, true)}};
  for (std::string& line : wrap(s.description, width, style_of(BoxKind::title).small_px, false))
    b.lines.push_back(std::move(line));
  return b;
}

Box notes_box(const std::vector<std::string>& texts, int width) {
  constexpr std::size_t most = 12;
  const int px = style_of(BoxKind::note).font_px;
  Box all{.gap = 2};
  for (std::size_t i = 0; i < std::min(texts.size(), most); ++i)
    all.children.push_back({.kind = BoxKind::note, .lines = wrap(texts[i], width, px, false)});
  if (texts.size() > most)
    all.children.push_back({.kind = BoxKind::note, .lines = {fmt::format("and {} more notes", texts.size() - most)}});
  return all;
}

void lay_out(Scene& s, std::vector<Box> parts) {
  constexpr int margin = 20;
  s.root = {.gap = 16, .children = std::move(parts)};
  measure(s.root);
  place(s.root, margin, margin, s.root.w, s.root.h);
}

}  // namespace libcoll::topo::drawing
