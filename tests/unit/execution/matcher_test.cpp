// Which message a receive gets.
#include "libcoll/execution/matcher.hpp"

#include <gtest/gtest.h>

#include <list>
#include <memory>
#include <random>

#include "tests/support/values.hpp"

namespace libcoll::exec {
namespace {

TEST(MatchList, TheOldestOfItsTagAndSource) {
  MatchList list;
  MatchNode a{.source = 1, .tag = 5}, b{.source = 2, .tag = 5}, c{.source = 1, .tag = 5}, d{.source = 1, .tag = 6};
  for (MatchNode* n : {&a, &b, &c, &d}) list.append(*n);
  EXPECT_EQ(list.first(1, 5), &a);
  EXPECT_EQ(list.first(2, 5), &b);
  EXPECT_EQ(list.first(any_source, 5), &a);
  EXPECT_EQ(list.first(any_source, 6), &d);
  EXPECT_EQ(list.first(2, 6), nullptr);
  EXPECT_EQ(list.first(3, 5), nullptr);
  list.remove(a);
  EXPECT_EQ(list.first(1, 5), &c);
  EXPECT_EQ(list.first(any_source, 5), &b);
  EXPECT_EQ(list.size(), 3u);
}

TEST(MatchList, ReceivesFromAnySourceTakeTheirTurn) {
  MatchList receives;
  MatchNode two{.source = 2, .tag = 0}, any{.source = any_source, .tag = 0}, one{.source = 1, .tag = 0};
  for (MatchNode* n : {&two, &any, &one}) receives.append(*n);
  EXPECT_EQ(receives.first(1, 0), &any);
  EXPECT_EQ(receives.first(2, 0), &two);
  receives.remove(any);
  EXPECT_EQ(receives.first(1, 0), &one);
  EXPECT_EQ(receives.first(3, 0), nullptr);
}

// Against a list that is searched from its start, while it grows and shrinks.
TEST(MatchList, AsAPlainListWould) {
  std::mt19937_64 random(test::test_seed());
  MatchList list;
  std::list<std::unique_ptr<MatchNode>> plain;
  for (int round = 0; round < 20000; ++round) {
    const int source = static_cast<int>(random() % 5) - 1, tag = static_cast<int>(random() % 400) * 1024;
    if (random() % 100 < (round / 4000 % 2 == 0 ? 70u : 20u)) {
      plain.push_back(std::make_unique<MatchNode>(MatchNode{.source = source, .tag = tag}));
      list.append(*plain.back());
      continue;
    }
    auto want = plain.begin();
    while (want != plain.end() && !((*want)->tag == tag && ((*want)->source == source || source == any_source || (*want)->source == any_source))) ++want;
    MatchNode* const got = list.first(source, tag);
    ASSERT_EQ(got, want == plain.end() ? nullptr : want->get()) << "round " << round << ", " << test::seed_text();
    if (got == nullptr) continue;
    list.remove(*got);
    plain.erase(want);
  }
  std::size_t seen = 0;
  list.each([&](MatchNode& n) { ++seen, list.remove(n); });
  EXPECT_EQ(seen, plain.size());
  EXPECT_EQ(list.size(), 0u);
}

}  // namespace
}  // namespace libcoll::exec
