// LIBCOLL_MPI=compare: every supported collective is run by libcoll and by the MPI below on the same data.
#pragma once

#include <functional>
#include <vector>

#include "outcome.hpp"
#include "state.hpp"

namespace libcoll::pmpi {

// Collective, like the call. `mpis` and `ours` run once each, from the same memory; which goes first alternates. The program
// goes on with the MPI's result and return code.
int run_both(Coll, State&, std::int64_t bytes, Outcome&, const std::function<void(Comm&)>& ours, const std::function<int()>& mpis) noexcept;

// Collective: of each part of `count` elements of a floating-point type, the sum of the ranks' magnitudes.
std::vector<double> sum_magnitudes(const void* operands, std::int64_t count, DType, MPI_Comm);

}  // namespace libcoll::pmpi
