// A Picture as boxes that are placed, and lines between them: what SVG needs.
#pragma once

#include <string>
#include <vector>

#include "topology/draw.hpp"
#include "topology/draw_layout.hpp"

namespace libcoll::topo::drawing {

// A link between GPUs of a host, most often a bridge: up from one, along a track of its own, down to the other.
struct LinkLine {
  int host = 0;
  std::string from, to;  // ids of GPUs, `from` left of `to`
  int island = -1;       // that it is inside of, -1 for bridges
  int track = 0;         // 0 is the lowest
  int from_port = 0, from_ports = 1, to_port = 0, to_ports = 1;  // along the GPU's upper side
  int links = 0;
  std::string text, tip;
};
inline constexpr int track_height = 20, track_margin = 12;
std::string devices_id(int host);  // of the box whose head room holds the tracks

// From a GPU to the NIC below it.
struct RailLine {
  std::string gpu, nic;
  int rail = -1;
};

struct Scene {
  Box root;
  std::vector<LinkLine> links;
  std::vector<RailLine> rails;
  std::string title, description;
};

Scene make_scene(const Picture&);
Scene make_scene(const std::string& title, const Hierarchy&);

}  // namespace libcoll::topo::drawing
