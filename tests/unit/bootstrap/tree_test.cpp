#include "libcoll/bootstrap/tree.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libcoll/bootstrap/door.hpp"

namespace libcoll::detail {
namespace {

TEST(Tree, ParentsAndChildrenAgree) {
  for (const int n : {1, 2, 8, 9, 10, 73, 74, 600, 5000}) {
    int edges = 0;
    for (int r = 0; r < n; ++r) {
      for (const int c : tree_children(r, n)) {
        EXPECT_EQ(tree_parent(c), r);
        EXPECT_EQ(tree_depth(c), tree_depth(r) + 1);
        ++edges;
      }
    }
    EXPECT_EQ(edges, n - 1);
  }
}

TEST(Tree, SubtreesOfTheChildrenAndTheRankMakeItsSubtree) {
  const auto count = [](int rank, int size) {
    int ranks = 0;
    for (const RankRange& r : tree_subtree(rank, size)) ranks += r.end - r.begin;
    return ranks;
  };
  for (const int n : {1, 2, 9, 10, 74, 585, 586, 700}) {
    EXPECT_EQ(count(0, n), n);
    for (int r = 0; r < n; ++r) {
      int below = 1;
      for (const int c : tree_children(r, n)) below += count(c, n);
      EXPECT_EQ(count(r, n), below);
    }
  }
  EXPECT_EQ(tree_subtree(1, 12), (std::vector<RankRange>{{1, 2}, {9, 12}}));
}

TEST(Tree, IsShallowAndDoesNotOverflow) {
  EXPECT_EQ(tree_depth(4095), 4);
  const int most = 2'147'483'647;
  EXPECT_TRUE(tree_children(most - 1, most).empty());
  EXPECT_EQ(tree_subtree(most - 1, most), (std::vector<RankRange>{{most - 1, most}}));
}

TEST(RankList, IsShort) {
  EXPECT_EQ(rank_list({3}), "rank 3");
  EXPECT_EQ(rank_list({2, 5, 6, 7}), "ranks 2, 5-7");
  EXPECT_EQ(rank_list({0, 1, 2}), "ranks 0-2");
  std::vector<int> odd;
  for (int i = 0; i < 1000; ++i) odd.push_back(2 * i + 1);
  EXPECT_THAT(rank_list(odd), testing::EndsWith(", 63 and 968 more"));
  EXPECT_EQ(seconds_text(std::chrono::milliseconds(1500)), "1.5 s");
  EXPECT_EQ(seconds_text(std::chrono::milliseconds(120'000)), "120 s");
}

}  // namespace
}  // namespace libcoll::detail
