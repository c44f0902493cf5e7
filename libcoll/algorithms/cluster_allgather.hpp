// Allgather of equal or unequal blocks, flat and over levels: what allgather and allgatherv share.
#pragma once

#include "libcoll/algorithms/cluster_moves.hpp"

namespace libcoll::algo {

std::string refuses_allgather(const Problem&, const Recipe&);
void build_allgather(Builder&, const Problem&, const Recipe&);
std::vector<Work> work_of_allgather(const Problem&, const Recipe&);

}  // namespace libcoll::algo
