// Pictures of machines, islands, rails and ranks: DOT for Graphviz, and SVG that needs no renderer but a
// browser. Pure and deterministic: golden files compare them. Names come from files and are escaped.
#pragma once

#include <span>
#include <string>

#include "topology/fabric.hpp"
#include "topology/gpu_fabric.hpp"
#include "topology/hierarchy.hpp"
#include "topology/islands.hpp"
#include "topology/rails.hpp"

namespace libcoll::topo {

inline constexpr int max_hosts_drawn = 64;  // the rest becomes a line that says how many they are

// What to draw. Refers to the values, which must outlive it.
struct Picture {
  std::string title;
  std::span<const Machine> machines;
  const Islands& islands;  // of these machines
  const Rails& rails;
  const Fabric* fabric = nullptr;        // where ranks are: its i-th host is the i-th machine
  const Hierarchy* hierarchy = nullptr;  // of the same ranks: who leads
  std::span<const std::vector<int>> ranks_of_gpu = {};  // by GPU of the islands: the ranks that use it; or none
};

std::string to_dot(const Picture&);
std::string to_svg(const Picture&);

// The groups of a hierarchy whose machines are not known.
std::string to_dot(const std::string& title, const Hierarchy&);
std::string to_svg(const std::string& title, const Hierarchy&);

// Ranks by island (row) and rail (column), from the records that the fabric was built from. The text is for terminals.
std::string to_text(const GpuFabric&, std::span<const GpuRecord> by_rank);
std::string to_dot(const std::string& title, const GpuFabric&, std::span<const GpuRecord> by_rank);
std::string to_svg(const std::string& title, const GpuFabric&, std::span<const GpuRecord> by_rank);

}  // namespace libcoll::topo
