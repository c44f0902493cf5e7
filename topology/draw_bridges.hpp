// Bridges of a row of GPUs as lines on tracks above it.
#pragma once

#include <vector>

#include "topology/draw_facts.hpp"
#include "topology/draw_scene.hpp"

namespace libcoll::topo::drawing {

inline constexpr std::size_t max_bridges_drawn = 64;  // of one host

// `order`: the host's GPUs from left to right. The bridges must be between them.
std::vector<BridgeLine> route_bridges(const Facts&, int host, const std::vector<int>& order);
int track_count(const std::vector<BridgeLine>&);

}  // namespace libcoll::topo::drawing
