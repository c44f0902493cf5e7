// World: what all communicators of one job share in this process: who is where, and the transports.
// Created collectively, then immutable; kept alive by its communicators.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libcoll/bootstrap.hpp"
#include "libcoll/config.hpp"
#include "libcoll/execution/engine.hpp"
#include "libcoll/planning/costs.hpp"
#include "libcoll/planning/device_costs.hpp"
#include "libcoll/planning/tuning.hpp"
#include "topology/hierarchy.hpp"
#include "transports/nccl/runtime.hpp"
#include "transports/shm/host.hpp"

namespace libcoll::detail {

class World {
 public:
  // Collective; throws Error on all ranks or on none.
  static std::shared_ptr<World> create(Bootstrap&, const Config&);

  int rank = 0, size = 1;
  Config config;
  topo::Machine own_machine;            // this_machine(), or what LIBCOLL_TOPOLOGY makes of it
  topo::Fabric fabric;
  topo::Hierarchy hierarchy;
  // The parts of the world whose ranks share memory, numbered by their lowest ranks: its hosts, or those
  // that an injected hierarchy calls so.
  std::vector<int> domain_of;           // by rank
  std::vector<int> neighbours;          // the ranks of this rank's domain, ascending: place in it = rank of `host`
  int domains = 1;
  bool crowded = false;                 // some machine runs more ranks than it has CPUs, over all its hosts
  double ranks_per_cpu = 1;             // of the machine where it is worst; at least 1
  // Buffers may be GPU memory: on all ranks alike. This rank's process may have no CUDA even so.
  bool uses_gpus = false;
  const device::Runtime* runtime = nullptr;
  std::string without_runtime, without_gpus;  // why not
  std::unique_ptr<xport::shm::Host> host;
  std::unique_ptr<exec::Engine> engine;
  planning::Costs costs;                // agreed
  planning::DeviceCosts device_costs;   // NCCL's own model, not measured
  std::optional<planning::TuningTable> tuning;
  std::atomic<std::uint32_t> communicators{0};  // that this rank has numbered
  // That of its machine, numbered if the machine holds several domains.
  std::string domain_name(int domain) const;
  int place(int world_rank) const {     // of a neighbour within the domain
    return static_cast<int>(std::lower_bound(neighbours.begin(), neighbours.end(), world_rank) - neighbours.begin());
  }
};

// The machine this process runs on, probed once.
const topo::Machine& this_machine();

}  // namespace libcoll::detail
