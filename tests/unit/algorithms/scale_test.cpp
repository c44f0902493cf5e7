// The machines of the design target: NVLink domains of 72 GPUs on 18 hosts each, and 3,400 hosts of 4. What a rank needs to plan on
// them, counted; and proofs of what the library chooses there.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <ctime>

#include "libcoll/planning/select.hpp"
#include "tests/support/proofs.hpp"
#include "tests/unit/algorithms/counted_new.hpp"

namespace libcoll::test {
namespace {

using detail::Coll;
using sched::Problem;

struct Shape {
  const char* name;
  int hosts, ranks, hosts_of_island;
  int size() const { return hosts * ranks; }
};
void PrintTo(const Shape& s, std::ostream* out) { *out << s.name; }
constexpr Shape islands_of_72{"18_islands_of_72", 18 * 18, 4, 18}, nodes_of_4{"3400_nodes_of_4", 3400, 4, 1}, fewer_nodes_of_4{"401_nodes_of_4", 401, 4, 1};

constexpr Coll every_collective[] = {Coll::barrier, Coll::bcast, Coll::reduce, Coll::allreduce, Coll::reduce_scatter_block, Coll::reduce_scatter, Coll::allgather, Coll::allgatherv,
                                     Coll::gather, Coll::gatherv, Coll::scatter, Coll::scatterv, Coll::alltoall, Coll::scan, Coll::exscan};
constexpr std::int64_t small = 2, large = 1 << 18;
constexpr std::uint32_t element_bytes = 4;

Problem problem_on(const Shape& shape, Coll coll, std::int64_t count) {
  Problem p = flat_problem(coll, shape.size(), count, shape.size() / 2 + 1);
  LevelShape hosts{Level::host, std::vector<std::vector<int>>(static_cast<std::size_t>(shape.hosts))}, islands{Level::group, {}};
  islands.members.resize(static_cast<std::size_t>(shape.hosts / shape.hosts_of_island));
  for (int r = 0; r < p.size; ++r) {
    hosts.members[static_cast<std::size_t>(r / shape.ranks)].push_back(r);
    islands.members[static_cast<std::size_t>(r / shape.ranks / shape.hosts_of_island)].push_back(r);
  }
  if (shape.hosts_of_island > 1) set_levels(p, {hosts, islands});
  else set_levels(p, {hosts});
  return p;
}

algo::Recipe chosen_for(const Problem& p) {
  const auto choice = planning::choose(p, {}, nullptr, {}, element_bytes);
  if (!choice) throw std::runtime_error(choice.error().text);
  return choice->recipe;
}

double cpu_ms() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
}

class Scale : public testing::TestWithParam<Shape> {};

// The time is for people: it depends on the machine.
TEST_P(Scale, APlanTakesLittleMemory) {
  double slowest_ms = 0;
  std::size_t largest = 0;
  std::string slowest, hungriest;
  for (const Coll coll : every_collective)
    for (const std::int64_t count : {small, large}) {
      const Problem p = problem_on(GetParam(), coll, count);
      for (const int rank : {0, 1, p.root, p.size - 1}) {
        const std::size_t before = most_allocated = allocated;
        const double begun = cpu_ms();
        const algo::Recipe recipe = chosen_for(p);
        const sched::Schedule schedule = algo::build(p, recipe, rank);
        const double took = cpu_ms() - begun;
        const std::string what = fmt::format("{} of {} elements by {}, {} steps of rank {}", detail::name_of(coll), count, to_text(recipe), schedule.steps.size(), rank);
        EXPECT_LT(most_allocated - before, 50u << 20) << what;
        if (took > slowest_ms) slowest_ms = took, slowest = what;
        if (most_allocated - before > largest) largest = most_allocated - before, hungriest = what;
      }
    }
  std::printf("%d ranks: slowest plan %.1f ms (%s); largest %.1f MB (%s)\n", GetParam().size(), slowest_ms, slowest.c_str(), static_cast<double>(largest) / 1e6, hungriest.c_str());
}
INSTANTIATE_TEST_SUITE_P(Machines, Scale, testing::Values(islands_of_72, nodes_of_4), [](const auto& test) { return std::string(test.param.name); });

// What is chosen for many elements, proved with few: schedules are the same but for the lengths.
std::string prove_choice(const Shape& shape, Coll coll, std::int64_t count, std::int64_t proved) {
  const algo::Recipe recipe = chosen_for(problem_on(shape, coll, count));
  return prove(problem_on(shape, coll, proved), recipe);
}

TEST(ScaleProofs, EveryCollectiveOn18IslandsOf72) {
  for (const Coll coll : every_collective) {
    EXPECT_EQ(prove_choice(islands_of_72, coll, small, 1), "");
    if (coll == Coll::barrier || coll == Coll::alltoall) continue;  // an alltoall has as many blocks as pairs of ranks: once is enough
    const bool vector = coll == Coll::allreduce || coll == Coll::bcast || coll == Coll::reduce;
    EXPECT_EQ(prove_choice(islands_of_72, coll, large, vector ? 1000 : 1), "");
  }
}

// All ranks, and all elements where a vector is one for all.
TEST(ScaleProofs, VectorsOn3400Nodes) {
  for (const Coll coll : {Coll::barrier, Coll::allreduce, Coll::gather}) EXPECT_EQ(prove_choice(nodes_of_4, coll, small, 1), "");
  EXPECT_EQ(prove_choice(nodes_of_4, Coll::allreduce, large, 1000), "");
}

// Blocks of some ranks only, as long as others: all of them would be the number of ranks squared. Took 6 minutes on 3,400 nodes.
TEST(ScaleProofs, SomeBlocksOn401Nodes) {
  for (const Coll coll : {Coll::reduce_scatter, Coll::allgatherv})
    for (const std::int64_t count : {small, large}) {
      const algo::Recipe recipe = chosen_for(problem_on(nodes_of_4, coll, count));
      Problem p = problem_on(fewer_nodes_of_4, coll, 1);
      for (std::size_t r = 0; r < p.counts.size(); ++r) p.counts[r] = r % 97 == 5 ? 1 : 0;
      EXPECT_EQ(prove(p, recipe), "");
    }
}

// An alltoall of 13,600 ranks is 10^8 steps: pairs of ranks are compared instead, in both directions.
TEST(ScaleProofs, PairsOfAnAlltoallOn3400Nodes) {
  for (const std::int64_t count : {small, large}) {
    const Problem p = problem_on(nodes_of_4, Coll::alltoall, count);
    const algo::Recipe recipe = chosen_for(p);
    std::vector<sched::Schedule> some;
    for (const int r : {0, 1, 2, 3, 4, 512, 515, 6800, 6801, 13599}) some.push_back(algo::build(p, recipe, r));
    int messages = 0;
    for (const auto& from : some)
      for (const auto& to : some) {
        const auto lengths = [](const sched::Schedule& s, sched::Kind kind, int peer) {
          std::vector<std::int64_t> out;
          for (const sched::Step& step : s.steps)
            if (step.kind == kind && step.peer == peer) out.push_back(kind == sched::Kind::send ? step.from.count : step.to.count);
          return out;
        };
        const auto sent = lengths(from, sched::Kind::send, to.rank);
        EXPECT_EQ(sent, lengths(to, sched::Kind::recv, from.rank)) << to_text(recipe) << ": " << from.rank << " to " << to.rank;
        messages += static_cast<int>(sent.size());
      }
    EXPECT_GT(messages, 0) << to_text(recipe);
  }
}

}  // namespace
}  // namespace libcoll::test
