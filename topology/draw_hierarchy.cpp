// A bare Hierarchy: groups in groups, ranks in the narrowest.
#include <fmt/format.h>

#include <set>

#include "topology/describe.hpp"
#include "topology/draw_dot.hpp"
#include "topology/draw_facts.hpp"
#include "topology/draw_parts.hpp"
#include "topology/text_tree.hpp"

namespace libcoll::topo::drawing {
namespace {

constexpr std::size_t max_groups = static_cast<std::size_t>(max_hosts_drawn);  // in one group

std::string description_of(const Hierarchy& h) {
  std::string s = plural(h.size, "rank", "ranks") + " in groups:";
  for (std::size_t i = h.levels.size(); i-- > 0;)
    s += fmt::format("{} {}", i + 1 == h.levels.size() ? "" : ",", libcoll::name_of(h.levels[i].level));
  return s;
}

Box box_of(const GroupBox& g, const std::string& id, int depth, const RankLook& look) {
  constexpr BoxKind kinds[] = {BoxKind::host, BoxKind::package, BoxKind::numa, BoxKind::l3};
  Box b{.kind = kinds[depth % 4], .id = id, .tip = g.tip};
  set_text(b, {g.text}, 2 * widest_part);
  Box inside{.arrange = Arrange::grid, .is_stretched = true};
  for (std::size_t i = 0; i < std::min(g.inside.size(), max_groups); ++i)
    inside.children.push_back(box_of(g.inside[i], fmt::format("{}g{}", id, i), depth + 1, look));
  if (!inside.children.empty()) {
    for (Box& c : inside.children) measure(c);
    inside.max_width = row_width(inside);
    b.children.push_back(std::move(inside));
  }
  if (g.inside.size() > max_groups) {
    Box more{.kind = BoxKind::note};
    set_text(more, {fmt::format("and {} more groups", g.inside.size() - max_groups)}, widest_part);
    b.children.push_back(std::move(more));
  }
  add_ranks(b, g.ranks, look);
  return b;
}

struct DotGroups {
  std::string text;
  const std::set<int>& leaders;

  void add(const GroupBox& g, const std::string& id, int depth) {
    const std::string indent(static_cast<std::size_t>(2 * depth + 2), ' ');
    text += fmt::format("{}subgraph \"cluster_{}\" {{\n{}  label={}; tooltip={};\n", indent, id, indent, dot_string(g.text),
                        dot_string(g.tip));
    for (std::size_t i = 0; i < std::min(g.inside.size(), max_groups); ++i)
      add(g.inside[i], fmt::format("{}g{}", id, i), depth + 1);
    if (g.inside.size() > max_groups)
      text += fmt::format("{}  \"{}more\" [label={}, shape=plaintext];\n", indent, id,
                          dot_string(fmt::format("and {} more groups", g.inside.size() - max_groups)));
    for (const int r : g.ranks)
      text += fmt::format("{}  \"r{}\" [label=\"{}\", shape=circle{}];\n", indent, r, r,
                          leaders.contains(r) ? ", penwidth=3" : "");
    text += indent + "}\n";
  }
};

}  // namespace

Scene make_scene(const std::string& title, const Hierarchy& h) {
  const std::set<int> leaders = leaders_of(h);
  const RankLook look{[&](int r) { return leaders.contains(r); },
                      [&](int r) { return fmt::format("rank {}{}", r, leaders.contains(r) ? "; leads a group" : ""); }};
  Scene s;
  s.title = clean(title);
  s.description = description_of(h);
  Box world = box_of(nest(h), "g", 0, look);
  measure(world);
  const int width = std::max(world.w, least_page_width);
  Box keys{.arrange = Arrange::flow, .gap = 18};
  keys.children.push_back({.kind = BoxKind::key, .lines = {"rank"}, .swatch = {BoxKind::rank}});
  keys.children.push_back({.kind = BoxKind::key, .lines = {"rank that leads a group"}, .swatch = {BoxKind::leader}});
  std::vector<Box> parts;
  parts.push_back(title_box(s, width));
  parts.push_back(std::move(world));
  parts.push_back(std::move(keys));
  parts.push_back(notes_box(level_texts(h), width));
  lay_out(s, std::move(parts));
  return s;
}

}  // namespace libcoll::topo::drawing

namespace libcoll::topo {

std::string to_dot(const std::string& title, const Hierarchy& h) {
  using namespace drawing;
  const std::set<int> leaders = leaders_of(h);
  DotGroups groups{{}, leaders};
  groups.add(nest(h), "g", 0);
  return dot_head(clean(title) + "\n" + description_of(h)) + groups.text + "}\n";
}

}  // namespace libcoll::topo
