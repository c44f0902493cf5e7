// What each collective's file defines and the catalogue lists. Nothing registers itself.
#pragma once

#include "libcoll/algorithms/algorithm.hpp"

namespace libcoll::algo {

extern const Collective barrier_collective;
extern const Collective bcast_collective;
extern const Collective reduce_collective;
extern const Collective allreduce_collective;
extern const Collective reduce_scatter_block_collective;
extern const Collective reduce_scatter_collective;
extern const Collective allgather_collective;
extern const Collective allgatherv_collective;
extern const Collective gather_collective;
extern const Collective gatherv_collective;
extern const Collective scatter_collective;
extern const Collective scatterv_collective;
extern const Collective alltoall_collective;
extern const Collective alltoallv_collective;
extern const Collective scan_collective;
extern const Collective exscan_collective;

}  // namespace libcoll::algo
