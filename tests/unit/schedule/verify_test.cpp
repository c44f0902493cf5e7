// verify on hand-written schedules: right ones pass, and every kind of defect is named.
#include <gmock/gmock.h>

#include <functional>

#include "libcoll/schedule/builder.hpp"
#include "libcoll/schedule/verify.hpp"

namespace libcoll::sched {
namespace {

using testing::HasSubstr;

Range recv(std::int64_t from, std::int64_t count) { return {Space::recv, 0, from, count}; }
Range send(std::int64_t from, std::int64_t count) { return {Space::send, 0, from, count}; }

using Body = std::function<void(Builder&)>;
std::vector<Schedule> build(int size, const Body& body) {
  std::vector<Schedule> all;
  for (int r = 0; r < size; ++r) {
    Builder b(r, size);
    body(b);
    all.push_back(b.take());
  }
  return all;
}

std::string check(const Problem& p, const std::vector<Schedule>& all, const std::vector<bool>& in_place = {}) {
  const auto proof = verify(p, all, in_place);
  return proof ? "" : proof.error().text;
}
std::string check(const Problem& p, const Body& body) { return check(p, build(p.size, body)); }

Problem problem(Coll coll, int size, std::int64_t count) {
  Problem p;
  p.coll = coll;
  p.size = size;
  p.count = count;
  return p;
}

// Allreduce of two ranks by exchange.
void exchange(Builder& b) {
  const Range in = b.scratch(8);
  b.send(1 - b.rank(), send(0, 8));
  b.recv(1 - b.rank(), in);
  if (b.rank() == 0) b.reduce(recv(0, 8), send(0, 8), in);
  else b.reduce(recv(0, 8), in, send(0, 8));
}

TEST(Verify, RightSchedulesPass) {
  Problem p = problem(Coll::allreduce, 2, 8);
  EXPECT_EQ(check(p, exchange), "");
  p.commutative = false;
  EXPECT_EQ(check(p, exchange), "");
  p.determinism = Determinism::placement;
  EXPECT_EQ(check(p, exchange), "");
  EXPECT_EQ(check(problem(Coll::bcast, 2, 8), [](Builder& b) {
    if (b.rank() == 0) b.send(1, recv(0, 8));
    else b.recv(0, recv(0, 8));
  }), "");
}

TEST(Verify, ResultsMustBeRight) {
  const Problem p = problem(Coll::allreduce, 2, 8);
  EXPECT_THAT(check(p, [](Builder&) {}), HasSubstr("rank 0: result: element 0 of recv was never written"));
  EXPECT_THAT(check(p, [](Builder& b) { b.copy(recv(0, 8), send(0, 8)); }), HasSubstr("hold contributions of ranks [0,1) instead of [0,2)"));
  EXPECT_THAT(check(problem(Coll::bcast, 2, 8), [](Builder& b) {
    if (b.rank() == 0) b.send(1, recv(0, 4)), b.send(1, recv(0, 4));
    else b.recv(0, recv(0, 4)), b.recv(0, recv(4, 4));
  }), HasSubstr("hold elements from 0 of the contribution, not from 4"));
}

TEST(Verify, ReductionsTakeEveryRankOnceAndInOrder) {
  Problem p = problem(Coll::allreduce, 2, 8);
  const auto doubled = [](Builder& b) {
    exchange(b);
    b.reduce(recv(0, 8), recv(0, 8), send(0, 8));
  };
  EXPECT_THAT(check(p, doubled), HasSubstr("combines the operand of rank 0 twice"));
  const auto swapped = [](Builder& b) {
    const Range in = b.scratch(8);
    b.send(1 - b.rank(), send(0, 8));
    b.recv(1 - b.rank(), in);
    b.reduce(recv(0, 8), send(0, 8), in);
  };
  EXPECT_EQ(check(p, swapped), "");
  p.commutative = false;
  EXPECT_THAT(check(p, swapped), HasSubstr("rank 1, step 2 (reduce recv(0+8) = send(0+8) (op) scratch(0+8)): combines ranks [1,2) with ranks [0,1)"));
  const auto shifted = [](Builder& b) {
    const Range in = b.scratch(8);
    b.send(1 - b.rank(), send(0, 8));
    b.recv(1 - b.rank(), in);
    b.reduce(recv(0, 7), send(1, 7), part(in, 0, 7));
  };
  EXPECT_THAT(check(problem(Coll::allreduce, 2, 8), shifted), HasSubstr("combines element 1 of one contribution with element 0 of another"));
}

// Everyone gathers all vectors and combines them: `order` of the operands may depend on the rank.
Body gathered(const std::function<void(Builder&, std::vector<Range>)>& combine) {
  return [combine](Builder& b) {
    std::vector<Range> in;
    for (int r = 0; r < b.size(); ++r) in.push_back(r == b.rank() ? send(0, 4) : b.scratch(4));
    for (int r = 0; r < b.size(); ++r)
      if (r != b.rank()) b.send(r, send(0, 4)), b.recv(r, in[static_cast<std::size_t>(r)]);
    combine(b, in);
  };
}

TEST(Verify, AllRanksCombineAlike) {
  Problem p = problem(Coll::allreduce, 3, 4);
  const Body pairs = gathered([](Builder& b, std::vector<Range> in) {
    b.reduce(recv(0, 4), in[0], in[1]);
    b.reduce(recv(0, 4), recv(0, 4), in[2]);
  });
  EXPECT_EQ(check(p, pairs), "");
  EXPECT_THAT(check(p, gathered([](Builder& b, std::vector<Range> in) {
    if (b.rank() != 0) std::swap(in[0], in[2]);
    b.reduce(recv(0, 4), in[0], in[1]);
    b.reduce(recv(0, 4), recv(0, 4), in[2]);
  })), HasSubstr("recv was combined in another order than on rank 0"));
  p.determinism = Determinism::placement;
  EXPECT_THAT(check(p, pairs), HasSubstr("not combined by one reduction in rank order"));
  EXPECT_EQ(check(p, gathered([](Builder& b, std::vector<Range> in) { b.reduce(recv(0, 4), in); })), "");
}

TEST(Verify, AveragesAreDividedOnce) {
  Problem p = problem(Coll::allreduce, 2, 8);
  const auto finished = [](int times) {
    return [times](Builder& b) {
      exchange(b);
      for (int i = 0; i < times; ++i) b.finish(recv(0, 8));
    };
  };
  EXPECT_THAT(check(p, finished(1)), HasSubstr("the operation is not an average"));
  p.averages = true;
  EXPECT_THAT(check(p, finished(0)), HasSubstr("not divided by the number of ranks"));
  EXPECT_EQ(check(p, finished(1)), "");
  EXPECT_THAT(check(p, finished(2)), HasSubstr("divides a second time"));
  EXPECT_THAT(check(p, [](Builder& b) {
    b.copy(recv(0, 8), send(0, 8));
    b.finish(recv(0, 8));
  }), HasSubstr("divides before all ranks have contributed"));
}

TEST(Verify, MessagesMustMatch) {
  const Problem p = problem(Coll::bcast, 2, 8);
  EXPECT_THAT(check(p, [](Builder& b) { if (b.rank() == 0) b.send(1, recv(0, 8)); }), HasSubstr("rank 0, step 0 (send to 1 message 0 recv(0+8)): rank 1 never receives it"));
  EXPECT_THAT(check(p, [](Builder& b) { if (b.rank() == 1) b.recv(0, recv(0, 8)); }), HasSubstr("rank 0 never sends it"));
  EXPECT_THAT(check(p, [](Builder& b) {
    if (b.rank() == 0) b.send(1, recv(0, 8));
    else b.recv(0, recv(0, 7));
  }), HasSubstr("expects 7 elements, but rank 0 sends 8"));
  auto all = build(2, [](Builder& b) {
    if (b.rank() == 0) b.send(1, recv(0, 8));
    else b.recv(0, recv(0, 8));
  });
  all[0].steps[0].message = 1;
  EXPECT_THAT(check(p, all), HasSubstr("is message number 0 to that peer, not 1"));
  all[0].steps[0].peer = 0;
  EXPECT_THAT(check(p, all), HasSubstr("peer 0 is not another rank"));
}

TEST(Verify, NoDeadlock) {
  const Problem p = problem(Coll::barrier, 2, 0);
  const auto in_order = [](bool odd_first) {
    return [odd_first](Builder& b) {
      if (odd_first && b.rank() == 1) {
        b.recv_signal(0), b.fence(), b.send_signal(0);
      } else {
        b.send_signal(1 - b.rank()), b.fence(), b.recv_signal(1 - b.rank());
      }
    };
  };
  EXPECT_EQ(check(p, in_order(true)), "");
  EXPECT_THAT(check(p, in_order(false)), HasSubstr("deadlock: rank "));  // each send would wait for a receive that is not posted
  EXPECT_THAT(check(p, in_order(false)), HasSubstr("waits for rank 1"));
}

TEST(Verify, NativesAreTheSameOnAllMembers) {
  Problem p = problem(Coll::allreduce, 3, 6);
  p.groups = {{0, 1, 2}, {1, 2}};
  const auto native = [](Builder& b, Coll c, std::int64_t count = 6, int root = 0) { b.native(c, 0, root, recv(0, count), send(0, count)); };
  EXPECT_EQ(check(p, [&](Builder& b) { native(b, Coll::allreduce); }), "");
  EXPECT_THAT(check(p, [&](Builder& b) { if (b.rank() != 1) native(b, Coll::allreduce); }), HasSubstr("rank 1 of the group does not take part"));
  EXPECT_THAT(check(p, [&](Builder& b) { native(b, Coll::allreduce, b.rank() == 2 ? 5 : 6); }), HasSubstr("gives 5 elements where 6 belong"));
  EXPECT_THAT(check(p, [&](Builder& b) {
    if (b.rank() == 2) b.native(Coll::barrier, 0, 0, recv(0, 0), send(0, 0));
    else native(b, Coll::allreduce);
  }), HasSubstr("rank 0 of the group runs a native allreduce here"));
  EXPECT_THAT(check(p, [](Builder& b) { b.native(Coll::bcast, 0, b.rank() == 2 ? 1 : 0, recv(0, 6), recv(0, 0)); }), HasSubstr("names root 0"));
  EXPECT_THAT(check(p, [](Builder& b) { b.native(Coll::allreduce, 1, 0, recv(0, 6), send(0, 6)); }), HasSubstr("not a member of group 1"));
  EXPECT_THAT(check(p, [](Builder& b) { b.native(Coll::scan, 0, 0, recv(0, 6), send(0, 6)); }), HasSubstr("no transport has"));
  EXPECT_THAT(check(p, [](Builder& b) { b.native(Coll::allreduce, 0, 0, recv(1, 5), recv(0, 5)); }), HasSubstr("overlap"));
  // Members 1 and 2 meet in both groups, in different orders.
  EXPECT_THAT(check(p, [&](Builder& b) {
    const Range s = b.scratch(6);
    const auto small = [&] { if (b.rank() != 0) b.native(Coll::allreduce, 1, 0, s, send(0, 6)); };
    if (b.rank() == 2) small();
    native(b, Coll::allreduce);
    if (b.rank() == 1) small();
  }), HasSubstr("deadlock"));
}

TEST(Verify, NativeParts) {
  Problem p = problem(Coll::reduce_scatter_block, 2, 3);
  p.groups = {{0, 1}};
  const auto parts = [](std::vector<Part> of) {
    return [of](Builder& b) { b.native(Coll::reduce_scatter, 0, 0, recv(0, 3), send(0, 6), of); };
  };
  EXPECT_EQ(check(p, parts({{0, 3}, {3, 3}})), "");
  EXPECT_THAT(check(p, parts({{3, 3}, {0, 3}})), HasSubstr("part 1 does not begin where the one before ends"));
  EXPECT_THAT(check(p, parts({{0, 3}, {3, 4}})), HasSubstr("part 1 lies outside"));
  EXPECT_THAT(check(p, parts({{0, 3}})), HasSubstr("has 1 parts instead of 2"));
  EXPECT_THAT(check(p, parts({{0, 2}, {2, 3}})), HasSubstr("gives 3 elements where 2 belong"));
  p = problem(Coll::alltoall, 2, 1);
  p.groups = {{0, 1}};
  const Part good[] = {{0, 1}, {1, 1}, {0, 1}, {1, 1}}, crossed[] = {{0, 1}, {1, 1}, {1, 1}, {0, 1}};
  EXPECT_EQ(check(p, [&](Builder& b) { b.native(Coll::alltoallv, 0, 0, recv(0, 2), send(0, 2), good); }), "");
  EXPECT_THAT(check(p, [&](Builder& b) { b.native(Coll::alltoallv, 0, 0, recv(0, 2), send(0, 2), crossed); }), HasSubstr("instead of [0,1)"));
}

TEST(Verify, Hazards) {
  const Problem p = problem(Coll::allreduce, 2, 8);
  auto all = build(2, exchange);
  all[1].steps[2].many_after = 0;
  EXPECT_THAT(check(p, all), HasSubstr("rank 1, step 2 (reduce recv(0+8) = scratch(0+8) (op) send(0+8)): touches what step 1"));
  all = build(2, exchange);
  all[0].after[all[0].steps[2].first_after] = 2;
  EXPECT_THAT(check(p, all), HasSubstr("waits for step 2, which does not come before it"));
}

TEST(Verify, NothingIsReadBeforeItIsWritten) {
  EXPECT_THAT(check(problem(Coll::allreduce, 2, 8), [](Builder& b) { b.copy(recv(0, 8), b.scratch(8)); }), HasSubstr("reads element 0, which nothing has written"));
}

TEST(Verify, RangesStayInside) {
  Problem p = problem(Coll::allreduce, 2, 8);
  EXPECT_THAT(check(p, [](Builder& b) { b.copy(recv(1, 8), send(0, 8)); }), HasSubstr("elements [1,9) lie outside the buffer of 8"));
  EXPECT_THAT(check(p, [](Builder& b) { b.copy(recv(0, 8), {Space::scratch, 0, 0, 8}); }), HasSubstr("lie outside the buffer of 0"));
  EXPECT_THAT(check(p, [](Builder& b) { b.copy({Space::recv_block, 0, 0, 8}, send(0, 8)); }), HasSubstr("does not have"));
  EXPECT_THAT(check(p, [](Builder& b) { b.copy(send(0, 4), send(4, 4)); }), HasSubstr("writes a buffer that must stay as it is"));
  EXPECT_THAT(check(p, [](Builder& b) { b.copy(recv(0, 4), recv(2, 4)); }), HasSubstr("overlap"));
  EXPECT_THAT(check(p, [](Builder& b) { b.copy(recv(0, 4), send(2, 5)); }), HasSubstr("lengths differ"));
  EXPECT_THAT(check(p, [](Builder& b) { b.reduce(recv(0, 4), send(0, 4), recv(2, 4)); }), HasSubstr("operand 1 overlaps the result"));
  EXPECT_THAT(check(p, [](Builder& b) { b.reduce(recv(0, 4), send(0, 4), send(2, 3)); }), HasSubstr("operand 1 has another length"));
  p.in_place = true;
  EXPECT_THAT(check(p, exchange), HasSubstr("(the call is in place)"));
  p.in_place = false;
  EXPECT_THAT(check(p, build(2, exchange), {false, true}), HasSubstr("rank 1, step 0"));
  EXPECT_THAT(check(problem(Coll::reduce, 2, 8), build(2, exchange), {false, true}), HasSubstr("rank 1 may not be in place"));
}

TEST(Verify, BarriersHoldEverybodyBack) {
  const Problem p = problem(Coll::barrier, 4, 0);
  const auto rounds = [](int n) {
    return [n](Builder& b) {
      for (int k = 0, d = 1; k < n; ++k, d *= 2) {
        b.send_signal((b.rank() + d) % b.size()), b.recv_signal((b.rank() + b.size() - d) % b.size());
        b.fence();
      }
    };
  };
  EXPECT_EQ(check(p, rounds(2)), "");
  EXPECT_THAT(check(p, rounds(1)), HasSubstr("rank 0: may leave the barrier before rank 1 has entered it"));
  auto all = build(4, rounds(2));
  all[1].steps[2].many_after = 0;  // the second signal does not wait for the first round
  EXPECT_THAT(check(p, all), HasSubstr("may leave the barrier"));
}

TEST(Verify, ExscanLeavesRankZeroAlone) {
  const Problem p = problem(Coll::exscan, 2, 2);
  const auto body = [](bool spoils) {
    return [spoils](Builder& b) {
      if (b.rank() == 0) b.send(1, send(0, 2));
      else b.recv(0, recv(0, 2));
      if (spoils && b.rank() == 0) b.copy(recv(0, 2), send(0, 2));
    };
  };
  EXPECT_EQ(check(p, body(false)), "");
  EXPECT_THAT(check(p, body(true)), HasSubstr("must stay as it is"));
}

TEST(Verify, BlocksOfUnknownLength) {
  Problem p = problem(Coll::gatherv, 3, 0);
  p.root = 1;
  p.block_counts = {2, 0, 5};
  const auto gather = [](Builder& b) {
    if (b.rank() != 1) return b.send(1, {Space::send_block, b.rank(), 0, whole_block});
    for (int r = 0; r < 3; ++r)
      if (r != 1) b.recv(r, {Space::recv_block, r, 0, whole_block});
    b.copy({Space::recv_block, 1, 0, whole_block}, {Space::send, 0, 0, whole_block});
  };
  EXPECT_EQ(check(p, gather), "");
  p.block_counts.pop_back();
  EXPECT_THAT(check(p, gather), HasSubstr("counts are not as many"));
  p = problem(Coll::alltoallv, 2, 0);
  p.block_counts = {1, 2, 3, 4};
  const auto exchange_blocks = [](Builder& b) {
    const int other = 1 - b.rank();
    b.copy({Space::recv_block, b.rank(), 0, whole_block}, {Space::send_block, b.rank(), 0, whole_block});
    b.send(other, {Space::send_block, other, 0, whole_block});
    b.recv(other, {Space::recv_block, other, 0, whole_block});
  };
  EXPECT_EQ(check(p, exchange_blocks), "");
  EXPECT_THAT(check(p, [](Builder& b) {
    b.send(1 - b.rank(), {Space::send_block, b.rank(), 0, whole_block});
    b.recv(1 - b.rank(), {Space::recv_block, 1 - b.rank(), 0, whole_block});
  }), HasSubstr("expects 3 elements, but rank 1 sends 4"));
}

}  // namespace
}  // namespace libcoll::sched
