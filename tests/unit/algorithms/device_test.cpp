// Proofs of the schedules for devices: right results, no deadlock under any timing nor in the order of one stream, nothing
// but what NCCL and copies can do.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>

#include "tests/support/values.hpp"
#include "tests/unit/algorithms/device_support.hpp"

namespace libcoll::detail {
void PrintTo(Coll c, std::ostream* out) { *out << name_of(c); }
}  // namespace libcoll::detail

namespace libcoll::test {
namespace {

using algo::DeviceGroups;
using algo::DeviceRecipe;
using detail::Coll;
using sched::Problem;
using testing::HasSubstr;

constexpr Coll on_devices[] = {Coll::barrier,    Coll::bcast,  Coll::reduce,  Coll::allreduce, Coll::reduce_scatter_block, Coll::reduce_scatter, Coll::allgather,
                               Coll::allgatherv, Coll::gather, Coll::gatherv, Coll::scatter,   Coll::scatterv,             Coll::alltoall,       Coll::alltoallv};
constexpr Coll over_islands[] = {Coll::bcast, Coll::reduce, Coll::allreduce, Coll::reduce_scatter_block, Coll::allgather, Coll::alltoall};

bool rooted(Coll c) {
  return c == Coll::bcast || c == Coll::reduce || c == Coll::gather || c == Coll::gatherv || c == Coll::scatter || c == Coll::scatterv;
}
bool is_vector(Coll c) { return c == Coll::bcast || c == Coll::reduce || c == Coll::allreduce; }
bool has_chunks(Coll c) { return c != Coll::alltoall; }
bool has_slices(Coll c, Placement placement) {
  return c == Coll::bcast || c == Coll::reduce || c == Coll::allreduce || (placement == Placement::blocks && c != Coll::alltoall);
}

std::vector<int> roots_of(Coll c, int size) {
  if (!rooted(c)) return {0};
  if (size > 9) return {0, 1, size / 2 + 1, size - 1};
  std::vector<int> all;
  for (int r = 0; r < size; ++r) all.push_back(r);
  return all;
}

class Devices : public testing::TestWithParam<Coll> {};

TEST_P(Devices, FlatForAllSizesAndRoots) {
  int proofs = 0;
  for (const int size : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 32, 33, 64}) {
    if (size > 64 * test_scale()) continue;
    for (const int root : roots_of(GetParam(), size))
      for (const int count : {0, 1, size - 1, 7, 1'000'003})
        for (const bool in_place : {false, true}) {
          if (in_place && GetParam() == Coll::alltoallv) continue;
          Problem p = flat_problem(GetParam(), size, count, root);
          p.in_place = in_place;
          ASSERT_EQ(prove_device(p, {}, {}, size < 33), "");
          ++proofs;
        }
  }
  EXPECT_GE(proofs, 100 * test_scale());
}
INSTANTIATE_TEST_SUITE_P(All, Devices, testing::ValuesIn(on_devices), [](const auto& test) { return std::string(detail::name_of(test.param)); });

TEST(DevicesFlat, OneNativeOverEveryone) {
  for (const Coll coll : {Coll::barrier, Coll::bcast, Coll::reduce, Coll::allreduce, Coll::reduce_scatter_block, Coll::reduce_scatter, Coll::allgather, Coll::allgatherv}) {
    Problem p = flat_problem(coll, 12, 100);
    p.groups = algo::device_group_list(12, equal_islands(3, 4, Placement::blocks));
    const auto s = algo::build_device(p, {}, {}, 5);
    int natives = 0, messages = 0;
    for (const auto& step : s.steps) {
      natives += step.kind == sched::Kind::native && step.group == 0;
      messages += step.kind == sched::Kind::send || step.kind == sched::Kind::recv;
    }
    EXPECT_EQ(natives, 1) << detail::name_of(coll);
    EXPECT_EQ(messages, 0) << detail::name_of(coll);
  }
}

class OverIslands : public testing::TestWithParam<Coll> {};

// Counts below, at and above what an island divides.
TEST_P(OverIslands, EqualIslandsOfAllShapes) {
  const bool vector = is_vector(GetParam());
  int proofs = 0;
  for (const int members : {2, 3, 4, 8})
    for (int many = 2; many <= 9; ++many)
      for (const Placement placement : {Placement::blocks, Placement::round_robin, Placement::random}) {
        const DeviceGroups groups = equal_islands(many, members, placement, static_cast<std::uint64_t>(many * members));
        const int size = many * members;
        const std::vector<int> counts = vector ? std::vector{0, 1, members - 1, members, 8 * members + 1, 1'000'003} : std::vector{0, 1, 1'000'003};
        for (int k = 0; k < (rooted(GetParam()) ? 2 : 1); ++k)
          for (const int count : counts)
            for (const bool in_place : {false, true}) {
              if (!vector && in_place && size > 32) continue;
              Problem p = flat_problem(GetParam(), size, count, k == 0 ? 0 : size / 2 + 1);
              p.in_place = in_place;
              const std::int64_t chunk = std::max(1, count / 4);
              ASSERT_EQ(prove_device(p, groups, {.over_islands = true}, size <= 24), "");
              ++proofs;
              if (!has_chunks(GetParam())) continue;
              ASSERT_EQ(prove_device(p, groups, {.over_islands = true, .chunk = chunk}, size <= 24), "");
              if (!has_slices(GetParam(), placement)) continue;
              ASSERT_EQ(prove_device(p, groups, {.over_islands = true, .chunk = vector && in_place ? chunk : 0, .sliced = false}, size <= 24), "");
            }
      }
  EXPECT_GE(proofs, 400);
}

// Every root, where many cases differ by who leads.
TEST(DevicesOverIslands, AllRoots) {
  for (const Coll coll : {Coll::bcast, Coll::reduce})
    for (const Placement placement : {Placement::blocks, Placement::round_robin, Placement::random})
      for (int root = 0; root < 12; ++root)
        for (const bool in_place : {false, true}) {
          Problem p = flat_problem(coll, 12, 103, root);
          p.in_place = in_place;
          for (const bool sliced : {false, true})
            for (const std::int64_t chunk : {0, 10}) ASSERT_EQ(prove_device(p, equal_islands(3, 4, placement), {true, chunk, sliced}), "");
        }
}

TEST_P(OverIslands, Random) {
  test::Random random(static_cast<std::uint64_t>(GetParam()) + 77);
  const bool vector = is_vector(GetParam());
  for (int i = 0; i < 300 * test_scale(); ++i) {
    const int members = between(random, 2, 6), many = between(random, 2, 6), size = members * many;
    static constexpr int counts[] = {0, 1, 2, 3, 7, 16, 61, 1000, 40'000, 123'456'789};
    Problem p = flat_problem(GetParam(), size, counts[between(random, 0, 9)], between(random, 0, size - 1));
    p.in_place = between(random, 0, 1) == 0;
    DeviceRecipe r{.over_islands = true};
    if (has_chunks(GetParam()) && between(random, 0, 1) == 0) r.chunk = std::max<std::int64_t>(1, p.count / between(random, 1, 9));
    const auto placement = static_cast<Placement>(between(random, 0, 2));
    if (has_slices(GetParam(), placement)) r.sliced = between(random, 0, 1) == 0;
    if (!r.sliced && !vector) r.chunk = 0;
    ASSERT_EQ(prove_device(p, equal_islands(many, members, placement, static_cast<std::uint64_t>(i)), r), "") << "case " << i;
  }
}
INSTANTIATE_TEST_SUITE_P(All, OverIslands, testing::ValuesIn(over_islands), [](const auto& test) { return std::string(detail::name_of(test.param)); });

// Everything that is offered is right.
TEST(DeviceCandidates, AreAllProved) {
  for (const Coll coll : on_devices)
    for (const Placement placement : {Placement::blocks, Placement::round_robin}) {
      const DeviceGroups groups = equal_islands(3, 4, placement);
      Problem p = flat_problem(coll, 12, 1 << 20, 0);
      p.groups = algo::device_group_list(12, groups);
      const auto all = algo::device_candidates(p, groups);
      ASSERT_FALSE(all.empty());
      EXPECT_EQ(all.front(), DeviceRecipe{});
      const bool over = std::find(std::begin(over_islands), std::end(over_islands), coll) != std::end(over_islands);
      EXPECT_EQ(all.size() > 1, over) << detail::name_of(coll);
      for (const DeviceRecipe& r : all) EXPECT_EQ(prove_device(p, groups, r), "");
    }
}

// What one rank gives to its rail's natives and to messages between islands: the least that p ranks with a card each can.
TEST(DevicesOverIslands, CrossTheNetworkOnce) {
  constexpr int many = 6, members = 4;
  const std::int64_t n = 4000;
  for (const Placement placement : {Placement::blocks, Placement::round_robin, Placement::random}) {
    const DeviceGroups groups = equal_islands(many, members, placement);
    for (const Coll coll : over_islands)
      for (const std::int64_t chunk : {std::int64_t{0}, n / 5}) {
        if (chunk != 0 && !has_chunks(coll)) continue;
        Problem p = flat_problem(coll, many * members, n, 7);
        p.groups = algo::device_group_list(p.size, groups);
        std::vector<int> island_of(24);
        for (int i = 0; i < many; ++i)
          for (const int r : groups.islands[static_cast<std::size_t>(i)]) island_of[static_cast<std::size_t>(r)] = i;
        for (const auto& s : build_device_all(p, groups, {true, chunk})) {
          std::int64_t crossing = 0;
          for (const auto& step : s.steps) {
            if (step.kind == sched::Kind::send && island_of[static_cast<std::size_t>(step.peer)] != island_of[static_cast<std::size_t>(s.rank)]) crossing += step.from.count;
            if (step.kind == sched::Kind::native && step.group > many) crossing += std::max(step.to.count, step.from.count);
          }
          const std::int64_t least = is_vector(coll) ? n / members : coll == Coll::alltoall ? n * members * (many - 1) : n * many;
          EXPECT_EQ(crossing, least) << detail::name_of(coll) << ", rank " << s.rank << ", chunk " << chunk;
        }
      }
  }
}

// Where blocks lie in the order that natives want, nothing is copied.
TEST(DevicesOverIslands, CopyOnlyWhatRanksOrderRequires) {
  for (const Coll coll : {Coll::allgather, Coll::reduce_scatter_block})
    for (const Placement placement : {Placement::blocks, Placement::round_robin, Placement::random}) {
      const DeviceGroups groups = equal_islands(4, 3, placement);
      Problem p = flat_problem(coll, 12, 50);
      p.groups = algo::device_group_list(12, groups);
      for (const auto& s : build_device_all(p, groups, {.over_islands = true})) {
        const auto copies = std::count_if(s.steps.begin(), s.steps.end(), [](const auto& step) { return step.kind == sched::Kind::copy; });
        EXPECT_EQ(copies == 0, placement != Placement::random) << detail::name_of(coll);
        if (placement == Placement::round_robin) {
          EXPECT_EQ(s.steps.size(), 2u);
        }
      }
    }
}

TEST(DeviceGroupList, EveryoneIslandsRailsWithoutRepeats) {
  using Lists = std::vector<std::vector<int>>;
  EXPECT_EQ(algo::device_group_list(4, algo::device_groups({{0, 1}, {2, 3}})), (Lists{{0, 1, 2, 3}, {0, 1}, {2, 3}, {0, 2}, {1, 3}}));
  EXPECT_EQ(algo::device_group_list(3, algo::device_groups({{0, 1, 2}})), (Lists{{0, 1, 2}}));
  EXPECT_EQ(algo::device_group_list(3, algo::device_groups({{0}, {1}, {2}})), (Lists{{0, 1, 2}}));
  EXPECT_EQ(algo::device_group_list(3, algo::device_groups({{0, 1}, {2}})), (Lists{{0, 1, 2}, {0, 1}}));
  EXPECT_EQ(algo::device_group_list(3, {{{0, 1}, {2}}, {{0, 2}}}), (Lists{{0, 1, 2}, {0, 1}})) << "rails of unequal islands mean nothing";
  EXPECT_EQ(algo::device_group_list(1, {}), (Lists{{0}}));
  EXPECT_EQ(algo::device_group_list(2, {}), (Lists{{0, 1}}));
}

TEST(DeviceRefusals, SayWhy) {
  const DeviceGroups groups = equal_islands(2, 3, Placement::blocks);
  const auto why = [&](Coll coll, const DeviceRecipe& r, const DeviceGroups& of, const std::function<void(Problem&)>& change = {}) {
    Problem p = flat_problem(coll, 6, 10);
    p.groups = algo::device_group_list(6, of);
    if (change) change(p);
    return algo::refuses_device(p, of, r);
  };
  const DeviceRecipe flat{}, over{.over_islands = true};
  EXPECT_EQ(why(Coll::allreduce, flat, {}), "");
  EXPECT_EQ(why(Coll::allreduce, over, groups), "");
  EXPECT_THAT(why(Coll::scan, flat, groups), HasSubstr("NCCL has no scan: it is staged through host memory"));
  EXPECT_THAT(why(Coll::exscan, over, groups), HasSubstr("NCCL has no exscan"));
  EXPECT_THAT(why(Coll::allreduce, over, algo::device_groups({{0, 1, 2, 3, 4, 5}})), HasSubstr("one island"));
  EXPECT_THAT(why(Coll::allreduce, over, {}), HasSubstr("one island"));
  EXPECT_THAT(why(Coll::bcast, over, algo::device_groups({{0, 1, 2, 3}, {4, 5}})), HasSubstr("unequal, of 2 to 4 ranks"));
  EXPECT_THAT(why(Coll::allgather, over, algo::device_groups({{0}, {1}, {2}, {3}, {4}, {5}})), HasSubstr("one rank each"));
  EXPECT_THAT(why(Coll::allreduce, over, algo::device_groups({{0, 1}, {1, 2}})), HasSubstr("rank 1 is not in exactly one island"));
  EXPECT_THAT(why(Coll::allreduce, over, algo::device_groups({{0, 1}, {2, 3}})), HasSubstr("islands hold 4 of 6 ranks"));
  EXPECT_THAT(why(Coll::allreduce, over, {groups.islands, {{0, 3}, {2, 4}, {1, 5}}}), HasSubstr("rails do not join"));
  EXPECT_THAT(why(Coll::allreduce, over, groups, [](Problem& p) { p.groups.pop_back(); }), HasSubstr("groups are not those"));
  EXPECT_THAT(why(Coll::allreduce, flat, groups, [](Problem& p) { p.groups.clear(); }), HasSubstr("first group is not everyone"));
  EXPECT_THAT(why(Coll::allreduce, flat, groups, [](Problem& p) { p.commutative = false; }), HasSubstr("does not commute"));
  EXPECT_THAT(why(Coll::reduce, flat, groups, [](Problem& p) { p.determinism = Determinism::placement; }), HasSubstr("rank order"));
  EXPECT_EQ(why(Coll::allgather, over, groups, [](Problem& p) { p.determinism = Determinism::placement; }), "");
  EXPECT_THAT(why(Coll::alltoallv, flat, groups, [](Problem& p) { p.in_place = true; }), HasSubstr("copy of the blocks"));
  EXPECT_THAT(why(Coll::barrier, over, groups), HasSubstr("one small operation"));
  EXPECT_THAT(why(Coll::reduce_scatter, over, groups), HasSubstr("unequal length"));
  EXPECT_THAT(why(Coll::allgatherv, over, groups), HasSubstr("unequal length"));
  EXPECT_THAT(why(Coll::gather, over, groups), HasSubstr("directly between their owners"));
  EXPECT_THAT(why(Coll::alltoall, {true, 4}, groups), HasSubstr("not cut into chunks"));
  EXPECT_THAT(why(Coll::alltoall, {.over_islands = true, .sliced = false}, groups), HasSubstr("nor otherwise than by rails"));
  EXPECT_THAT(why(Coll::allgather, {true, 5, false}, groups), HasSubstr("not sliced are not cut"));
  EXPECT_THAT(why(Coll::allgather, {true, 0, false}, equal_islands(2, 3, Placement::round_robin)), HasSubstr("ranks follow each other"));
  EXPECT_THAT(why(Coll::allreduce, {false, 4}, groups), HasSubstr("over islands"));
  EXPECT_THAT(why(Coll::allreduce, {true, -1}, groups), HasSubstr("chunk is -1"));
}

TEST(DeviceRecipes, TextThereAndBack) {
  for (const char* text : {"nccl", "island/nccl", "island/nccl:chunk=65536", "island/nccl:slices=1", "island/nccl:slices=1,chunk=7"}) {
    const auto r = algo::parse_device_recipe(text);
    ASSERT_TRUE(r) << r.error().text;
    EXPECT_EQ(to_text(*r), text);
  }
  EXPECT_EQ(*algo::parse_device_recipe("island/nccl:chunk=5,slices=all"), (DeviceRecipe{true, 5, true}));
  EXPECT_EQ(*algo::parse_device_recipe("island/nccl:slices=1"), (DeviceRecipe{true, 0, false}));
}

TEST(DeviceRecipes, ErrorsNameThePart) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "no algorithm"},
      {"island/", "no algorithm"},
      {"/nccl", "no level before the slash"},
      {"host/nccl", "unknown level \"host\""},
      {"island/ring", "unknown algorithm \"ring\""},
      {"nccl:", "nothing after the colon"},
      {"nccl:chunk=4", "of recipes over islands"},
      {"island/nccl:chunk", "\"chunk\" is not of the form key=value"},
      {"island/nccl:chunk=4,", "\"\" is not of the form key=value"},
      {"island/nccl:radix=4", "unknown key \"radix\""},
      {"island/nccl:chunk=4k", "chunk is \"4k\", which is not a number"},
      {"island/nccl:chunk=", "which is not a number"},
      {"island/nccl:chunk=99999999999999999999", "which is not a number"},
      {"island/nccl:chunk=0", "chunk is 0"},
      {"island/nccl:chunk=-3", "chunk is -3"},
      {"island/nccl:slices=2", "slices is \"2\"; it must be all or 1"},
      {"island/nccl:chunk=3,slices=1,chunk=3", "chunk is given twice"},
  };
  for (const auto& [text, error] : cases) {
    const auto r = algo::parse_device_recipe(text);
    ASSERT_FALSE(r) << text;
    EXPECT_EQ(r.error().code, Errc::invalid_argument);
    EXPECT_THAT(r.error().text, HasSubstr(error));
    EXPECT_THAT(r.error().text, HasSubstr(fmt::format("device recipe \"{}\"", text)));
  }
}

}  // namespace
}  // namespace libcoll::test
