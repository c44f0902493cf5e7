// LIBCOLL_MPI=compare: whether two results of one collective agree. Pure: knows no MPI.
//
// Moved data, integers, pairs and what user operations give must be the same bits. Of floating-point (and each part of
// complex) results, with n ranks and u = 2^-24 (f32) or 2^-53 (f64):
//   min, max: the same values; any NaN equals any NaN, -0 equals 0.
//   sum:      |a - b| <= 2 n u s, s the sum of the operands' magnitudes. Any order of n-1 additions is within
//             (n-1) u s of the exact sum, to first order; two orders are within twice that of each other.
//   prod:     |a - b| <= 2 n u |b|, of complex numbers 8 n u |b|: likewise, a complex product rounds more often.
// Where some order of additions may overflow (s exceeds the type) nothing is said.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "libcoll/types.hpp"

namespace libcoll::pmpi {

struct Terms {
  enum class By : std::uint8_t { bits, value, sum, product };
  By by = By::bits;
  DType dtype = DType::byte;             // unless by bits: f32, f64, c64 or c128
  int ranks = 1;
  std::span<const double> magnitudes = {};  // of sums, one per part (complex numbers have two) of each element
};

// Of complex numbers two.
constexpr int parts_of(DType t) noexcept { return t == DType::c64 || t == DType::c128 ? 2 : 1; }
// What a predefined operation allows on a type.
Terms terms_of(Op, DType, int ranks) noexcept;

struct Verdict {
  std::int64_t differing = 0;  // elements
  std::int64_t first = -1;
  double allowed = 0;          // of the first: how far apart the values may be
};
// Elements of `element_bytes` each; a last one may be cut short.
Verdict judge(std::span<const std::byte> ours, std::span<const std::byte> mpis, std::size_t element_bytes, const Terms&) noexcept;

}  // namespace libcoll::pmpi
