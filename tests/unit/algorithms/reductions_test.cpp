// Proofs and counted bounds of the reducing collectives, bcast and barrier.
#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>
#include <ostream>

#include "tests/support/proofs.hpp"
#include "tests/support/values.hpp"

namespace libcoll::detail {
void PrintTo(Coll c, std::ostream* out);
}  // namespace libcoll::detail

namespace libcoll::algo {
namespace {

using test::between;
using test::build_all;
using test::Crossing;
using test::crossing;
using test::flat_problem;
using test::prove;
using test::prove_all;
using test::Random;

constexpr Coll collectives[] = {Coll::allreduce, Coll::reduce, Coll::reduce_scatter, Coll::reduce_scatter_block, Coll::scan, Coll::exscan, Coll::bcast, Coll::barrier};
bool rooted(Coll c) { return c == Coll::reduce || c == Coll::bcast; }
bool scans(Coll c) { return c == Coll::scan || c == Coll::exscan; }
bool reduces(Coll c) { return c != Coll::bcast && c != Coll::barrier; }

class Reductions : public testing::TestWithParam<Coll> {};

std::vector<int> roots_of(Coll c, int size) {
  if (!rooted(c)) return {0};
  if (size >= 64) return {0, 1, size / 2 + 1, size - 1};
  std::vector<int> all(static_cast<std::size_t>(size));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

std::vector<std::int64_t> counts_of(Coll c, int size) {
  if (c == Coll::barrier) return {0};
  if (size >= 31) return {1, 1001};
  return {0, 1, size / 2, 2 * size + 1, 50000};
}

TEST_P(Reductions, FlatForAllSizesAndRoots) {
  const Coll coll = GetParam();
  int proofs = 0;
  for (const int size : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 31, 32, 33, 64, 128}) {
    if (size > 128 * test::test_scale()) continue;
    for (const int root : roots_of(coll, size))
      for (const std::int64_t count : counts_of(coll, size)) {
        Problem p = flat_problem(coll, size, count, root);
        ASSERT_EQ(prove_all(p, &proofs), "");
        if (!reduces(coll) || (rooted(coll) && root > 2)) continue;
        p.commutative = false;
        ASSERT_EQ(prove_all(p, &proofs), "");
        p.in_place = true;
        ASSERT_EQ(prove_all(p, &proofs), "");
        p.commutative = true;
        p.averages = !scans(coll);
        ASSERT_EQ(prove_all(p, &proofs), "");
        p.determinism = Determinism::placement;
        ASSERT_EQ(prove_all(p, &proofs), "");
      }
  }
  EXPECT_GE(proofs, 21 * test::test_scale());
}

TEST_P(Reductions, OverRandomHierarchies) {
  Random random(static_cast<std::uint64_t>(GetParam()) + 100);
  int proofs = 0;
  const int shapes = static_cast<int>(300 * test::test_scale());
  for (int i = 0; i < shapes; ++i) {
    const Problem p = test::random_problem(GetParam(), random, i % 10 == 0 ? 48 : 20);
    ASSERT_EQ(prove_all(p, &proofs), "") << "shape " << i;
  }
  EXPECT_GE(proofs, shapes);
}

// Every algorithm with every set of levels, slices, radix and chunk that is not refused: what candidates()
// leaves out as not promising must be right too.
TEST_P(Reductions, WhateverIsNotRefused) {
  Random random(static_cast<std::uint64_t>(GetParam()) + 200);
  int proofs = 0;
  const int shapes = static_cast<int>(100 * test::test_scale());
  for (int i = 0; i < shapes; ++i) {
    const Problem p = test::random_problem(GetParam(), random, 20);
    for (const Entry& e : collective(p.coll).algorithms)
      for (int k = 0; k < 6; ++k) {
        Recipe r;
        r.algorithm = e.name;
        for (const auto& l : p.levels)
          if (between(random, 0, 1) == 0) r.over.push_back(l.level);
        r.slices = between(random, 0, 3);
        r.radix = between(random, 0, 1) == 0 ? 2 : between(random, 3, 5);
        r.chunk = between(random, 0, 2) == 0 ? between(random, 1, 20000) : 0;
        if (r.chunk > 0 && p.count / r.chunk > 20) r.chunk = p.count / 20;
        if (!refuses(p, r).empty()) continue;
        ASSERT_EQ(prove(p, r), "") << "shape " << i;
        ++proofs;
      }
  }
  EXPECT_GE(proofs, shapes / 3);
}

INSTANTIATE_TEST_SUITE_P(All, Reductions, testing::ValuesIn(collectives), [](const auto& i) { return std::string(detail::name_of(i.param)); });

// Each rank decides by itself whether it works in place.
TEST(ReductionsInPlace, OnSomeRanks) {
  for (const Coll coll : {Coll::allreduce, Coll::reduce_scatter, Coll::reduce_scatter_block, Coll::scan, Coll::exscan}) {
    Random random(7);
    for (int i = 0; i < 30; ++i) {
      const Problem p = test::random_problem(coll, random, 12);
      std::vector<bool> in_place;
      for (int r = 0; r < p.size; ++r) in_place.push_back(between(random, 0, 1) == 0);
      ASSERT_EQ(prove_all(p, nullptr, in_place), "");
    }
  }
}

// -- Counted bounds (docs/algorithms.md states them).

int log2_up(int n) {
  int k = 0;
  while ((1 << k) < n) ++k;
  return k;
}

Recipe over_hosts(const char* algorithm, int slices = 1) {
  Recipe r;
  r.algorithm = algorithm;
  r.over = {Level::host};
  r.slices = slices;
  return r;
}

// H hosts of r ranks: in blocks and dealt round robin, and unequal hosts.
void for_hosts(Coll coll, std::int64_t count, const std::function<void(const Problem&, int hosts)>& check) {
  for (int hosts = 2; hosts <= 17; ++hosts)
    for (const int ranks : {1, 2, 3, 4})
      for (const bool dealt : {false, true}) {
        Problem p = flat_problem(coll, hosts * ranks - (ranks > 1 && dealt ? 1 : 0), count);
        test::set_hosts(p, hosts, ranks, dealt);
        check(p, hosts);
      }
}

TEST(CountedBounds, SmallAllreduceSendsOneMessagePerHostAndRound) {
  for_hosts(Coll::allreduce, 1, [](const Problem& p, int hosts) {
    const Recipe r = over_hosts("recursive_doubling");
    ASSERT_EQ(prove(p, r), "");
    const Crossing c = crossing(p, build_all(p, r), Level::host);
    const bool power = (hosts & (hosts - 1)) == 0;
    if (power) EXPECT_EQ(c.messages, hosts * log2_up(hosts)) << test::to_text(p);
    else EXPECT_LE(c.messages, hosts * (log2_up(hosts) + 2)) << test::to_text(p);
  });
}

TEST(CountedBounds, LargeAllreduceSendsTheLowerBoundPerHost) {
  for_hosts(Coll::allreduce, 120000, [](const Problem& p, int hosts) {
    const bool power = (hosts & (hosts - 1)) == 0;
    for (const char* algorithm : {"ring", "circulant", "rabenseifner", "swing"})
      for (const int slices : {1, all_slices}) {
        if (!power && (algorithm == std::string("rabenseifner") || algorithm == std::string("swing"))) continue;  // they fold
        const Recipe r = over_hosts(algorithm, slices);
        ASSERT_EQ(prove(p, r), "");
        const Crossing c = crossing(p, build_all(p, r), Level::host);
        EXPECT_LE(static_cast<double>(c.busiest_elements), 1.05 * 2 * (hosts - 1) / hosts * static_cast<double>(p.count)) << test::to_text(p);
      }
  });
}

TEST(CountedBounds, BarrierSendsOneSignalPerHostAndRound) {
  for_hosts(Coll::barrier, 0, [](const Problem& p, int hosts) {
    EXPECT_EQ(crossing(p, build_all(p, over_hosts("dissemination")), Level::host).messages, hosts * log2_up(hosts));
  });
}

TEST(CountedBounds, BcastAndReduceCrossEachHostOnce) {
  for (const Coll coll : {Coll::bcast, Coll::reduce})
    for_hosts(coll, 1000, [](const Problem& p, int hosts) {
      for (Problem any = p; any.root < p.size; ++any.root) {
        const Crossing c = crossing(any, build_all(any, over_hosts("k_nomial")), Level::host);
        EXPECT_EQ(c.messages, hosts - 1) << test::to_text(any);
        EXPECT_EQ(c.elements, (hosts - 1) * any.count);
        const Crossing sliced = crossing(any, build_all(any, over_hosts("k_nomial", all_slices)), Level::host);
        EXPECT_EQ(sliced.elements, (hosts - 1) * any.count);
      }
    });
}

TEST(CountedBounds, ReduceScatterSendsWhatOthersNeed) {
  for_hosts(Coll::reduce_scatter_block, 24, [](const Problem& p, int hosts) {
    for (const char* algorithm : {"circulant", "pairwise", "ring"})
      for (const int slices : {1, all_slices}) {
        const Crossing c = crossing(p, build_all(p, over_hosts(algorithm, slices)), Level::host);
        // Every result is put together from one partial sum of every other host.
        EXPECT_EQ(c.elements, p.count * p.size * (hosts - 1)) << algorithm;
      }
  });
}

TEST(CountedBounds, OrderedAllreduceGathersOncePerHost) {
  for_hosts(Coll::allreduce, 3, [](const Problem& p, int hosts) {
    const Crossing c = crossing(p, build_all(p, over_hosts("ordered")), Level::host);
    EXPECT_LE(c.busiest_messages, 2 * log2_up(hosts));
    EXPECT_EQ(c.elements, (hosts - 1) * p.size * p.count);
  });
}

TEST(CountedBounds, ScanTakesLogarithmicRounds) {
  for_hosts(Coll::scan, 8, [](const Problem& p, int hosts) {
    const Recipe r = over_hosts("recursive_doubling");
    if (!refuses(p, r).empty()) return;
    EXPECT_LE(crossing(p, build_all(p, r), Level::host).busiest_messages, log2_up(hosts));
  });
}

// Chunks overlap: the exchange of one chunk does not wait for the group's part of the next.
TEST(Pipelining, PhasesOfChunksOverlap) {
  Problem p = flat_problem(Coll::allreduce, 8, 64000);
  test::set_hosts(p, 2, 4);
  Recipe r = over_hosts("ring", all_slices);
  r.chunk = 8000;
  ASSERT_EQ(prove(p, r), "");
  const Schedule s = build(p, r, 0);
  // Natives in step order: reduce_scatter of chunk 1 comes before the allgather of chunk 0.
  std::vector<Coll> natives;
  for (const auto& step : s.steps)
    if (step.kind == sched::Kind::native) natives.push_back(step.native);
  ASSERT_EQ(natives.size(), 16u);
  EXPECT_EQ(natives[0], Coll::reduce_scatter);
  EXPECT_EQ(natives[1], Coll::reduce_scatter);
  // Scratch is of a chunk or two, not of the vector.
  EXPECT_LE(s.scratch, 2 * 8000);
}

TEST(Placement, OneCandidateWithTheSameBitsEverywhere) {
  for (const Coll coll : {Coll::allreduce, Coll::reduce, Coll::reduce_scatter_block, Coll::scan, Coll::exscan}) {
    Problem p = flat_problem(coll, 12, 100);
    test::set_hosts(p, 3, 4);
    p.determinism = Determinism::placement;
    const auto all = candidates(p);
    ASSERT_FALSE(all.empty());
    for (const Recipe& r : all) EXPECT_EQ(r.algorithm, "ordered");
  }
}

TEST(NonCommutative, GroupsOutOfRankOrderGoOrdered) {
  Problem p = flat_problem(Coll::allreduce, 12, 100);
  test::set_hosts(p, 3, 4, true);
  p.commutative = false;
  EXPECT_NE(refuses(p, over_hosts("recursive_doubling")).find("ranks of one host do not follow each other"), std::string::npos);
  const Recipe ordered = over_hosts("ordered");
  EXPECT_EQ(refuses(p, ordered), "");
  ASSERT_EQ(prove(p, ordered), "");
  // One message per host and round, or two where the blocks wrap around.
  EXPECT_LE(crossing(p, build_all(p, ordered), Level::host).messages, 3 * 2 * 2);
}

// What the cost model reads: every candidate says what it costs, and more elements never cost less.
TEST(WorkOf, EveryCandidate) {
  for (const Coll coll : collectives) {
    Problem p = flat_problem(coll, 12, 1000);
    test::set_hosts(p, 3, 4);
    Problem larger = flat_problem(coll, 12, 100000);
    test::set_hosts(larger, 3, 4);
    for (const Recipe& r : candidates(p)) {
      double rounds = 0, sent = 0, more = 0;
      for (const Work& w : collective(coll).work(p, r)) rounds += w.rounds, sent += w.sent;
      for (const Work& w : collective(coll).work(larger, r)) more += w.sent;
      EXPECT_GE(rounds, 1) << to_text(r);
      if (coll == Coll::barrier) continue;
      EXPECT_GT(sent, 0) << to_text(r);
      EXPECT_GT(more, sent) << to_text(r);
    }
  }
}

}  // namespace
}  // namespace libcoll::algo
