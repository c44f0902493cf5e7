// --all-algorithms: every way to run a call, beside the one the library chooses; --tune keeps what was best.
#pragma once

#include <string>
#include <vector>

#include "coll_bench/measure.hpp"

namespace bench {

// Collective. Every candidate of Comm::candidates, round robin within each repetition.
Cell measure_ways(const Contestants&, const Options&, Coll, Memory, std::uint64_t bytes);

// Why --tune would not measure the library's own choice, or nothing.
std::string tuning_obstacle();
// Rank 0, before the job is closed: writes a tuning file, merged with what it holds already. A way counts as
// better if its time is below the choice's by more than 5 %. Returns how many sizes got another recipe.
int write_tuning(libcoll::Comm&, const Options&, const std::vector<Cell>&);

}  // namespace bench
