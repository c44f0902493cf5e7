// What the reductions must compute, written from the definitions and slowly: shares nothing with
// libcoll/kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "libcoll/types.hpp"

namespace libcoll::test {

using Bytes = std::vector<unsigned char>;

// A small float format by its parameters; conversions by table search.
class SmallFormat {
 public:
  SmallFormat(int bits, int mantissa_bits, int bias, bool has_infinity, unsigned nan_code);
  float decode(unsigned code) const;
  unsigned encode(float value) const;  // nearest, ties to the even code; overflow to infinity or NaN
  unsigned nan() const { return nan_; }
  unsigned codes() const { return 1u << bits_; }

 private:
  int bits_, mantissa_bits_, bias_;
  bool has_infinity_;
  unsigned nan_;
  // Values of the non-negative codes in order, up to the first that is not finite, which counts as
  // the value it would have if the exponent went on.
  std::vector<double> values_;
};

const SmallFormat& small_format(DType dtype);  // f16, bf16, f8e4m3, f8e5m2

// The fold of srcs, `count` elements each.
Bytes reference_reduce(DType dtype, Op op, const std::vector<Bytes>& srcs, std::size_t count, int divisor);

}  // namespace libcoll::test
