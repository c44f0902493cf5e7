#include "topology/draw_scene.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "topology/draw_links.hpp"
#include "topology/draw_facts.hpp"
#include "topology/draw_parts.hpp"

namespace libcoll::topo::drawing {
namespace {

constexpr int widest_gpu = 150, widest_package = 300;
constexpr std::size_t max_bridged_gpus = 64;  // in one row, so that lines can join them

class SceneMaker {
 public:
  explicit SceneMaker(const Picture& p) : facts_(p), room_(p.machines.size() == 1 ? 1280 : 900) {
    for (int h = 0; h < facts_.drawn_hosts(); ++h) {
      // About as many rows as columns where a host has hundreds.
      room_ = std::max(room_, static_cast<int>(std::sqrt(facts_.host(h).gpus.size()) * 120));
      for (const int g : facts_.host(h).gpus) {
        const int lines = static_cast<int>(gpu_lines(g).size());
        gpu_lines_ = std::max(gpu_lines_, lines);
        for (int i = 0; i < lines; ++i) grow_gpu(BoxKind::gpu, gpu_lines(g)[static_cast<std::size_t>(i)], i == 0);
        if (const int nic = p.rails.nic_of[static_cast<std::size_t>(g)].nic; nic >= 0) {
          grow_gpu(BoxKind::nic, facts_.nic_name(h, nic), true);
          grow_gpu(BoxKind::nic, facts_.nic_detail(h, nic), false);
          if (!facts_.nic_detail(h, nic).empty()) nic_lines_ = 2;
        }
      }
    }
    gpu_width_ = std::min(gpu_width_, widest_gpu);
  }

  Scene run();

 private:
  void grow_gpu(BoxKind kind, const std::string& text, bool is_head) {
    const Style s = style_of(kind);
    const int px = is_head ? s.font_px : s.small_px;
    gpu_width_ = std::max(gpu_width_, text_width(text, px, is_head && s.has_bold_head) + 2 * s.pad);
  }
  std::vector<std::string> gpu_lines(int g) const {
    std::vector<std::string> lines{facts_.gpu_text(g)};
    for (std::string line : {facts_.gpu_ranks(g), facts_.gpu_place(g), facts_.cpu_link_text(g)})
      if (!line.empty()) lines.push_back(std::move(line));
    return lines;
  }
  int height_of(BoxKind kind, int lines) const {
    const Style s = style_of(kind);
    return 2 * s.pad + line_height(s.font_px) + (lines - 1) * line_height(s.small_px) + 4;  // and the rail's stripe
  }

  Box host(int h);
  Box part(int h, int node, int room);
  void add_ranks_of(Box&, int h, const std::vector<int>& homes);
  Box devices(int h);
  Box area(int h, const Facts::Area&, int room);
  Box gpu(int g) const;
  Box nic(int h, int node, bool is_loose) const;
  Box legend(int width) const;
  Box notes(int width) const;

