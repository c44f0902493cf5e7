// Conversions of the small floats: exhaustive over codes and over the ties between them, on every
// target, by sums of one operand and of two exact halves.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "libcoll/kernels/small_float.hpp"
#include "tests/unit/kernels/support.hpp"

namespace libcoll::test {
namespace {

constexpr DType small_types[] = {DType::f16, DType::bf16, DType::f8e4m3, DType::f8e5m2};

template <class F>
void check_scalar(DType dtype) {
  const SmallFormat& format = small_format(dtype);
  const auto check_encode = [&](float x) {
    ASSERT_EQ(kernels::encode<F>(x), format.encode(x)) << name_of(dtype) << " " << std::hexfloat << x;
    ASSERT_EQ(kernels::encode<F>(-x), format.encode(-x)) << name_of(dtype) << " -" << std::hexfloat << x;
  };
  for (unsigned code = 0; code < format.codes(); ++code) {
    const float got = kernels::decode<F>(static_cast<typename F::Bits>(code)), want = format.decode(code);
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(got)) << name_of(dtype) << " code " << code;
      ASSERT_EQ(kernels::encode<F>(got), format.nan());
      continue;
    }
    ASSERT_EQ(std::bit_cast<std::uint32_t>(got), std::bit_cast<std::uint32_t>(want))
        << name_of(dtype) << " code " << code;
    ASSERT_EQ(kernels::encode<F>(got), code) << name_of(dtype);
    if (code >= format.codes() / 2) continue;
    const float next = format.decode(code + 1);
    const float tie = std::isfinite(next) ? want + (next - want) / 2 : want * 1.0625f;
    for (const float x :
         {tie, std::nextafter(tie, 0.0f), std::nextafter(tie, std::numeric_limits<float>::infinity())})
      check_encode(x);
  }
  const float largest = std::numeric_limits<float>::max();
  for (const float x :
       {448.0f, 464.0f, 464.00003f, 479.9f, 480.0f, 57344.0f, 61439.9f, 61440.0f, 65504.0f, 65519.9f,
        65520.0f, 65536.0f, largest, largest * (1 - 1.0f / 256), std::numeric_limits<float>::denorm_min(),
        std::numeric_limits<float>::infinity(), 0.0f})
    check_encode(x);
}

TEST(SmallFloat, ScalarConversions) {
  check_scalar<kernels::F16>(DType::f16);
  check_scalar<kernels::BF16>(DType::bf16);
  check_scalar<kernels::F8e4m3>(DType::f8e4m3);
  check_scalar<kernels::F8e5m2>(DType::f8e5m2);
}

TEST(SmallFloat, RandomFloatsEncode) {
  Random random(test_seed());
  for (int i = 0; i < 500000; ++i) {
    const float x = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    ASSERT_EQ(kernels::encode<kernels::F16>(x), small_format(DType::f16).encode(x)) << x;
    ASSERT_EQ(kernels::encode<kernels::BF16>(x), small_format(DType::bf16).encode(x)) << x;
    ASSERT_EQ(kernels::encode<kernels::F8e4m3>(x), small_format(DType::f8e4m3).encode(x)) << x;
    ASSERT_EQ(kernels::encode<kernels::F8e5m2>(x), small_format(DType::f8e5m2).encode(x)) << x;
  }
}

// All codes through the vector units; one operand (decode, encode), and every code plus, times and
// averaged with every eighth code, whose results hit ties, subnormals and overflow.
TEST(SmallFloat, EveryCodeOnEveryTarget) {
  for (const DType dtype : small_types) {
    const std::size_t size = size_of(dtype), codes = small_format(dtype).codes();
    Bytes all;
    for (unsigned c = 0; c < codes; ++c)
      for (std::size_t b = 0; b < size; ++b) all.push_back(static_cast<unsigned char>(c >> (8 * b)));
    for (const Op op : {Op::sum, Op::prod, Op::avg, Op::min, Op::max}) {
      for (unsigned other = 0; other < codes; other += codes == 256 ? 1 : 2477) {
        Bytes second;
        for (unsigned c = 0; c < codes; ++c)
          second.insert(second.end(), all.begin() + other * size, all.begin() + (other + 1) * size);
        const std::vector<Bytes> srcs =
            other == 0 ? std::vector<Bytes>{all} : std::vector<Bytes>{all, second};
        const Bytes want = reference_reduce(dtype, op, srcs, codes, 3);
        const void* pointers[] = {all.data(), second.data()};
        Bytes got(all.size());
        void* dst = got.data();
        for (const auto target : runnable_targets()) {
          find_reduce_on(target, dtype,
                         op)({&dst, 1, pointers, static_cast<int>(srcs.size()), codes, 3, false});
          ASSERT_EQ(got, want) << to_string({dtype, op}) << " with code " << other << " on "
                               << target_name(target);
        }
      }
    }
  }
}

}  // namespace
}  // namespace libcoll::test
