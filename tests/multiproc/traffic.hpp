// How much crosses the network, counted: the bounds of docs/algorithms.md against Comm::network_traffic.
#pragma once

#include <string>
#include <vector>

#include "libcoll/libcoll.hpp"

namespace libcoll::test {

// Collective. One line per bound that does not hold; equal on all ranks. `report`: every count, for people.
std::vector<std::string> check_traffic(Comm& world, std::string* report = nullptr);

}  // namespace libcoll::test
