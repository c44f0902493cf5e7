// What could not be found out about a job's machine, and how a user may supply it. Pure.
#pragma once

#include <string>
#include <vector>

#include "topology/fabric.hpp"

namespace libcoll::topo {

struct Missing {
  std::string what, how;
};

// Where drivers of virtual machines put the topology that the machine itself does not show.
inline constexpr const char* virtual_topology = "/var/run/nvidia-topologyd/virtualTopology.xml";

// Of this machine and, where there is a job, of its ranks. `has_virtual_topology`: that file is there.
std::vector<Missing> missing_of(const Machine&, const Fabric*, bool has_virtual_topology);
std::string describe(const std::vector<Missing>&);

}  // namespace libcoll::topo
