// Measures the network between hosts with a few messages, at the creation of a world.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "libcoll/planning/costs.hpp"
#include "transports/messenger.hpp"
#include "transports/shm/host.hpp"

namespace libcoll::planning {

struct NetworkCosts {
  double alpha_us = 0, gbps = 0, both_gbps = 0, send_us = 0, reduce_gbps = 0, reduce_large_gbps = 0;  // as in Costs
  bool measured = false;
};

// The first rank of each domain bounces messages with that of the next one (0 and 1, 2 and 3, ...); all
// others only take part in `barrier`. Failures leave it unmeasured.
NetworkCosts measure_network(xport::Messenger&, const std::vector<int>& domain_of, int rank, std::uint64_t communicator, const std::function<void()>& barrier);
NetworkCosts agree(std::vector<NetworkCosts>);
Costs costs_from(const xport::shm::Costs&, const NetworkCosts&, double ranks_per_cpu);

}  // namespace libcoll::planning
