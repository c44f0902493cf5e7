// Rails: which NIC each GPU uses, and which GPUs exchange with each other between islands. Pure.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "topology/islands.hpp"

namespace libcoll::topo {

struct NicChoice {
  int nic = -1;  // node of the GPU's machine, -1 if that has none
  PathClass path = PathClass::unknown;
  friend bool operator==(const NicChoice&, const NicChoice&) = default;
};

struct Rails {
  std::vector<NicChoice> nic_of;  // by GPU
  // Rail r: the r-th member of every island; of an island across hosts, the r-th on each of them, as
  // those have NICs of their own.
  std::vector<std::vector<int>> rails;  // of GPUs, ascending
  std::vector<int> leaders;             // by island: the GPU nearest its NIC, the lowest of those
  std::vector<std::string> reports;
  friend bool operator==(const Rails&, const Rails&) = default;
};

// Each GPU, in order, takes the nearest NIC of its host by path class; of those equally near, the one
// that fewest GPUs have taken, the first in the machine of those. NICs that are known to be slower than
// half of the host's fastest (the service network) are left out. One rule on all hosts, so that equal hosts
// have equal rails.
Rails find_rails(std::span<const Machine>, const Islands&);

std::vector<int> usable_nics(const Machine&);                       // nodes of the NICs worth using
std::vector<PathClass> paths_from(const Machine&, int gpu);         // by node: how far it is from the GPU

}  // namespace libcoll::topo
