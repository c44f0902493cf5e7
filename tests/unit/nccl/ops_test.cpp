// The capability mask, for every type and operation.
#include "transports/nccl/nccl_ops.hpp"

#include <gtest/gtest.h>

#include <set>

namespace libcoll::nccl {
namespace {

TEST(NcclOps, EveryPairOfTypeAndOperation) {
  const std::set<DType> since_2_10 = {DType::i8, DType::i32, DType::i64, DType::u8, DType::u32, DType::u64, DType::f16, DType::bf16, DType::f32, DType::f64};
  const std::set<DType> fp8 = {DType::f8e4m3, DType::f8e5m2}, integers = {DType::i8, DType::i32, DType::i64, DType::u8, DType::u32, DType::u64};
  const std::set<Op> ops = {Op::sum, Op::prod, Op::min, Op::max, Op::avg};
  for (int t = 0; t < dtype_count; ++t)
    for (int o = 0; o < op_count + 1; ++o) {
      const auto type = static_cast<DType>(t);
      const auto op = static_cast<Op>(o);
      const bool defined = ops.contains(op) && !(op == Op::avg && integers.contains(type));
      SCOPED_TRACE(std::string(name_of(type)) + " " + name_of(op));
      EXPECT_EQ(supports(type, op, 22809), defined && (since_2_10.contains(type) || fp8.contains(type)));
      EXPECT_EQ(supports(type, op, 22304), defined && since_2_10.contains(type));
      EXPECT_EQ(supports(type, op, 21000), defined && since_2_10.contains(type));
      EXPECT_EQ(supports(type, op, 20908), defined && since_2_10.contains(type) && type != DType::bf16 && op != Op::avg);
      EXPECT_EQ(nccl_op(op).has_value(), ops.contains(op));
      EXPECT_EQ(nccl_type(type).has_value(), since_2_10.contains(type) || fp8.contains(type));
      EXPECT_EQ(supports_premulsum(type, 22809), since_2_10.contains(type) || fp8.contains(type));
      EXPECT_EQ(supports_premulsum(type, 21003), false);
    }
}

TEST(NcclOps, Numbers) {
  EXPECT_EQ(nccl_op(Op::max), RedOp::max);
  EXPECT_EQ(static_cast<int>(*nccl_op(Op::max)), 2);  // before min, unlike ours
  EXPECT_EQ(static_cast<int>(*nccl_op(Op::min)), 3);
  EXPECT_EQ(static_cast<int>(*nccl_type(DType::bf16)), 9);
  EXPECT_EQ(version_text(22809), "2.28.9");
  EXPECT_EQ(version_text(23203), "2.32.3");
  EXPECT_EQ(version_text(2708), "2.7.8");
}

}  // namespace
}  // namespace libcoll::nccl
