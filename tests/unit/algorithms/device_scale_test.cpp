// Device plans of the machines of the design target: 18 NVLink islands of 72 GPUs, and 3,400 nodes of 4. What a rank needs to
// plan there, counted; and proofs.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "libcoll/planning/device_costs.hpp"
#include "tests/unit/algorithms/counted_new.hpp"
#include "tests/unit/algorithms/device_support.hpp"

namespace libcoll::test {
namespace {

using algo::DeviceGroups;
using algo::DeviceRecipe;
using detail::Coll;
using sched::Problem;

struct Shape {
  const char* name;
  int islands, ranks;
  int size() const { return islands * ranks; }
};
void PrintTo(const Shape& s, std::ostream* out) { *out << s.name; }
constexpr Shape islands_of_72{"18_islands_of_72", 18, 72}, nodes_of_4{"3400_nodes_of_4", 3400, 4}, fewer_nodes_of_4{"201_nodes_of_4", 201, 4};

constexpr Coll collectives[] = {Coll::allreduce, Coll::allgather, Coll::reduce_scatter_block, Coll::bcast, Coll::reduce, Coll::alltoall};
constexpr std::uint32_t element_bytes = 4;
bool is_vector(Coll c) { return c == Coll::allreduce || c == Coll::bcast || c == Coll::reduce; }

double cpu_ms() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
}

class DeviceScale : public testing::TestWithParam<Shape> {};

// What is chosen, and whatever else is worth considering. The time is for people: it depends on the machine.
TEST_P(DeviceScale, APlanTakesLittleMemory) {
  const DeviceGroups groups = equal_islands(GetParam().islands, GetParam().ranks, Placement::blocks);
  const auto lists = algo::device_group_list(GetParam().size(), groups);
  for (const Coll coll : collectives) {
    double slowest_ms = 0, choosing_ms = 0;
    std::size_t largest = 0;
    std::string slowest, chosen;
    for (const std::int64_t count : {std::int64_t{2}, std::int64_t{1} << 20}) {
      Problem p = flat_problem(coll, GetParam().size(), count, GetParam().size() / 2 + 1);
      p.groups = lists;
      for (const int rank : {0, p.root, p.size - 1}) {
        const std::size_t before = most_allocated = allocated;
        const double begun = cpu_ms();
        const auto choices = planning::choose_device(p, groups, {}, element_bytes, {.host_us = 1e6});
        choosing_ms = std::max(choosing_ms, cpu_ms() - begun);
        EXPECT_GT(choices.size(), 2u) << detail::name_of(coll);
        if (rank == 0) chosen += fmt::format("{}{} for {}", chosen.empty() ? "" : ", ", to_text(choices.front().recipe), count);
        for (const auto& choice : choices) {
          if (choice.staged) continue;
          const double building = cpu_ms();
          const sched::Schedule s = algo::build_device(p, groups, choice.recipe, rank);
          const double took = cpu_ms() - building;
          if (took > slowest_ms) slowest_ms = took, slowest = fmt::format("{} of {}: {} steps", to_text(choice.recipe), count, s.steps.size());
        }
        EXPECT_LT(most_allocated - before, 50u << 20) << detail::name_of(coll);
        largest = std::max(largest, most_allocated - before);
      }
    }
    std::printf("%d ranks: %s: chosen %s in %.1f ms; slowest build %.1f ms (%s); at most %.1f MB\n", GetParam().size(), detail::name_of(coll), chosen.c_str(), choosing_ms,
                slowest_ms, slowest.c_str(), static_cast<double>(largest) / 1e6);
  }
}
INSTANTIATE_TEST_SUITE_P(Machines, DeviceScale, testing::Values(islands_of_72, nodes_of_4), [](const auto& test) { return std::string(test.param.name); });

std::string prove_on(const Shape& shape, Coll coll, std::int64_t count, const DeviceRecipe& r, Placement placement = Placement::blocks) {
  const double begun = cpu_ms();
  std::string why = prove_device(flat_problem(coll, shape.size(), count, shape.size() / 2 + 1), equal_islands(shape.islands, shape.ranks, placement), r, false);
  std::printf("%d ranks: %s by %s proved in %.0f ms\n", shape.size(), detail::name_of(coll), to_text(r).c_str(), cpu_ms() - begun);
  return why;
}

TEST(DeviceScaleProofs, AllRanksOf18IslandsOf72) {
  for (const Coll coll : collectives) {
    const std::int64_t count = is_vector(coll) ? 100'001 : 1;
    EXPECT_EQ(prove_on(islands_of_72, coll, count, {.over_islands = true}), "");
    if (coll == Coll::alltoall) continue;  // 3.4 million steps: once is enough
    EXPECT_EQ(prove_on(islands_of_72, coll, count, {}), "");
    if (!is_vector(coll)) continue;
    EXPECT_EQ(prove_on(islands_of_72, coll, count, {true, 20'000}), "");
  }
}

TEST(DeviceScaleProofs, VectorsOn3400Nodes) {
  for (const Coll coll : {Coll::allreduce, Coll::bcast, Coll::reduce}) {
    EXPECT_EQ(prove_on(nodes_of_4, coll, 10'001, {}), "");
    EXPECT_EQ(prove_on(nodes_of_4, coll, 10'001, {.over_islands = true}), "");
    EXPECT_EQ(prove_on(nodes_of_4, coll, 10'001, {true, 5'000}), "");
  }
  for (const Coll coll : {Coll::allreduce, Coll::bcast, Coll::reduce}) EXPECT_EQ(prove_on(nodes_of_4, coll, 10'001, {.over_islands = true, .sliced = false}), "");
}

// Blocks of all ranks are the number of ranks squared: all of them on fewer nodes of the same kind.
TEST(DeviceScaleProofs, BlocksOn201Nodes) {
  for (const Coll coll : {Coll::allgather, Coll::reduce_scatter_block}) {
    EXPECT_EQ(prove_on(fewer_nodes_of_4, coll, 1, {.over_islands = true}), "");
    EXPECT_EQ(prove_on(fewer_nodes_of_4, coll, 1, {.over_islands = true, .sliced = false}), "");
  }
}

// What rank r does with `other`: messages to it or from it, or natives of a group that holds both.
std::vector<std::string> dealings(const Problem& p, const sched::Schedule& s, int other, sched::Kind kind) {
  std::vector<std::string> out;
  for (const sched::Step& step : s.steps) {
    if (step.kind != kind) continue;
    if (kind == sched::Kind::native) {
      const auto& members = p.groups[static_cast<std::size_t>(step.group)];
      if (std::find(members.begin(), members.end(), other) == members.end()) continue;
      const std::int64_t each = step.many > 0 ? s.parts[step.first].count : 0;
      out.push_back(fmt::format("{} of group {}: {} parts of {}", detail::name_of(step.native), step.group, step.many, each));
    } else if (step.peer == other) {
      out.push_back(fmt::format("{} elements", kind == sched::Kind::send ? step.from.count : step.to.count));
    }
  }
  return out;
}

// On 3,400 nodes pairs of ranks are compared instead, in both directions: what one says, the other says, too.
TEST(DeviceScaleProofs, PairsOnBlocksOf3400Nodes) {
  const DeviceGroups groups = equal_islands(3400, 4, Placement::blocks);
  for (const Coll coll : {Coll::allgather, Coll::reduce_scatter_block, Coll::alltoall})
    for (const DeviceRecipe& r : {DeviceRecipe{}, DeviceRecipe{.over_islands = true}}) {
      Problem p = flat_problem(coll, nodes_of_4.size(), 3);
      p.groups = algo::device_group_list(p.size, groups);
      ASSERT_EQ(algo::refuses_device(p, groups, r), "");
      std::vector<sched::Schedule> some;
      for (const int rank : {0, 1, 2, 3, 4, 512, 515, 6800, 6801, 13599}) some.push_back(algo::build_device(p, groups, r, rank));
      std::size_t met = 0;
      for (const auto& one : some)
        for (const auto& other : some) {
          if (one.rank == other.rank) continue;
          const auto sent = dealings(p, one, other.rank, sched::Kind::send), together = dealings(p, one, other.rank, sched::Kind::native);
          EXPECT_EQ(sent, dealings(p, other, one.rank, sched::Kind::recv)) << to_text(r) << ": " << one.rank << " to " << other.rank;
          EXPECT_EQ(together, dealings(p, other, one.rank, sched::Kind::native)) << to_text(r) << ": " << one.rank << " and " << other.rank;
          met += sent.size() + together.size();
        }
      EXPECT_GT(met, 0u) << detail::name_of(coll) << " by " << to_text(r);
    }
}

}  // namespace
}  // namespace libcoll::test
