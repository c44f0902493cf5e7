// Topology as a tree for people. Deterministic: golden files compare it.
#pragma once

#include <string>

#include "topology/hierarchy.hpp"
#include "topology/machine.hpp"

namespace libcoll::topo {

std::string describe(const Machine&);
// The ranks' placement host by host, then the levels that follow from it.
std::string describe(const Fabric&, const Hierarchy&);

}  // namespace libcoll::topo
