// Links of a row of GPUs as lines on tracks above it.
#pragma once

#include <vector>

#include "topology/draw_facts.hpp"
#include "topology/draw_scene.hpp"

namespace libcoll::topo::drawing {

inline constexpr std::size_t max_lines_drawn = 64;  // of one host

// `order`: the host's GPUs from left to right. The links must be between them.
std::vector<LinkLine> route_links(const Facts&, int host, const std::vector<int>& order, const std::vector<Bridge>& links);
int track_count(const std::vector<LinkLine>&);

}  // namespace libcoll::topo::drawing
