// Dependencies exactly where ranges conflict, and the text form.
#include <gmock/gmock.h>

#include "libcoll/schedule/builder.hpp"

namespace libcoll::sched {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::uint32_t> after(const Schedule& s, std::size_t i) {
  const auto first = s.after.begin() + s.steps[i].first_after;
  return {first, first + s.steps[i].many_after};
}
Range recv(std::int64_t from, std::int64_t count) { return {Space::recv, 0, from, count}; }
Range send(std::int64_t from, std::int64_t count) { return {Space::send, 0, from, count}; }

TEST(Builder, OnlyConflictsWait) {
  Builder b(0, 4);
  const Range inbox = b.scratch(10);
  b.copy(recv(0, 10), send(0, 10));               // 0
  b.send(1, recv(0, 10));                         // 1 reads what 0 wrote
  b.send(2, recv(0, 5));                          // 2 likewise; not after 1
  b.recv(3, inbox);                               // 3 touches nothing of the others
  b.reduce(recv(5, 5), recv(5, 5), part(inbox, 5, 5));  // 4 after 0, after the reader 1, after 3
  b.send(1, recv(0, 5));                          // 5 after 0 only
  b.copy(recv(2, 1), send(0, 1));                 // 6 overwrites what 1, 2 and 5 read
  const Schedule s = b.take();
  EXPECT_THAT(after(s, 0), IsEmpty());
  EXPECT_THAT(after(s, 1), ElementsAre(0));
  EXPECT_THAT(after(s, 2), ElementsAre(0));
  EXPECT_THAT(after(s, 3), IsEmpty());
  EXPECT_THAT(after(s, 4), ElementsAre(0, 1, 3));
  EXPECT_THAT(after(s, 5), ElementsAre(0));
  EXPECT_THAT(after(s, 6), ElementsAre(0, 1, 2, 5));
  EXPECT_EQ(s.scratch, 10);
  EXPECT_EQ(s.steps[5].message, 1);
  EXPECT_TRUE(b.take().steps.empty());
}

TEST(Builder, WholeBlocksReachToTheirEnd) {
  Builder b(0, 2);
  const Range block{Space::recv_block, 1, 0, whole_block};
  b.recv(1, block);
  b.send(1, {Space::recv_block, 0, 0, whole_block});
  b.send(1, {Space::recv_block, 1, 1000, 1});
  const Schedule s = b.take();
  EXPECT_THAT(after(s, 1), IsEmpty());
  EXPECT_THAT(after(s, 2), ElementsAre(0));
}

TEST(Builder, NothingIsEmittedForNothing) {
  Builder b(0, 2);
  b.send(1, recv(0, 0));
  b.recv(1, recv(0, 0));
  b.copy(recv(0, 0), send(0, 0));
  b.copy(recv(0, 4), recv(0, 4));
  b.finish(recv(0, 0));
  b.reduce(recv(0, 0), recv(0, 0), send(0, 0));
  b.fence();
  EXPECT_TRUE(b.take().steps.empty());
}

TEST(Builder, OneOperandIsACopy) {
  Builder b(0, 2);
  const Range one[] = {send(0, 3)};
  b.reduce(recv(0, 3), one);
  EXPECT_EQ(b.take().steps.at(0).kind, Kind::copy);
}

TEST(Builder, FencesOrderSignals) {
  Builder b(0, 2);
  b.send_signal(1);
  b.recv_signal(1);
  b.fence();
  b.send_signal(1);
  b.recv_signal(1);
  b.fence();
  b.fence();
  b.send_signal(1);
  const Schedule s = b.take();
  EXPECT_THAT(after(s, 1), IsEmpty());
  EXPECT_THAT(after(s, 2), ElementsAre(0, 1));
  EXPECT_THAT(after(s, 3), ElementsAre(0, 1));
  EXPECT_THAT(after(s, 4), ElementsAre(2, 3));
}

TEST(Schedules, TextForm) {
  Builder b(1, 3);
  const Range s = b.scratch(4);
  b.recv(0, s);
  b.reduce(recv(0, 4), s, send(0, 4));
  b.finish(recv(0, 4));
  b.send(2, {Space::recv_block, 2, 0, whole_block});
  b.copy(recv(0, 1), s.count == 4 ? part(s, 3, 1) : s);
  b.send_signal(2);
  const Part parts[] = {{0, 2}, {2, 2}};
  b.native(Coll::allgatherv, 0, 0, recv(0, 4), recv(0, 2), parts);
  b.native(Coll::reduce, 1, 1, recv(0, 4), send(0, 4));
  EXPECT_EQ(to_text(b.take()),
            "rank 1 of 3, scratch 4\n"
            "   0  recv from 0 message 0 scratch(0+4)\n"
            "   1  reduce recv(0+4) = scratch(0+4) (op) send(0+4)  after 0\n"
            "   2  finish recv(0+4)  after 1\n"
            "   3  send to 2 message 0 recv[2]\n"
            "   4  copy recv(0+1) = scratch(3+1)  after 0,2\n"
            "   5  send to 2 message 1 signal\n"
            "   6  native allgatherv of group 0 from recv(0+2) to recv(0+4) parts 0+2 2+2  after 2,4\n"
            "   7  native reduce of group 1 root 1 from send(0+4) to recv(0+4)  after 6\n");
}

}  // namespace
}  // namespace libcoll::sched
