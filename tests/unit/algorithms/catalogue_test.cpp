#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libcoll/algorithms/algorithm.hpp"

namespace libcoll::algo {
namespace {

Problem problem(Coll coll, int size, std::int64_t count) {
  Problem p;
  p.coll = coll;
  p.size = size;
  p.count = count;
  return p;
}

TEST(Catalogue, OperandsLieWhereTheCallPutsThem) {
  Problem p = problem(Coll::allgather, 4, 10);
  EXPECT_EQ(operand(p, 2, 3, 4), (Range{Space::send, 0, 3, 4}));
  EXPECT_EQ(recv_block(p, 3), (Range{Space::recv, 0, 30, 10}));
  p.in_place = true;
  EXPECT_EQ(operand(p, 2, 3, 4), (Range{Space::recv, 0, 23, 4}));
  p.coll = Coll::allreduce;
  EXPECT_EQ(operand(p, 2, 3, 4), (Range{Space::recv, 0, 3, 4}));
  p.coll = Coll::scatter;
  EXPECT_EQ(send_block(p, 2), (Range{Space::send, 0, 20, 10}));
  EXPECT_EQ(recv_block(p, 2), (Range{Space::recv, 0, 0, 10}));
  p.coll = Coll::alltoall;
  EXPECT_EQ(send_block(p, 2), (Range{Space::recv, 0, 20, 10}));
  p = problem(Coll::allgatherv, 3, 0);
  p.counts = {5, 0, 7};
  EXPECT_EQ(recv_block(p, 2), (Range{Space::recv_block, 2, 0, 7}));
  EXPECT_EQ(send_block(p, 2), (Range{Space::send, 0, 0, 7}));
  p.coll = Coll::reduce_scatter;
  EXPECT_EQ(send_block(p, 2), (Range{Space::send, 0, 5, 7}));
  EXPECT_EQ(recv_block(p, 2), (Range{Space::recv, 0, 0, 7}));
  p = problem(Coll::alltoallv, 3, 0);
  EXPECT_EQ(send_block(p, 1), (Range{Space::send_block, 1, 0, sched::whole_block}));
  EXPECT_EQ(recv_block(p, 1), (Range{Space::recv_block, 1, 0, sched::whole_block}));
}

}  // namespace
}  // namespace libcoll::algo