  const Facts facts_;
  int room_;  // that a host may take
  int gpu_width_ = 84, gpu_lines_ = 1, nic_lines_ = 1;
  Scene scene_;
};

void SceneMaker::add_ranks_of(Box& b, int h, const std::vector<int>& homes) {
  std::vector<int> ranks;
  for (const int n : homes)
    if (const auto at = facts_.host(h).ranks.find(n); at != facts_.host(h).ranks.end())
      ranks.insert(ranks.end(), at->second.begin(), at->second.end());
  std::sort(ranks.begin(), ranks.end());
  if (homes.front() == 0 && !ranks.empty()) b.children.push_back({.kind = BoxKind::note, .lines = {"on any of its CPUs:"}});
  add_ranks(b, ranks,
            {[&](int r) { return facts_.is_leader(r); }, [&](int r) { return facts_.rank_tip(r); }});
}

// A package, NUMA node or cache with what is in it. Its cores are two lines of text, however many.
Box SceneMaker::part(int h, int index, int room) {
  const Node& n = facts_.node(h, index);
  Box b{.kind = n.kind == NodeKind::package ? BoxKind::package : n.kind == NodeKind::numa ? BoxKind::numa : BoxKind::l3,
        .id = facts_.id(h, index)};
  std::vector<std::string> lines = facts_.part_lines(h, index);
  for (std::string& line : facts_.core_lines(h, index)) lines.push_back(std::move(line));
  set_text(b, lines, n.kind == NodeKind::package ? widest_package : widest_part);
  Box inside{.arrange = Arrange::grid, .max_width = room, .is_stretched = true};
  std::vector<int> homes{index};
  const std::vector<int>& below = facts_.host(h).children[static_cast<std::size_t>(index)];
  const auto count = static_cast<int>(std::count_if(
      below.begin(), below.end(), [&](int c) { return facts_.node(h, c).kind != NodeKind::core; }));
  for (const int c : below) {
    if (facts_.node(h, c).kind == NodeKind::core) homes.push_back(c);
    else inside.children.push_back(part(h, c, std::max(widest_part, room / std::clamp(count, 1, 2) - 24)));
  }
  if (!inside.children.empty()) b.children.push_back(std::move(inside));
  add_ranks_of(b, h, homes);
  return b;
}

Box SceneMaker::gpu(int g) const {
  const BoxKind kind = BoxKind::gpu;
  Box b{.kind = kind,
        .id = facts_.id(facts_.ref(g).host, facts_.ref(g).node),
        .tip = facts_.gpu_tip(g),
        .color = facts_.island_of(g),
        .rails = facts_.rails_of_gpu(g),
        .w = gpu_width_,
        .h = height_of(kind, gpu_lines_)};
  set_text(b, gpu_lines(g), gpu_width_ - 2 * style_of(kind).pad);
  return b;
}

// A loose one is not below its GPUs and names them.
Box SceneMaker::nic(int h, int node, bool is_loose) const {
  Box b{.kind = BoxKind::nic,
        .id = facts_.id(h, node),
        .tip = facts_.nic_tip(h, node),
        .rails = facts_.rails_of_nic(h, node),
        .is_stretched = true,
        .w = gpu_width_,
        .h = height_of(BoxKind::nic, nic_lines_)};
  std::vector<std::string> lines{facts_.nic_name(h, node)};
  if (const std::string detail = facts_.nic_detail(h, node); !detail.empty()) lines.push_back(detail);
  if (std::string users = facts_.nic_users(h, node); is_loose && !users.empty()) lines.push_back(std::move(users));
  set_text(b, lines, gpu_width_ - 2 * style_of(BoxKind::nic).pad);
  return b;
}

// GPUs of an island on this host. A NIC is below its GPUs if they are next to each other.
Box SceneMaker::area(int h, const Facts::Area& a, int room) {
  Box b{.kind = a.state == GpuState::in_island ? BoxKind::island
                : a.state == GpuState::demoted ? BoxKind::demoted
                                               : BoxKind::unknown,
        .color = a.island};
  b.id = b.kind == BoxKind::island ? fmt::format("h{}i{}", h, a.island) : fmt::format("h{}{}", h, name_of(b.kind));
  const auto nic_of = [&](std::size_t i) {
    return facts_.picture.rails.nic_of[static_cast<std::size_t>(a.gpus[i])].nic;
  };
  constexpr std::size_t most_above_a_nic = 8;
  Box units{.arrange = Arrange::grid, .max_width = room};
  for (std::size_t i = 0; i < a.gpus.size();) {
    const int below = nic_of(i);
    std::size_t end = i + 1;
    while (end < a.gpus.size() && below >= 0 && nic_of(end) == below) ++end;
    const std::size_t count = end - i;
    const bool has_nic = below >= 0 && facts_.host(h).users.at(below).size() == count && count <= most_above_a_nic;
    if (!has_nic) end = i + 1;
    // Units of one GPU each are rows of equal length.
    if (end - i > 1) units.arrange = Arrange::flow;
    Box row{.arrange = Arrange::flow}, unit{.gap = 10};
    for (; i < end; ++i) {
      row.children.push_back(gpu(a.gpus[i]));
      const std::vector<int> rails = facts_.rails_of_gpu(a.gpus[i]);
      if (has_nic)
        scene_.rails.push_back({row.children.back().id, facts_.id(h, below), rails.empty() ? -1 : rails[0]});
    }
    unit.children.push_back(std::move(row));
    if (has_nic) unit.children.push_back(nic(h, below, false));
    units.children.push_back(std::move(unit));
  }
  const int columns = std::min(static_cast<int>(a.gpus.size()), 8);
  set_text(b, facts_.area_lines(a), columns * (gpu_width_ + 8) - 8);
  b.children.push_back(std::move(units));
  return b;
}

Box SceneMaker::devices(int h) {
  Box all{.arrange = Arrange::flow, .gap = 12, .max_width = room_};
  all.id = devices_id(h);
  const std::vector<Facts::Area> areas = facts_.areas(h);
  std::vector<Bridge> links = facts_.bridges(h);
  for (const Bridge& l : facts_.uneven_links(h)) links.push_back(l);
  const bool has_lines = !links.empty() && links.size() <= max_lines_drawn &&
                         facts_.host(h).gpus.size() <= max_bridged_gpus;
  std::vector<int> order;
  for (const Facts::Area& a : areas) {
    order.insert(order.end(), a.gpus.begin(), a.gpus.end());
    Box box = area(h, a, has_lines ? 0 : room_ - 2 * style_of(BoxKind::island).pad);
    box.has_foot_text = has_lines;
    all.children.push_back(std::move(box));
  }
  if (!has_lines) return all;
  all.max_width = 0;
  std::vector<LinkLine> lines = route_links(facts_, h, order, links);
  all.head_room = track_count(lines) * track_height + track_margin;
  std::move(lines.begin(), lines.end(), std::back_inserter(scene_.links));
  return all;
}

Box SceneMaker::host(int h) {
  Box b{.kind = BoxKind::host, .id = fmt::format("h{}", h), .gap = 12};
  set_text(b, {facts_.host_text(h)}, 420);
  if (facts_.machine(h).nodes.empty()) return b;
  Box cpus{.arrange = Arrange::grid, .max_width = room_, .is_stretched = true};
  const std::vector<int>& top = facts_.host(h).children[0];
  const int room = room_ / std::clamp(static_cast<int>(top.size()), 1, 2) - 24;
  for (const int n : top) cpus.children.push_back(part(h, n, room));
  if (!cpus.children.empty()) b.children.push_back(std::move(cpus));
  add_ranks_of(b, h, {0});
  if (!facts_.host(h).nvswitches.empty()) {
    Box bar{.kind = BoxKind::nvswitch, .id = fmt::format("h{}nvswitches", h), .is_stretched = true};
    set_text(bar, {facts_.nvswitch_text(h)}, 300);
    b.children.push_back(std::move(bar));
  }
  const std::size_t first_rail = scene_.rails.size();
  if (!facts_.host(h).gpus.empty()) b.children.push_back(devices(h));
  if (const std::size_t n = facts_.bridges(h).size(); n > 0 && b.children.back().head_room == 0) {
    Box text{.kind = BoxKind::note};
    set_text(text, {fmt::format("{} bridges, too many to draw", n)}, 400);
    b.children.push_back(std::move(text));
  }
  std::set<std::string> placed;
  for (std::size_t i = first_rail; i < scene_.rails.size(); ++i) placed.insert(scene_.rails[i].nic);
  Box loose{.arrange = Arrange::flow, .max_width = room_};
  for (const int n : facts_.host(h).nics)
    if (!placed.contains(facts_.id(h, n))) loose.children.push_back(nic(h, n, true));
  if (!loose.children.empty()) b.children.push_back(std::move(loose));
  return b;
}

Box SceneMaker::legend(int width) const {
  Box all{.arrange = Arrange::flow, .gap = 18, .row_gap = 6, .max_width = width};
  const auto add = [&](const std::string& text, Swatch swatch) {
    all.children.push_back({.kind = BoxKind::key, .lines = {text}, .swatch = swatch});
  };
  const Islands& islands = facts_.picture.islands;
  if (!islands.islands.empty()) add("island: GPUs joined by NVLink or xGMI", {BoxKind::island, 0});
  if (!islands.bridges.empty()) add("bridge between islands and its links", {.is_line = true});
  const auto inner = std::find_if(scene_.links.begin(), scene_.links.end(), [](const LinkLine& l) { return l.island >= 0; });
  if (inner != scene_.links.end())
    add("link inside an island where they are uneven", {.color = inner->island, .is_line = true});
  if (!islands.demoted.empty()) add("demoted: fewer links than siblings", {BoxKind::demoted});
  if (!islands.unknown.empty()) add("NVLinks not told", {BoxKind::unknown});
  const int rails = static_cast<int>(facts_.picture.rails.rails.size());
  for (int r = 0; r < std::min(rails, rail_colors); ++r) add(fmt::format("rail {}", r), {BoxKind::nic, r});
  if (rails > rail_colors) add(fmt::format("and so on up to rail {}", rails - 1), {});
  if (facts_.picture.fabric != nullptr) add("rank", {BoxKind::rank});
  if (facts_.picture.hierarchy != nullptr) add("rank that leads a group", {BoxKind::leader});
  const std::vector<NicChoice>& nics = facts_.picture.rails.nic_of;
  if (std::any_of(nics.begin(), nics.end(), [](const NicChoice& c) { return c.nic >= 0; }))
    add("to the NIC: PIX one PCIe switch, PXB several, PHB one host bridge, NODE one NUMA node, SYS farther", {});
  return all;
}

Box SceneMaker::notes(int width) const {
  std::vector<std::string> texts = facts_.levels();
  for (std::string& text : facts_.notes()) texts.push_back(std::move(text));
  return notes_box(texts, width);
}

Scene SceneMaker::run() {
  scene_.title = facts_.title();
  scene_.description = facts_.counts();
  Box hosts{.arrange = Arrange::grid, .gap = 16};
  for (int h = 0; h < facts_.drawn_hosts(); ++h) hosts.children.push_back(host(h));
  for (Box& b : hosts.children) measure(b);
  hosts.max_width = row_width(hosts);
  measure(hosts);
  const int width = std::max(hosts.w, least_page_width);
  std::vector<Box> parts;
  parts.push_back(title_box(scene_, width));
  if (!hosts.children.empty()) parts.push_back(std::move(hosts));
  if (const std::string more = facts_.more_hosts(); !more.empty())
    parts.push_back({.kind = BoxKind::title, .id = "more", .lines = {more}});
  for (Box b : {legend(width), notes(width)})
    if (!b.children.empty()) parts.push_back(std::move(b));
  lay_out(scene_, std::move(parts));
  return std::move(scene_);
}

}  // namespace

std::string devices_id(int host) { return fmt::format("h{}devices", host); }

Scene make_scene(const Picture& p) { return SceneMaker(p).run(); }

}  // namespace libcoll::topo::drawing
