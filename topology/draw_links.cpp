#include "topology/draw_links.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

namespace libcoll::topo::drawing {
namespace {

struct Span {
  int from, to;  // positions in the row
  Bridge bridge;
  int track = 0;
  int length() const { return to - from; }
};

// The lowest track on which nothing is in the way, short spans first: they stay below the long ones.
// Spans that meet at a GPU may share a track, as their ports there are not the same.
void assign_tracks(std::vector<Span>& spans) {
  std::vector<std::vector<std::pair<int, int>>> taken;
  for (Span& s : spans) {
    const auto is_free = [&](const auto& track) {
      return std::none_of(track.begin(), track.end(),
                          [&](const auto& other) { return other.first < s.to && s.from < other.second; });
    };
    const auto at = std::find_if(taken.begin(), taken.end(), is_free);
    s.track = static_cast<int>(at - taken.begin());
    if (at == taken.end()) taken.emplace_back();
    taken[static_cast<std::size_t>(s.track)].emplace_back(s.from, s.to);
  }
}

}  // namespace

std::vector<LinkLine> route_links(const Facts& facts, int host, const std::vector<int>& order,
                                  const std::vector<Bridge>& links) {
  std::map<int, int> position;
  for (std::size_t i = 0; i < order.size(); ++i) position[order[i]] = static_cast<int>(i);
  std::vector<Span> spans;
  for (const Bridge& b : links) {
    const auto [from, to] = std::minmax(position.at(b.a), position.at(b.b));
    spans.push_back({from, to, b});
  }
  std::stable_sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) {
    return std::tuple(a.length(), a.from) < std::tuple(b.length(), b.from);
  });
  assign_tracks(spans);
  // Ports of a GPU: lines to the left, then lines to the right, the long ones in the middle: no line leaves
  // through a shorter one of its side.
  std::map<int, std::vector<std::pair<int, std::size_t>>> ports;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    ports[spans[i].from].emplace_back(1000000 - spans[i].length(), i);
    ports[spans[i].to].emplace_back(spans[i].length() - 1000000, i);
  }
  for (auto& [gpu, list] : ports) std::sort(list.begin(), list.end());
  const auto port = [&](int gpu, std::size_t span) {
    const auto& list = ports.at(gpu);
    const auto at = std::find_if(list.begin(), list.end(), [&](const auto& p) { return p.second == span; });
    return std::pair(static_cast<int>(at - list.begin()), static_cast<int>(list.size()));
  };
  std::vector<LinkLine> lines;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const Span& s = spans[i];
    const int a = order[static_cast<std::size_t>(s.from)], b = order[static_cast<std::size_t>(s.to)];
    const LinkSum sum{s.bridge.links, s.bridge.mb_per_s};
    const bool is_bridge = facts.island_of(a) != facts.island_of(b);
    LinkLine line{.host = host,
                  .from = facts.id(host, facts.ref(a).node),
                  .to = facts.id(host, facts.ref(b).node),
                  .island = is_bridge ? -1 : facts.island_of(a),
                  .track = s.track,
                  .links = s.bridge.links,
                  .text = short_link_text(sum),
                  .tip = fmt::format("{} {} - {}: {}", is_bridge ? "bridge" : "link", facts.gpu_text(a),
                                     facts.gpu_text(b), link_text(sum))};
    std::tie(line.from_port, line.from_ports) = port(s.from, i);
    std::tie(line.to_port, line.to_ports) = port(s.to, i);
    lines.push_back(std::move(line));
  }
  return lines;
}

int track_count(const std::vector<LinkLine>& lines) {
  int n = 0;
  for (const LinkLine& l : lines) n = std::max(n, l.track + 1);
  return n;
}

}  // namespace libcoll::topo::drawing
