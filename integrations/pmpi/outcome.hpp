// What a call writes on this rank, for LIBCOLL_MPI=compare.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "flavour.hpp"
#include "judge.hpp"
#include "types.hpp"

namespace libcoll::pmpi {

// Elements in the user's memory.
struct Piece {
  std::byte* at;
  std::int64_t count;
  MPI_Datatype type;
  const TypeInfo* info;
  std::int64_t bytes() const noexcept { return count * info->bytes; }
};

// And how far two results of it may be apart.
struct Outcome {
  std::vector<Piece> pieces;
  std::int64_t bytes = -1;              // of them that are compared, from the first; -1: all
  Terms terms;
  std::vector<double> magnitudes = {};  // terms.magnitudes looks into it
};

// Whatever describes its Outcome when it is asked for: an image, a reduction's result (reductions.hpp), or nothing at all.
struct Nothing {
  void describe(Outcome&, MPI_Comm) const noexcept {}
};

}  // namespace libcoll::pmpi
