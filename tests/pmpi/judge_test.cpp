// When LIBCOLL_MPI=compare calls two results equal.
#include "integrations/pmpi/judge.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <limits>
#include <vector>

namespace libcoll::pmpi {
namespace {

template <class T>
Verdict judged(const std::vector<T>& ours, const std::vector<T>& mpis, const Terms& t) {
  return judge(std::as_bytes(std::span(ours)), std::as_bytes(std::span(mpis)), sizeof(T), t);
}
Terms sums(DType type, int ranks, std::span<const double> magnitudes) {
  Terms t = terms_of(Op::sum, type, ranks);
  t.magnitudes = magnitudes;
  return t;
}

TEST(Judge, BitsAreBits) {
  EXPECT_EQ(judged<int>({1, 2, 3}, {1, 2, 3}, {}).differing, 0);
  const Verdict v = judged<int>({1, 2, 3, 4}, {1, 5, 3, 5}, {});
  EXPECT_EQ(v.differing, 2);
  EXPECT_EQ(v.first, 1);
  EXPECT_EQ(judged<float>({0.0f}, {-0.0f}, {}).differing, 1) << "moved data";
  EXPECT_EQ(judged<std::int64_t>({1}, {2}, terms_of(Op::sum, DType::i64, 9)).differing, 1);
  EXPECT_EQ(judged<double>({}, {}, {}).differing, 0);
}

TEST(Judge, SumsMayDifferByTheOrderOfAdditions) {
  const double u = 0x1p-53;
  const std::vector<double> magnitudes{100};
  for (const int n : {2, 7}) {
    const Terms t = sums(DType::f64, n, magnitudes);
    EXPECT_EQ(judged<double>({1.0}, {1.0 + 0.99 * 2 * n * u * 100}, t).differing, 0) << n;
    const Verdict v = judged<double>({1.0}, {1.0 + 1.1 * 2 * n * u * 100}, t);
    EXPECT_EQ(v.differing, 1) << n;
    EXPECT_DOUBLE_EQ(v.allowed, 2 * n * u * 100);
  }
  EXPECT_EQ(judged<float>({1.0f}, {1.0f + 0x1p-20f}, sums(DType::f32, 2, magnitudes)).differing, 0);
  EXPECT_EQ(judged<float>({1.0f}, {1.001f}, sums(DType::f32, 2, magnitudes)).differing, 1);
}

TEST(Judge, EachPartOfAComplexSumHasItsBound) {
  const std::vector<double> magnitudes{1e6, 1};
  const Terms t = sums(DType::c64, 4, magnitudes);
  using C = std::complex<float>;
  EXPECT_EQ(judged<C>({C(1, 1)}, {C(1.1f, 1)}, t).differing, 0);
  EXPECT_EQ(judged<C>({C(1, 1)}, {C(1, 1.1f)}, t).differing, 1);
}

TEST(Judge, ValuesThatAreNoNumbers) {
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  const std::vector<double> finite{1}, infinite{inf};
  EXPECT_EQ(judged<double>({nan}, {-nan}, sums(DType::f64, 2, finite)).differing, 0);
  EXPECT_EQ(judged<double>({nan}, {1}, sums(DType::f64, 2, finite)).differing, 1);
  EXPECT_EQ(judged<double>({inf}, {1}, sums(DType::f64, 2, finite)).differing, 1);
  EXPECT_EQ(judged<double>({inf}, {1}, sums(DType::f64, 2, infinite)).differing, 0) << "some order overflows";
  for (const Op op : {Op::min, Op::max}) {
    EXPECT_EQ(judged<double>({0.0, nan}, {-0.0, -nan}, terms_of(op, DType::f64, 2)).differing, 0);
    EXPECT_EQ(judged<double>({1}, {std::nextafter(1.0, 2)}, terms_of(op, DType::f64, 2)).differing, 1);
    EXPECT_EQ(judged<double>({nan}, {1}, terms_of(op, DType::f64, 2)).differing, 1);
  }
}

TEST(Judge, ProductsMayDifferByTheirSize) {
  const double u = 0x1p-53;
  const Terms t = terms_of(Op::prod, DType::f64, 3);
  EXPECT_EQ(judged<double>({1000}, {1000 * (1 + 5 * u)}, t).differing, 0);
  EXPECT_EQ(judged<double>({1000}, {1000 * (1 + 8 * u)}, t).differing, 1);
  using C = std::complex<double>;
  // A part that cancels may be off by what the other part's size allows.
  EXPECT_EQ(judged<C>({C(0, 1000)}, {C(1000 * 20 * u, 1000)}, terms_of(Op::prod, DType::c128, 3)).differing, 0);
  EXPECT_EQ(judged<C>({C(0, 1000)}, {C(1000 * 30 * u, 1000)}, terms_of(Op::prod, DType::c128, 3)).differing, 1);
}

// Pairs' indices, and values that were picked and not computed.
TEST(Judge, LocationsAreBits) { EXPECT_EQ(terms_of(Op::minloc, DType::f32_i32, 2).by, Terms::By::bits); }

}  // namespace
}  // namespace libcoll::pmpi
