// Measures what the links between the ranks of a host cost, in a few milliseconds.
#pragma once

#include <functional>

#include "transports/shm/group.hpp"

namespace libcoll::xport::shm {

// Collective over the group, before any other operation depends on costs. Ranks measure in pairs at
// the same time. Where ranks outnumber CPUs the line transfer is not measured: it would time the scheduler.
// `measured` tells whether this rank had a partner.
Costs calibrate(Group&, const std::function<void(const void* send, void* recv, std::size_t bytes)>& allgather);
// The medians over all ranks that measured: equal wherever it is given the same values.
Costs agree(std::vector<Costs>);

}  // namespace libcoll::xport::shm
