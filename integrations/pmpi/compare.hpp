// LIBCOLL_MPI=compare: every supported collective is run by libcoll and by the MPI below on the same data.
#pragma once

#include <functional>
#include <vector>

#include "image.hpp"
#include "judge.hpp"
#include "state.hpp"

namespace libcoll::pmpi {

// What a call writes on this rank, and how far two results of it may be apart.
struct Outcome {
  std::vector<Piece> pieces;
  std::int64_t bytes = -1;              // of them that are compared, from the first; -1: all
  Terms terms;
  std::vector<double> magnitudes = {};  // terms.magnitudes looks into it
};

// What a call writes, as its arguments tell: nothing, an image, or (reductions.hpp) a reduction's result.
struct Nothing {
  void describe(Outcome&, MPI_Comm) const noexcept {}
};

// Collective, like the call. `mpis` and `ours` run once each, from the same memory; which goes first alternates. The program
// goes on with the MPI's result and return code.
int run_both(Coll, State&, std::int64_t bytes, Outcome&, const std::function<void(Comm&)>& ours, const std::function<int()>& mpis) noexcept;

// Collective: of each part of `count` elements of a floating-point type, the sum of the ranks' magnitudes.
std::vector<double> sum_magnitudes(const void* operands, std::int64_t count, DType, MPI_Comm);

}  // namespace libcoll::pmpi
