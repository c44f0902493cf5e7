// World: what all communicators of one job share in this process: who is where, and the transports.
// Created collectively, then immutable; kept alive by its communicators.
#pragma once

#include <memory>

#include "libcoll/bootstrap.hpp"
#include "libcoll/config.hpp"
#include "topology/hierarchy.hpp"
#include "transports/shm/host.hpp"

namespace libcoll::detail {

class World {
 public:
  // Collective; throws Error on all ranks or on none.
  static std::shared_ptr<World> create(Bootstrap&, const Config&);

  int rank = 0, size = 1;
  Config config;
  topo::Fabric fabric;
  topo::Hierarchy hierarchy;
  std::unique_ptr<xport::shm::Host> host;
};

// The machine this process runs on, probed once.
const topo::Machine& this_machine();

}  // namespace libcoll::detail
