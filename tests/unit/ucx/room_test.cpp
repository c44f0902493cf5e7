// What surely finds room in a socket (transports/ucx/room.hpp), against a socket of 16 KiB that is looked into.
#include "transports/ucx/room.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <deque>
#include <random>

namespace libcoll::xport::ucx {
namespace {

constexpr std::size_t asked_for_from = 1 << 20;

// One direction: what the sender's kernel holds, and what its Room says.
struct Socket {
  Room room;
  struct Message {
    std::size_t bytes;
    bool counts;  // as a message where it arrives; not so data that was asked for
  };
  std::deque<Message> held;
  std::uint16_t arrived = 0;
  std::size_t waiting = 0;  // that the receiver may ask for

  std::size_t bytes() const {
    std::size_t sum = 0;
    for (const Message& m : held) sum += m.bytes;
    return sum;
  }
  void send(std::size_t bytes) {
    const bool asked_for = bytes >= asked_for_from;
    room.started(bytes, asked_for);
    held.push_back({asked_for ? 64 : bytes, true});
    waiting += asked_for;
  }
  void ask() {
    if (waiting == 0) return;
    --waiting;
    held.push_back({asked_for_from, false});
    room.ended_asked_for();
  }
  void take() {
    if (held.empty()) return;
    arrived = static_cast<std::uint16_t>(arrived + held.front().counts);
    held.pop_front();
  }
  void tell() { room.hear(arrived); }
};

TEST(Room, ThreeSmallOnesOnTheirWay) {
  Socket s;
  for (int i = 0; i < 3; ++i) s.send(Room::small_max);
  EXPECT_TRUE(s.room.surely());
  s.send(0);
  EXPECT_FALSE(s.room.surely());
  s.take();
  EXPECT_FALSE(s.room.surely()) << "nobody has said so";
  s.tell();
  EXPECT_TRUE(s.room.surely());
}

TEST(Room, NothingLargeOnItsWay) {
  Socket s;
  s.send(Room::small_max + 1);
  EXPECT_FALSE(s.room.surely());
  s.take();
  s.tell();
  EXPECT_TRUE(s.room.surely());
}

TEST(Room, DataThatIsAskedForComesLate) {
  Socket s;
  s.send(asked_for_from);
  s.take();
  s.tell();
  EXPECT_FALSE(s.room.surely()) << "it may be asked for at any time";
  s.ask();
  s.tell();
  EXPECT_FALSE(s.room.surely()) << "the kernel may hold it";
  s.send(8);
  s.take();
  s.take();
  s.tell();
  EXPECT_TRUE(s.room.surely());
}

TEST(Room, OldWordIsNoNews) {
  Socket s;
  for (int i = 0; i < 8; ++i) s.send(8), s.take();
  s.tell();
  s.room.hear(2);
  EXPECT_TRUE(s.room.surely());
}

TEST(Room, WhateverHappensASmallMessageFits) {
  std::mt19937 random(7);
  int yes = 0, no = 0;
  Socket s;
  for (int i = 0; i < 400'000; ++i) {  // the counts wrap around
    switch (random() % 10) {
      case 0: s.send(random() % 8 == 0 ? asked_for_from : random() % 4000); break;
      case 1: s.ask(); break;
      case 2: case 3: s.send(random() % Room::small_max); break;
      case 4: s.tell(); break;
      default: s.take();
    }
    if (!s.room.surely()) {
      ++no;
      continue;
    }
    ++yes;
    ASSERT_LE(s.bytes(), 3 * Room::small_max) << i;
    ASSERT_EQ(s.waiting, 0u) << i;
  }
  EXPECT_GT(yes, 40'000);
  EXPECT_GT(no, 40'000);
}

}  // namespace
}  // namespace libcoll::xport::ucx
