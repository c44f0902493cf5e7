#include "transports/ucx/matching.hpp"

#include <gtest/gtest.h>

#include <set>

namespace libcoll::xport::ucx {
namespace {

TEST(Matching, FindsByTheWholeKey) {
  EntryPool pool;
  MatchTable table;
  std::set<Entry*> all;
  for (std::uint64_t c = 0; c < 10; ++c)
    for (std::uint32_t s = 0; s < 10; ++s)
      for (std::uint32_t m = 0; m < 10; ++m)
        for (int p = 0; p < 3; ++p) {
          Entry* const e = pool.take();
          e->header = {c, s, m, 0, Header::data};
          e->peer = p;
          e->bytes = c * 1000 + s * 100 + m * 10 + static_cast<std::size_t>(p);
          table.insert(e);
          all.insert(e);
        }
  EXPECT_EQ(all.size(), 3000u);
  EXPECT_EQ(table.take(Entry::Kind::arrived, {1, 2, 3, 0, 0}, 1), nullptr);
  EXPECT_EQ(table.take(Entry::Kind::posted, {1, 2, 3, 0, 0}, 3), nullptr);
  Entry* const e = table.take(Entry::Kind::posted, {1, 2, 3, 0, 0}, 2);
  ASSERT_NE(e, nullptr);
  EXPECT_EQ(e->bytes, 1232u);
  EXPECT_EQ(table.take(Entry::Kind::posted, {1, 2, 3, 0, 0}, 2), nullptr);
  EXPECT_FALSE(table.remove(e));
  int taken = 0;
  table.extract([](const Entry& x) { return x.header.communicator == 1; }, [&](Entry*) { ++taken; });
  EXPECT_EQ(taken, 299);
  EXPECT_EQ(table.take(Entry::Kind::posted, {1, 2, 4, 0, 0}, 2), nullptr);
  EXPECT_NE(table.take(Entry::Kind::posted, {2, 2, 4, 0, 0}, 2), nullptr);
}

TEST(Matching, EqualKeysKeepTheirOrder) {
  EntryPool pool;
  MatchTable table;
  Entry *a = pool.take(), *b = pool.take();
  table.insert(a);
  table.insert(b);
  a->peer = b->peer = -1;
  EXPECT_EQ(table.take(Entry::Kind::posted, {}, -1), a);
  EXPECT_EQ(table.take(Entry::Kind::posted, {}, -1), b);
}

TEST(Matching, PoolsGiveBackWhatTheyWereGiven) {
  EntryPool entries;
  PayloadPool payloads;
  Entry* const e = entries.take();
  entries.give(e);
  EXPECT_EQ(entries.take(), e);
  for (const std::size_t bytes : {1u, 64u, 65u, 5000u, 65536u}) {
    void* const p = payloads.take(bytes);
    payloads.give(p, bytes);
    EXPECT_EQ(payloads.take(bytes), p);
    payloads.give(p, bytes);
  }
  payloads.give(payloads.take(1 << 20), 1 << 20);
}

TEST(Matching, ForgottenCommunicatorsAreRememberedUpToALimit) {
  Forgotten f;
  EXPECT_FALSE(f.contains(0));
  for (std::uint64_t i = 0; i < 30'000; ++i) f.add(i), f.add(i);
  EXPECT_TRUE(f.contains(29'999));
  EXPECT_TRUE(f.contains(20'000));
  EXPECT_FALSE(f.contains(1));
}

}  // namespace
}  // namespace libcoll::xport::ucx
