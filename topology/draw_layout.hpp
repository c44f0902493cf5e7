// Boxes in boxes: what an SVG picture is made of, and where each goes. Text is measured by a table of
// widths, on the wide side, as the font that a viewer has is not known here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace libcoll::topo::drawing {

// stack: below each other; flow: side by side, in rows of at most max_width; grid: rows of equal columns.
enum class Arrange { stack, flow, grid };

enum class BoxKind {
  none,  // arranges others and is not drawn
  title,
  host,
  package,
  numa,
  l3,
  nvswitch,
  island,
  demoted,
  unknown,
  gpu,
  nic,
  rank,
  leader,
  key,  // of the legend
  note
};
const char* name_of(BoxKind) noexcept;

struct Style {
  int font_px;        // of the first line
  int small_px;       // of the others
  int pad;            // between the border and what is inside
  bool has_bold_head;
};
Style style_of(BoxKind) noexcept;

// What a key of the legend shows: a box of that kind, or a line.
struct Swatch {
  BoxKind kind = BoxKind::none;
  int color = -1;  // a rail's, else an island's
  bool is_line = false;
};

struct Box {
  BoxKind kind = BoxKind::none;
  std::string id = {}, tip = {};
  std::vector<std::string> lines = {};  // plain text, not escaped
  int color = -1;                       // island
  std::vector<int> rails = {};          // gpu, nic
  Swatch swatch = {};                   // key
  Arrange arrange = Arrange::stack;
  int gap = 8;
  int row_gap = 0;              // between rows, 0 = as between boxes
  int max_width = 0;            // flow and grid: of a row, 0 = any
  int head_room = 0;            // kept free above the children
  bool has_foot_text = false;   // its lines are below the children, out of the way of lines from above
  bool is_stretched = false;    // as wide as the stack it is in
  std::vector<Box> children = {};
  int x = 0, y = 0, w = 0, h = 0;
  int columns = 0;  // grid
};

// Pixels, rounded up.
int text_width(std::string_view, int font_px, bool is_bold);
int line_height(int font_px) noexcept;
// Cut with "..." so that it is at most that wide.
std::string fit(std::string_view, int width, int font_px, bool is_bold);

// Broken between words.
std::vector<std::string> wrap(std::string_view, int width, int font_px, bool is_bold);

// Sets w and h, of the children first.
void measure(Box&);
// Sets x and y, and widens what is stretched. Measure before.
void place(Box&, int x, int y, int w, int h);

}  // namespace libcoll::topo::drawing
