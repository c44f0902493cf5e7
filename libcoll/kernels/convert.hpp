// Between the small floats and f32, for reductions whose partial results travel: they stay in f32 until
// the end, so that f16, bf16 and fp8 are rounded once. Thread-safe, never allocates.
#pragma once

#include <cstddef>

#include "libcoll/types.hpp"

namespace libcoll::kernels {

constexpr bool is_small_float(DType t) noexcept { return t == DType::f16 || t == DType::bf16 || t == DType::f8e4m3 || t == DType::f8e5m2; }

// `count` elements of a small float; exact. Nothing overlaps; any alignment of `from`.
void widen(DType, float* to, const void* from, std::size_t count) noexcept;
// To nearest even, NaN and overflow as in reductions.
void narrow(DType, void* to, const float* from, std::size_t count) noexcept;

}  // namespace libcoll::kernels
