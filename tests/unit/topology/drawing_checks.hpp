// What holds for every picture: read back from its text, not from what made it.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <charconv>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "topology/draw.hpp"
#include "topology/draw_layout.hpp"
#include "topology/xml_tree.hpp"

namespace libcoll::topo {

struct Area {
  int x = 0, y = 0, w = 0, h = 0;
  bool holds(const Area& o) const { return x <= o.x && y <= o.y && o.x + o.w <= x + w && o.y + o.h <= y + h; }
  bool meets(const Area& o) const { return x < o.x + o.w && o.x < x + w && y < o.y + o.h && o.y < y + h; }
};

struct Shape {
  std::string kind, id, tip;
  Area box;
};
struct Label {
  std::string text;
  Area box;
};
struct ReadSvg {
  Area page;
  std::vector<Shape> shapes;  // with a frame
  std::vector<Label> labels;
  std::map<std::string, int> ids;

  int count(const std::string& kind) const {
    int n = 0;
    for (const Shape& s : shapes) n += s.kind == kind && !s.id.empty();
    return n;
  }
  bool says(const std::string& text) const {
    for (const Label& l : labels)
      if (l.text.find(text) != std::string::npos) return true;
    return false;
  }
};

inline int number_of(const XmlElement& e, const char* attribute) {
  const std::string text = e.get(attribute);
  int n = -1;
  std::from_chars(text.data(), text.data() + text.size(), n);
  EXPECT_GE(n, 0) << e.name << " " << attribute << "=" << text;
  return n;
}

inline void read_group(const XmlElement& g, ReadSvg& out) {
  Shape s{g.get("class"), g.get("id"), {}, {}};
  if (!s.id.empty()) ++out.ids[s.id];
  bool is_framed = false;
  Area frame;
  for (const XmlElement& e : g.children) {
    if (e.name == "title") s.tip = e.text;
    if (e.name == "g") read_group(e, out);
    if (e.name == "rect") {
      frame = {number_of(e, "x"), number_of(e, "y"), number_of(e, "width"), number_of(e, "height")};
      is_framed = true;
    }
    if (e.name != "text") continue;
    const int px = number_of(e, "font-size"), width = drawing::text_width(e.text, px, e.get("class") == "head");
    const int x = number_of(e, "x") - (e.get("text-anchor") == "middle" ? width / 2 : 0);
    out.labels.push_back({e.text, {x, number_of(e, "y") - px, width, px + 2}});
    if (is_framed && !frame.holds(out.labels.back().box)) ADD_FAILURE() << e.text << " leaves its box " << s.id;
  }
  s.box = frame;
  if (is_framed) out.shapes.push_back(std::move(s));
}

// Fails the test if the text is no SVG, or if anything in it is on top of something else.
inline ReadSvg read_svg(const std::string& text) {
  ReadSvg svg;
  const auto root = parse_xml(text);
  EXPECT_TRUE(root) << root.error().text;
  if (!root) return svg;
  EXPECT_EQ(root->name, "svg");
  svg.page = {0, 0, number_of(*root, "width"), number_of(*root, "height")};
  EXPECT_EQ(root->get("viewBox"), fmt::format("0 0 {} {}", svg.page.w, svg.page.h));
  for (const XmlElement& e : root->children) {
    EXPECT_NE(e.name, "script");
    if (e.name == "g") read_group(e, svg);
  }
  for (const auto& [id, times] : svg.ids) EXPECT_EQ(times, 1) << id;
  const std::set<std::string> leaves{"gpu", "nic", "nvswitch", "rank", "leader", "link"};
  for (std::size_t i = 0; i < svg.shapes.size(); ++i) {
    const Shape& a = svg.shapes[i];
    EXPECT_TRUE(svg.page.holds(a.box)) << a.id;
    for (std::size_t k = 0; k < i; ++k) {
      const Shape& b = svg.shapes[k];
      if (!a.box.meets(b.box)) continue;
      const bool is_nested = (a.box.holds(b.box) && !leaves.contains(a.kind)) || (b.box.holds(a.box) && !leaves.contains(b.kind));
      if (!is_nested) ADD_FAILURE() << a.kind << " " << a.id << " overlaps " << b.kind << " " << b.id;
    }
  }
  for (std::size_t i = 0; i < svg.labels.size(); ++i) {
    const Label& l = svg.labels[i];
    EXPECT_TRUE(svg.page.holds(l.box)) << l.text;
    for (std::size_t k = 0; k < i; ++k)
      if (l.box.meets(svg.labels[k].box)) ADD_FAILURE() << "\"" << l.text << "\" overlaps \"" << svg.labels[k].text << "\"";
    for (const Shape& s : svg.shapes)
      if (s.box.meets(l.box) && !s.box.holds(l.box)) ADD_FAILURE() << "\"" << l.text << "\" runs into " << s.kind << " " << s.id;
  }
  return svg;
}

struct ReadDot {
  std::set<std::string> nodes, clusters;
  std::vector<std::pair<std::string, std::string>> edges;
  std::string rest;  // what is outside of quotes
};

// Fails the test if quotes or braces do not balance, or if an edge names a node that is not there.
inline ReadDot read_dot(const std::string& text) {
  std::vector<std::string> tokens;  // quoted ones begin with a quote
  ReadDot dot;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '"') {
      if (text[i] != ' ' && text[i] != '\n') tokens.emplace_back(1, text[i]);
      dot.rest += text[i];
      continue;
    }
    std::string quoted = "\"";
    for (++i; i < text.size() && text[i] != '"'; ++i) {
      if (text[i] == '\\') quoted += text[i++];
      if (i < text.size()) quoted += text[i];
    }
    EXPECT_LT(i, text.size()) << "a quote without its end: " << quoted;
    tokens.push_back(std::move(quoted));
  }
  int depth = 0, brackets = 0;
  const auto is = [&](std::size_t i, const char* token) { return i < tokens.size() && tokens[i] == token; };
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    depth += is(i, "{") - is(i, "}");
    brackets += is(i, "[") - is(i, "]");
    EXPECT_GE(depth, 0);
    if (brackets != 0 || tokens[i][0] != '"') continue;
    const bool is_edge_end = i >= 2 && is(i - 1, "-") && is(i - 2, "-");
    if (is(i + 1, "[") && !is_edge_end && !dot.nodes.insert(tokens[i]).second) ADD_FAILURE() << tokens[i] << " twice";
    if (is(i + 1, "-") && is(i + 2, "-") && i + 3 < tokens.size()) dot.edges.emplace_back(tokens[i], tokens[i + 3]);
    if (is(i + 1, "{") && tokens[i].starts_with("\"cluster_") && !dot.clusters.insert(tokens[i]).second)
      ADD_FAILURE() << tokens[i] << " twice";
  }
  EXPECT_EQ(depth, 0);
  EXPECT_EQ(brackets, 0);
  for (const auto& [from, to] : dot.edges)
    for (const std::string& end : {from, to}) EXPECT_TRUE(dot.nodes.contains(end)) << end << " is an edge's end and no node";
  return dot;
}

}  // namespace libcoll::topo
