// What is chosen for buffers on devices, in the situations that gpu.md names, from NCCL's own constants.
#include "libcoll/planning/device_costs.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/algorithms/device_support.hpp"

namespace libcoll::planning {
namespace {

using algo::DeviceGroups;
using algo::DeviceRecipe;
using detail::Coll;
using sched::Problem;
using test::equal_islands;
using test::Placement;

constexpr std::uint32_t element_bytes = 4;
constexpr std::int64_t small = 2, medium = 1 << 14, large = 1 << 26;
constexpr Coll collectives[] = {Coll::allreduce, Coll::bcast, Coll::reduce, Coll::allgather, Coll::reduce_scatter_block, Coll::alltoall};

Problem problem(Coll coll, const DeviceGroups& groups, std::int64_t count) {
  int size = 0;
  for (const auto& island : groups.islands) size += static_cast<int>(island.size());
  Problem p = test::flat_problem(coll, size, count);
  p.groups = algo::device_group_list(size, groups);
  return p;
}
std::vector<DeviceChoice> choices(Coll coll, const DeviceGroups& groups, std::int64_t count, const DeviceSituation& now = {}) {
  return choose_device(problem(coll, groups, count), groups, {}, element_bytes, now);
}
bool plain(const DeviceChoice& c) { return !c.staged && !c.recipe.over_islands; }

TEST(DeviceChoice, OneIslandTakesPlainNccl) {
  for (const Coll coll : collectives)
    for (const std::int64_t count : {small, medium, large}) {
      const auto all = choices(coll, equal_islands(1, 8, Placement::blocks), count);
      ASSERT_EQ(all.size(), 1u);
      EXPECT_TRUE(plain(all[0]));
    }
}

TEST(DeviceChoice, UnequalIslandsTakePlainNccl) {
  const DeviceGroups groups = algo::device_groups({{0, 1, 2, 3}, {4, 5, 6}, {7, 8, 9, 10}});
  for (const Coll coll : collectives) EXPECT_TRUE(plain(choices(coll, groups, medium).at(0)));
}

TEST(DeviceChoice, SmallAllreducesTakePlainNccl) {
  for (const int islands : {3, 16, 128})
    for (const int members : {4, 8, 72})
      for (const std::int64_t count : {small, std::int64_t{256}})
        EXPECT_TRUE(plain(choices(Coll::allreduce, equal_islands(islands, members, Placement::blocks), count).at(0))) << islands << " of " << members;
}

TEST(DeviceChoice, TwoIslandsTakePlainNccl) {
  const DeviceGroups groups = equal_islands(2, 8, Placement::blocks);
  for (const Coll coll : collectives)
    for (const std::int64_t count : {small, medium, large}) {
      const auto all = choices(coll, groups, count);
      EXPECT_TRUE(plain(all.at(0))) << detail::name_of(coll) << " " << count;
      EXPECT_STREQ(all[0].why, "two islands: plain NCCL");
      EXPECT_GT(all.size(), 1u) << "runners-up are told";
    }
}

TEST(DeviceChoice, CaptureTakesPlainNccl) {
  for (const Coll coll : collectives) {
    const auto all = choices(coll, equal_islands(64, 8, Placement::blocks), medium, {.host_us = 0, .capturing = true});
    EXPECT_TRUE(plain(all.at(0))) << detail::name_of(coll);
    EXPECT_STREQ(all[0].why, "graph capture: plain NCCL");
    EXPECT_TRUE(std::none_of(all.begin(), all.end(), [](const DeviceChoice& c) { return c.staged; }));
  }
}

// Rings over everyone pay a hop per rank.
TEST(DeviceChoice, ManyNodesGoOverIslands) {
  const DeviceGroups groups = equal_islands(128, 8, Placement::round_robin), blocks = equal_islands(128, 8, Placement::blocks);
  for (const Coll coll : {Coll::allgather, Coll::reduce_scatter_block}) EXPECT_TRUE(choices(coll, groups, 1024).at(0).recipe.over_islands) << detail::name_of(coll);
  EXPECT_TRUE(choices(Coll::alltoall, blocks, small).at(0).recipe.over_islands);
  const auto bcast = choices(Coll::bcast, blocks, 64).at(0);
  EXPECT_EQ(bcast.recipe, (DeviceRecipe{.over_islands = true, .sliced = false}));
}

// Many copies of small pieces cost more than the hops they save.
TEST(DeviceChoice, CopiesCount) {
  const auto best = [](Placement placement) { return choices(Coll::allgather, equal_islands(128, 8, placement), small).at(0); };
  EXPECT_TRUE(best(Placement::round_robin).recipe.over_islands);
  EXPECT_TRUE(plain(best(Placement::random)));
}

// The network and NVLink at the same time.
TEST(DeviceChoice, LargeVectorsAreCutIntoChunks) {
  const DeviceGroups groups = equal_islands(16, 8, Placement::blocks);
  const Problem p = problem(Coll::allreduce, groups, 1 << 28);
  const auto us = [&](std::int64_t chunk) { return predict_device_us(p, groups, {true, chunk}, {}, element_bytes); };
  EXPECT_LT(us(1 << 24), 0.8 * us(0));
  EXPECT_GT(us(64), us(0)) << "a chunk costs three calls";
}

TEST(DeviceChoice, WhatNcclLacksIsStaged) {
  const DeviceGroups groups = equal_islands(4, 8, Placement::blocks);
  for (const auto& all : {choices(Coll::scan, groups, medium, {.host_us = 100}), choices(Coll::allreduce, groups, medium, {.host_us = 100, .nccl = false})}) {
    ASSERT_EQ(all.size(), 1u);
    EXPECT_TRUE(all[0].staged);
    EXPECT_STREQ(all[0].why, "NCCL cannot");
  }
  EXPECT_TRUE(choices(Coll::scan, groups, medium).empty());
  EXPECT_TRUE(choices(Coll::scan, groups, medium, {.host_us = 100, .capturing = true}).empty());
}

TEST(DeviceChoice, StagingIsForWhenItIsCheaper) {
  const DeviceGroups groups = equal_islands(4, 8, Placement::blocks);
  for (const Coll coll : collectives) EXPECT_FALSE(choices(coll, groups, large, {.host_us = 1000}).at(0).staged) << detail::name_of(coll);
  // As on machines where NCCL has no path.
  DeviceCosts slow;
  slow.nic_gbps = 0.1;
  EXPECT_TRUE(choose_device(problem(Coll::allreduce, groups, large), groups, slow, element_bytes, {.host_us = 1000}).at(0).staged);
}

TEST(DeviceCosts, GrowWithElementsRanksAndSlowerLinks) {
  for (const Coll coll : collectives)
    for (const DeviceRecipe& r : {DeviceRecipe{}, DeviceRecipe{.over_islands = true}}) {
      const DeviceGroups few = equal_islands(4, 8, Placement::blocks), many = equal_islands(32, 8, Placement::blocks);
      const auto us = [&](const DeviceGroups& groups, std::int64_t count, const DeviceCosts& costs = {}) {
        return predict_device_us(problem(coll, groups, count), groups, r, costs, element_bytes);
      };
      DeviceCosts slow;
      slow.nic_gbps /= 8;
      for (const std::int64_t count : {small, medium}) {
        EXPECT_LE(us(few, count), us(few, 16 * count)) << detail::name_of(coll);
        EXPECT_LT(us(few, count), us(many, count)) << detail::name_of(coll);
      }
      EXPECT_LT(2 * us(few, large), us(few, large, slow)) << detail::name_of(coll);
      EXPECT_GT(us(few, 1), 0);
    }
}

// NVIDIA's published number for 8 H100: bus bandwidth of a 4 GB allreduce about 476 GB/s.
TEST(DeviceCosts, MatchWhatIsKnownOf8H100) {
  const DeviceGroups groups = equal_islands(1, 8, Placement::blocks);
  const double bytes = 4e9, us = predict_device_us(problem(Coll::allreduce, groups, 1'000'000'000), groups, {}, {}, element_bytes);
  EXPECT_NEAR(bytes * 2 * 7 / 8 / (us * 1e3), 476, 10);
  DeviceCosts without;
  without.nvls = false;
  EXPECT_NEAR(bytes * 2 * 7 / 8 / (predict_device_us(problem(Coll::allreduce, groups, 1'000'000'000), groups, {}, without, element_bytes) * 1e3), 371, 10);
}

TEST(DeviceCosts, StagingPaysForBothCopies) {
  DeviceCosts c;
  c.host_gbps = 10;
  const Problem p = test::flat_problem(Coll::allreduce, 4, 1'000'000);
  EXPECT_NEAR(predict_staged_us(p, c, 50, element_bytes), 50 + 2 * c.host_copy_us + 2 * 4e6 / 10e3, 1e-6);
  const Problem barrier = test::flat_problem(Coll::barrier, 4, 0);
  EXPECT_NEAR(predict_staged_us(barrier, c, 50, element_bytes), 50 + 2 * c.host_copy_us, 1e-6);
}

}  // namespace
}  // namespace libcoll::planning
