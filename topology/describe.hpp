// Topology as a tree for people. Deterministic: golden files compare it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "topology/hierarchy.hpp"
#include "topology/machine.hpp"
#include "topology/rails.hpp"

namespace libcoll::topo {

std::string describe(const Machine&);
// The ranks' placement host by host, then the levels that follow from it.
std::string describe(const Fabric&, const Hierarchy&);
std::string describe(const Hierarchy&);
// By level, narrowest first: "numa: 2 groups of 4 ranks, led by 0,4".
std::vector<std::string> level_texts(const Hierarchy&);
// GPUs: islands with their leaders, bridges, rails with their NICs, and what to note about them.
std::string describe(std::span<const Machine>, const Islands&, const Rails&);

}  // namespace libcoll::topo
