// Every collective on CUDA tensors gives what it gives on CPU tensors, which tests/torch compares with torch's own.
#include <gtest/gtest.h>

#include "cases.hpp"

namespace libcoll::test {
namespace {

void compare(Rank& r, const Case& c, Form form) {
  form.device = r.gpu;
  const Tensors got = c.run(r, form);
  form.device = at::kCPU;
  const Tensors want = c.run(r, form);
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_TRUE(got[i].cpu().to(at::kDouble).equal(want[i].to(at::kDouble)))
        << c.name << " of " << form.type << (form.asynchronous ? ", asynchronous" : "") << (form.strided ? ", strided" : "") << ": tensor " << i << " on rank " << r.rank << " of "
        << r.size << ": " << got[i].cpu() << " instead of " << want[i];
}

class Cuda : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Cuda, testing::Values(2, 3, 4));

TEST_P(Cuda, EveryCollective) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    for (const Case& c : every_collective())
      for (const bool asynchronous : {false, true})
        for (const bool strided : {false, true}) compare(r, c, {r.gpu, at::kFloat, asynchronous, strided});
  }), "");
}

TEST_P(Cuda, EveryType) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    for (const at::ScalarType type : {at::kByte, at::kChar, at::kShort, at::kInt, at::kLong, at::kHalf, at::kBFloat16, at::kDouble, at::kBool, at::kFloat8_e4m3fn, at::kFloat8_e5m2})
      for (const Case& c : every_collective())
        if (!c.floats_only || type == at::kHalf || type == at::kBFloat16 || type == at::kDouble) compare(r, c, {r.gpu, type, true, false});
    Tensors sum{numbers(r, r.gpu, 9, at::kComplexFloat, 0)}, want{numbers(r, at::kCPU, 9, at::kComplexFloat, 0)};
    r.group->allreduce(sum)->wait();
    r.group->allreduce(want)->wait();
    EXPECT_TRUE(sum[0].cpu().equal(want[0]));
  }), "");
}

TEST_P(Cuda, EmptyTensors) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    Tensors none{blank(r.gpu, {0}, at::kFloat)}, nothing;
    r.group->allreduce(none)->wait();
    at::Tensor from = none[0], to = blank(r.gpu, {0}, at::kFloat);
    r.group->_allgather_base(to, from)->wait();
    r.group->_reduce_scatter_base(to, from)->wait();
    r.group->allreduce_coalesced(nothing, {})->wait();
    r.group->barrier()->wait();
  }), "");
}

TEST(Cuda, OneRank) {
  EXPECT_EQ(run_ranks(1, [](Rank& r) {
    for (const bool asynchronous : {false, true}) {
      Tensors t{numbers(r, r.gpu, 9, at::kFloat, 0)};
      r.group->allreduce(t, {.asyncOp = asynchronous})->wait();
      EXPECT_TRUE(t[0].cpu().equal(numbers(r, at::kCPU, 9, at::kFloat, 0)));
    }
  }), "");
}

}  // namespace
}  // namespace libcoll::test
