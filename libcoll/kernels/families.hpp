// One lookup per family of types, each in its own file so that no file takes long to compile.
// Each returns nullptr for pairs of type and operation that are not of its family.
#pragma once

#include "libcoll/kernels/reduce.hpp"

namespace libcoll::kernels {

ReduceFn find_integer(DType dtype, Op op) noexcept;      // sum, prod, min, max of i8..u64
ReduceFn find_bits(DType dtype, Op op) noexcept;         // logical and bitwise operations
ReduceFn find_float(DType dtype, Op op) noexcept;        // f32, f64, c64, c128
ReduceFn find_small_float(DType dtype, Op op) noexcept;  // f16, bf16, fp8
ReduceFn find_pair(DType dtype, Op op) noexcept;         // minloc, maxloc

}  // namespace libcoll::kernels
