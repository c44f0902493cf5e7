// What the library chooses from costs alone.
#include "libcoll/planning/select.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/proofs.hpp"

namespace libcoll::planning {
namespace {

using detail::Coll;

constexpr std::uint32_t element_bytes = 4;
constexpr std::int64_t large = 1 << 18;

// Behind the first all are in the order of their predictions; the first is not much worse than the best of them.
TEST(Select, FirstIsAboutTheCheapest) {
  for (const Coll coll : {Coll::allreduce, Coll::bcast, Coll::allgather, Coll::reduce_scatter_block, Coll::alltoall})
    for (const std::int64_t count : {std::int64_t{2}, std::int64_t{4096}, large}) {
      sched::Problem p = test::flat_problem(coll, 12, count);
      test::set_hosts(p, 4, 3);
      const std::vector<Choice> all = rank_candidates(p, {}, element_bytes);
      ASSERT_FALSE(all.empty());
      EXPECT_TRUE(std::is_sorted(all.begin() + 1, all.end(), [](const Choice& a, const Choice& b) { return a.predicted_us < b.predicted_us; }));
      for (const Choice& c : all) EXPECT_LE(all.front().predicted_us, 1.1 * c.predicted_us) << to_text(c.recipe);
      EXPECT_EQ(all.size(), algo::candidates(p).size());
    }
}

// One exchange sends as much as halving and doubling do, in half the rounds.
TEST(Select, TwoHostsReduceInOneExchange) {
  const auto choice = choose(test::flat_problem(Coll::allreduce, 2, large), {}, nullptr, {}, element_bytes);
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->recipe.algorithm, "recursive_doubling");
}

// Slices are copied side by side only where there are CPUs for it.
TEST(Select, LeadersAloneExchangeWhereRanksShareACpu) {
  sched::Problem p = test::flat_problem(Coll::allgather, 4, large);
  test::set_hosts(p, 2, 2);
  Costs costs;
  EXPECT_NE(rank_candidates(p, costs, element_bytes).front().recipe.slices, 1);
  costs.ranks_per_cpu = 2;
  EXPECT_EQ(rank_candidates(p, costs, element_bytes).front().recipe.slices, 1);
}

// Never for more bytes, however much a round costs less than the model can tell.
TEST(Select, LargeVectorsOfFourHostsStayNearTheLowerBound) {
  for (const double alpha_us : {1.0, 10.0, 50.0}) {
    Costs costs;
    costs.alpha_us = alpha_us;
    const sched::Problem p = test::flat_problem(Coll::allreduce, 4, large);
    const Choice first = rank_candidates(p, costs, element_bytes).front();
    EXPECT_LE(messages_of(p, first.recipe).elements, 1.05 * 2 * 3 / 4 * large) << alpha_us << ": " << to_text(first.recipe);
  }
}

}  // namespace
}  // namespace libcoll::planning
