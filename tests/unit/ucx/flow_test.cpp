// Flow control of one pair (transports/ucx/flow.hpp), without UCX.
#include "transports/ucx/flow.hpp"

#include <gtest/gtest.h>

#include <random>

namespace libcoll::xport::ucx {
namespace {

// Both ends; words travel when the test says so.
struct Pair {
  Flow sender{1, 7}, receiver{0, 7};
  bool send(std::uint32_t sequence, std::size_t bytes = 8) {
    if (!sender.may_start(sequence)) return false;
    sender.started(sequence, bytes);
    return true;
  }
  void tell() { sender.hear(receiver.tell()); }
};

TEST(Flow, StopsAtTheWindowAndGoesOnWithCredit) {
  Pair p;
  std::uint32_t sequence = 0;
  while (p.send(sequence)) ++sequence;
  EXPECT_EQ(sequence, Flow::window);
  for (std::uint32_t i = 0; i + 1 < Flow::tell_after; ++i) {
    p.receiver.consumed(8);
    EXPECT_FALSE(p.receiver.must_tell());
  }
  p.receiver.consumed(8);
  EXPECT_TRUE(p.receiver.must_tell());
  p.tell();
  EXPECT_FALSE(p.receiver.must_tell());
  for (std::uint32_t i = 0; i < Flow::tell_after; ++i) EXPECT_TRUE(p.send(sequence++));
  EXPECT_FALSE(p.send(sequence));
}

TEST(Flow, OperationsThatHaveBegunAreNeverHeldBack) {
  Pair p;
  for (std::uint32_t i = 0; i < 10 * Flow::window; ++i) EXPECT_TRUE(p.send(5));
  EXPECT_FALSE(p.send(6));
  EXPECT_TRUE(p.send(4));
  EXPECT_TRUE(p.send(5));
}

TEST(Flow, BytesCount) {
  Pair p;
  std::size_t bytes = 0;
  std::uint32_t sequence = 0;
  for (; p.send(sequence, 64 << 10); ++sequence) bytes += 64 << 10;
  EXPECT_LE(bytes, (Flow::window * Flow::bytes_per_unit) + (64 << 10));
  EXPECT_GE(bytes, (Flow::window * Flow::bytes_per_unit) / 2);
  // No message is too large for the window, and half of it is left to be told whatever is consumed.
  EXPECT_LT(Flow::units(std::size_t{1} << 40), Flow::window / 2);
  EXPECT_EQ(Flow::units(0), 1u);
}

// The counters wrap around after 512 units (first_count); numbers of operations wrap around here, too.
TEST(Flow, WrapsAround) {
  Pair p;
  std::uint32_t sequence = 0u - 1000;
  std::uint64_t outstanding = 0, most = 0;
  std::mt19937 random(1);
  for (int i = 0; i < 100'000; ++i) {
    // By turns faster and slower than it is consumed.
    const bool fast = i / 2000 % 2 == 0;
    for (int k = 0; k < (fast ? 3 : 1) && p.send(sequence); ++k) ++sequence, ++outstanding;
    most = std::max(most, outstanding);
    if (outstanding != 0 && random() % 8 != 0) p.receiver.consumed(8), --outstanding;
    if (p.receiver.must_tell()) p.tell();
  }
  EXPECT_LE(most, Flow::window);
  EXPECT_GE(most, Flow::window * 3 / 4);
  while (outstanding != 0) p.receiver.consumed(8), --outstanding;
  p.tell();
  EXPECT_EQ(p.sender.unconsumed(), 0u);
  EXPECT_GT(sequence, 10'000u);  // it has wrapped around
  EXPECT_LT(sequence, 0u - 1000);
}

TEST(Flow, OldWordsAreIgnored) {
  Pair p;
  for (std::uint32_t i = 0; i < 10; ++i) p.send(i);
  p.receiver.consumed(8);
  const std::uint32_t first = p.receiver.tell();
  p.receiver.consumed(8);
  p.tell();
  p.sender.hear(first);
  EXPECT_EQ(p.sender.unconsumed(), 8u);
}

TEST(Flow, WhoWaitsGoesByOperationThenInOrder) {
  Pair p;
  std::uint32_t sequence = 0;
  while (p.send(sequence)) ++sequence;
  Entry e[6];
  const std::uint32_t sequences[] = {sequence + 1, sequence + 3, sequence, sequence + 3, sequence + 1, sequence + 2};
  for (int i = 0; i < 6; ++i) {
    e[i].header.sequence = sequences[i];
    p.sender.wait(&e[i]);
  }
  p.sender.remove(&e[5]);
  EXPECT_EQ(p.sender.take_startable(), nullptr);
  p.receiver.consumed(8);
  p.tell();
  const auto go = [&] {
    Entry* const next = p.sender.take_startable();
    if (next != nullptr) p.sender.started(next->header.sequence, 8);
    return next;
  };
  EXPECT_EQ(go(), &e[2]);
  EXPECT_EQ(go(), nullptr);
  p.receiver.consumed(8);
  p.tell();
  EXPECT_EQ(go(), &e[0]);
  EXPECT_EQ(go(), &e[4]);  // of an operation that has begun
  EXPECT_EQ(go(), nullptr);
  p.sender.set_unlimited();
  EXPECT_EQ(go(), &e[1]);
  EXPECT_EQ(go(), &e[3]);
  EXPECT_FALSE(p.sender.waiting());
}

TEST(Flow, RemovingAnyOfThoseThatWait) {
  for (int gone = 0; gone < 3; ++gone) {
    Flow f{1, 7};
    Entry e[4];
    for (int i = 0; i < 3; ++i) f.wait(&e[i]);
    f.remove(&e[gone]);
    f.wait(&e[3]);
    for (int i = 0; i < 4; ++i) {
      if (i != gone) {
        EXPECT_EQ(f.take(), &e[i]);
      }
    }
    EXPECT_EQ(f.take(), nullptr);
  }
}

TEST(Flow, OneForEachCommunicator) {
  Flows flows(3);
  EXPECT_EQ(flows.find(1), nullptr);
  Flow& one = flows.of(1);
  Flow& two = flows.of(2);
  EXPECT_EQ(one.peer, 3);
  EXPECT_NE(&one, &two);
  EXPECT_EQ(&flows.of(1), &one);
  EXPECT_EQ(flows.find(2), &two);
  flows.erase(2);
  EXPECT_EQ(flows.find(2), nullptr);
  EXPECT_EQ(&flows.of(1), &one);
}

TEST(Flow, AbandonedOperations) {
  Abandoned a;
  a.add(10, 5);
  EXPECT_TRUE(a.contains(10) && a.contains(4));
  EXPECT_FALSE(a.contains(5) || a.contains(9) || a.contains(11));
  a.add(20, 21);
  EXPECT_TRUE(a.contains(20) && a.contains(15));
  EXPECT_FALSE(a.contains(21));
  for (std::uint32_t live = 1u << 20; live != 0; live += 1u << 20) {  // as the queue renews it: numbers wrap around
    a.add(live - 1, live);
    EXPECT_TRUE(a.contains(live - 1));
    EXPECT_FALSE(a.contains(live) || a.contains(live + (1u << 30)));
  }
  a.add(0u - 1, 0u - 3);
  EXPECT_TRUE(a.contains(0u - 1) && a.contains(0u - 4));
  EXPECT_FALSE(a.contains(0u - 2) || a.contains(3));
}

}  // namespace
}  // namespace libcoll::xport::ucx
