// Parts of pages that machines and bare hierarchies share.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "topology/draw_scene.hpp"

namespace libcoll::topo::drawing {

inline constexpr int least_page_width = 600, widest_part = 230;

// Text that fits, and all of it in the tip unless that is set.
void set_text(Box&, const std::vector<std::string>& lines, int width);
struct RankLook {
  std::function<bool(int)> is_leader;
  std::function<std::string(int)> tip;
};
// Adds ranks one by one, or as text where they are too many.
void add_ranks(Box&, const std::vector<int>& ranks, const RankLook&);
// Of a grid whose boxes are measured: rows with which they are about twice as wide as high.
int row_width(const Box& grid);
Box title_box(const Scene&, int width);
Box notes_box(const std::vector<std::string>& texts, int width);
// The page: the parts below each other, with a margin.
void lay_out(Scene&, std::vector<Box> parts);

}  // namespace libcoll::topo::drawing
