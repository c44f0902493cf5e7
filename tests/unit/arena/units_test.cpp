// The books of the arena, against a map that says the same in a slower way.
#include "integrations/arena/units.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

#include "tests/support/values.hpp"

namespace libcoll::arena {
namespace {

using Index = Units::Index;
using Kind = Units::Kind;

struct Books {
  explicit Books(Index n, std::uint64_t origin = 0) : tags(n) { units.reset(tags.data(), n, origin); }
  std::vector<Units::Tag> tags;
  Units units;
};

TEST(Units, HandsOutAllButTheFirst) {
  Books b(100);
  EXPECT_EQ(b.units.take(0).length, 0u);
  EXPECT_EQ(b.units.take(100).length, 0u);
  const Units::Block all = b.units.take(99);
  EXPECT_EQ(all.first, 1u);
  EXPECT_EQ(all.was, Kind::clean);
  EXPECT_EQ(b.units.take(1).length, 0u) << "nothing is left";
  EXPECT_EQ(b.units.used(), 99u);
  b.units.put(all.first, Kind::clean);
  EXPECT_EQ(b.units.used(), 0u);
  EXPECT_EQ(b.units.take(99).first, 1u);
}

TEST(Units, OnlyTheStartOfALiveBlockIsOne) {
  Books b(64);
  const Index first = b.units.take(8).first, second = b.units.take(8).first;
  for (Index i = 0; i < 64; ++i) EXPECT_EQ(b.units.is_block(i), i == first || i == second) << i;
  b.units.put(second, Kind::dirty);
  b.units.put(first, Kind::dirty);
  for (Index i = 0; i < 64; ++i) EXPECT_FALSE(b.units.is_block(i)) << i;
}

TEST(Units, DirtyBlocksComeFirstAndKindsDoNotJoin) {
  Books b(64);
  const Index a = b.units.take(10).first, c = b.units.take(10).first;
  b.units.put(a, Kind::dirty);
  EXPECT_EQ(b.units.dirty(), 10u);
  const Units::Block warm = b.units.take(4);
  EXPECT_EQ(warm.was, Kind::dirty);
  EXPECT_EQ(b.units.dirty(), 6u);
  EXPECT_EQ(b.units.take(7).was, Kind::clean) << "six are not enough";
  b.units.put(warm.first, Kind::clean);
  b.units.put(c, Kind::dirty);
  EXPECT_EQ(b.units.dirty(), 16u);
  const Units::Block largest = b.units.take_dirty();
  EXPECT_EQ(largest.length, 16u);
  EXPECT_EQ(b.units.take_dirty().length, 0u);
}

TEST(Units, AlignmentCountsFromTheOrigin) {
  for (const std::uint64_t origin : {0u, 3u, 512u, 1000u}) {
    Books b(4096, origin);
    for (const std::uint64_t align : {1u, 2u, 16u, 512u, 1024u}) {
      const Units::Block got = b.units.take(5, align);
      ASSERT_NE(got.length, 0u);
      EXPECT_EQ((origin + got.first) % align, 0u);
    }
    EXPECT_EQ(b.units.take(5, 8192).length, 0u);
    EXPECT_EQ(b.units.take(5, std::uint64_t{1} << 60).length, 0u);
  }
}

TEST(Units, GrowsOnlyIntoFreeNeighbours) {
  Books b(64);
  const Index a = b.units.take(4).first, c = b.units.take(4).first;
  EXPECT_FALSE(b.units.grow(a, 5));
  EXPECT_TRUE(b.units.grow(c, 59));
  EXPECT_FALSE(b.units.grow(c, 60)) << "the arena ends";
  b.units.shrink(c, 1);
  EXPECT_EQ(b.units.dirty(), 58u);
  EXPECT_EQ(b.units.used(), 5u);
  EXPECT_TRUE(b.units.grow(c, 2)) << "into what it has just given back";
}

TEST(Units, RandomUseMatchesAMap) {
  std::mt19937_64 random(test::test_seed());
  constexpr Index n = 3000;
  Books b(n);
  std::map<Index, Index> live;  // first -> length
  const auto check_free = [&](Index first, Index length) {
    const auto next = live.lower_bound(first);
    if (next != live.end()) { ASSERT_LE(first + length, next->first) << test::seed_text(); }
    if (next != live.begin()) { ASSERT_LE(std::prev(next)->first + std::prev(next)->second, first) << test::seed_text(); }
    ASSERT_GE(first, 1u);
    ASSERT_LE(first + length, n);
  };
  for (int step = 0; step < 30000; ++step) {
    const auto pick = [&] { return std::next(live.begin(), static_cast<std::ptrdiff_t>(random() % live.size())); };
    const std::uint64_t what = live.empty() ? 0 : random() % 10;
    if (what < 5) {
      const auto length = static_cast<Index>(1 + random() % (random() % 8 == 0 ? 400 : 20));
      const Units::Block got = b.units.take(length, std::uint64_t{1} << random() % 5);
      if (got.length == 0) continue;
      ASSERT_EQ(got.length, length);
      check_free(got.first, length);
      live[got.first] = length;
    } else if (what < 8) {
      const auto at = pick();
      b.units.put(at->first, random() % 2 == 0 ? Kind::dirty : Kind::clean);
      live.erase(at);
    } else if (what == 8) {
      const auto at = pick();
      const auto length = static_cast<Index>(1 + random() % (2 * at->second));
      if (length <= at->second) b.units.shrink(at->first, length);
      else if (!b.units.grow(at->first, length)) continue;
      at->second = length;
    } else if (const Units::Block old = b.units.take_dirty(); old.length != 0) {
      check_free(old.first, old.length);
      b.units.put(old.first, Kind::clean);
    }
    Index used = 0;
    for (const auto& [first, length] : live) used += length;
    ASSERT_EQ(b.units.used(), used) << test::seed_text();
  }
  for (const auto& [first, length] : live) {
    ASSERT_TRUE(b.units.is_block(first));
    ASSERT_EQ(b.units.length(first), length);
    b.units.put(first, Kind::dirty);
  }
  for (Units::Block old = b.units.take_dirty(); old.length != 0; old = b.units.take_dirty()) b.units.put(old.first, Kind::clean);
  EXPECT_EQ(b.units.dirty(), 0u);
  EXPECT_EQ(b.units.take(n - 1).first, 1u) << "all has joined again";
}

}  // namespace
}  // namespace libcoll::arena
