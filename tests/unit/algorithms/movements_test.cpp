// Proofs and counted bounds of the collectives that only move data.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <ostream>

#include "tests/support/proofs.hpp"
#include "tests/support/values.hpp"

namespace libcoll::detail {
void PrintTo(Coll c, std::ostream* out) { *out << name_of(c); }
}  // namespace libcoll::detail

namespace libcoll::algo {
namespace {

using test::between;
using test::crossing;
using test::flat_problem;
using test::prove;
using test::prove_all;
using test::Random;

constexpr Coll movements[] = {Coll::allgather, Coll::allgatherv, Coll::gather,   Coll::gatherv,
                              Coll::scatter,   Coll::scatterv,   Coll::alltoall, Coll::alltoallv};
bool rooted(Coll c) { return c == Coll::gather || c == Coll::gatherv || c == Coll::scatter || c == Coll::scatterv; }

class Movements : public testing::TestWithParam<Coll> {};

std::vector<int> roots_of(Coll c, int size) {
  if (!rooted(c)) return {0};
  if (size >= 64) return {0, 1, size / 2 + 1, size - 1};
  std::vector<int> all(static_cast<std::size_t>(size));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

TEST_P(Movements, FlatForAllSizesAndRoots) {
  int proofs = 0;
  for (const int size : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 31, 32, 33, 64, 128}) {
    if (size > 128 * test::test_scale()) continue;
    for (const int root : roots_of(GetParam(), size))
      for (const std::int64_t count : {0, 1, 7}) {
        if (size >= 64 && count == 7) continue;
        Problem p = flat_problem(GetParam(), size, count, root);
        for (const bool in_place : {false, true}) {
          if (in_place && (GetParam() == Coll::alltoallv || size >= 64)) continue;
          p.in_place = in_place;
          ASSERT_EQ(prove_all(p, &proofs), "");
        }
      }
  }
  EXPECT_GT(proofs, 60 * test::test_scale());
}

TEST_P(Movements, OverRandomHierarchies) {
  Random random(static_cast<std::uint64_t>(GetParam()) + 1);
  int proofs = 0;
  const int shapes = static_cast<int>(300 * test::test_scale());
  for (int i = 0; i < shapes; ++i) {
    Problem p = test::random_problem(GetParam(), random, i % 10 == 0 ? 48 : 20);
    if (GetParam() == Coll::alltoallv) p.in_place = false;
    if (i % 3 == 0)  // native groups may list their members in any order
      for (auto& g : p.groups) std::shuffle(g.begin(), g.end(), random);
    ASSERT_EQ(prove_all(p, &proofs), "") << "shape " << i;
  }
  EXPECT_GE(proofs, shapes);
}

// Recipes that a caller may write, beyond those that the library considers.
TEST_P(Movements, WhateverIsNotRefused) {
  Random random(static_cast<std::uint64_t>(GetParam()) + 100);
  int proofs = 0;
  const int shapes = static_cast<int>(100 * test::test_scale());
  for (int i = 0; i < shapes; ++i) {
    Problem p = test::random_problem(GetParam(), random, 24);
    if (GetParam() == Coll::alltoallv) p.in_place = false;
    for (const Entry& e : collective(p.coll).algorithms)
      for (int k = 0; k < 6; ++k) {
        Recipe r;
        r.algorithm = e.name;
        for (const auto& l : p.levels)
          if (between(random, 0, 1) == 0) r.over.push_back(l.level);
        r.slices = r.over.empty() ? 1 : between(random, 0, 3);
        r.radix = between(random, 0, 1) == 0 ? 2 : between(random, 3, 5);
        if (!refuses(p, r).empty()) continue;
        ASSERT_EQ(prove(p, r), "") << "shape " << i;
        ++proofs;
      }
  }
  EXPECT_GE(proofs, shapes / 3);
}

INSTANTIATE_TEST_SUITE_P(All, Movements, testing::ValuesIn(movements), [](const auto& i) { return std::string(detail::name_of(i.param)); });

// Each rank decides by itself whether it works in place.
TEST(MovementsInPlace, OnSomeRanks) {
  for (const Coll coll : {Coll::allgather, Coll::allgatherv, Coll::alltoall}) {
    Random random(5);
    for (int i = 0; i < 30; ++i) {
      Problem p = test::random_problem(coll, random, 12);
      std::vector<bool> in_place;
      for (int r = 0; r < p.size; ++r) in_place.push_back(between(random, 0, 1) == 0);
      ASSERT_EQ(prove_all(p, nullptr, in_place), "");
    }
  }
}

// Blocks of unknown length have nowhere to wait: the caller has to copy them.
TEST(MovementsInPlace, AlltoallvIsRefused) {
  Problem p = flat_problem(Coll::alltoallv, 4, 3);
  EXPECT_FALSE(candidates(p).empty());
  p.in_place = true;
  EXPECT_TRUE(candidates(p).empty());
  EXPECT_NE(refuses(p, Recipe{"pairwise"}), "");
}

// -- Counted bounds (docs/algorithms.md states them).

int log2_up(int n) {
  int k = 0;
  while ((1 << k) < n) ++k;
  return k;
}

struct Sent {
  std::int64_t messages = 0, elements = 0;  // of the busiest rank
};
Sent busiest_sender(const std::vector<Schedule>& all) {
  Sent most;
  for (const Schedule& s : all) {
    Sent mine;
    for (const sched::Step& step : s.steps)
      if (step.kind == sched::Kind::send) ++mine.messages, mine.elements += step.from.count;
    most.messages = std::max(most.messages, mine.messages);
    most.elements = std::max(most.elements, mine.elements);
  }
  return most;
}

std::vector<Schedule> flat(Coll coll, int size, std::int64_t count, const char* algorithm, int radix = 2) {
  Recipe r;
  r.algorithm = algorithm;
  r.radix = radix;
  return test::build_all(flat_problem(coll, size, count), r);
}

TEST(MovementBounds, FlatAllgatherSendsEveryBlockOnce) {
  for (const int n : {2, 3, 5, 8, 16, 17, 33}) {
    for (const char* algorithm : {"bruck", "circulant", "ring", "recursive_doubling"}) {
      const std::string name = algorithm;
      if (name == "recursive_doubling" && (n & (n - 1)) != 0) continue;
      const Sent s = busiest_sender(flat(Coll::allgather, n, 3, algorithm));
      EXPECT_EQ(s.elements, 3 * (n - 1)) << name << " " << n;
      const std::int64_t fewest = name == "ring" ? n - 1 : log2_up(n);
      EXPECT_GE(s.messages, fewest) << name << " " << n;
      EXPECT_LE(s.messages, name == "circulant" ? 2 * fewest : fewest) << name << " " << n;
    }
  }
}

TEST(MovementBounds, FlatAlltoall) {
  for (const int n : {2, 3, 5, 8, 16, 17, 33}) {
    for (const char* algorithm : {"pairwise", "scattered"}) {
      const Sent s = busiest_sender(flat(Coll::alltoall, n, 3, algorithm));
      EXPECT_EQ(s.messages, n - 1);
      EXPECT_EQ(s.elements, 3 * (n - 1));
    }
    const Sent s = busiest_sender(flat(Coll::alltoall, n, 3, "bruck"));
    EXPECT_EQ(s.messages, log2_up(n));
    EXPECT_LE(s.elements, 3 * (n / 2) * log2_up(n));
  }
}

TEST(MovementBounds, TreesMoveEverythingThroughTheRootOnce) {
  for (const int n : {2, 3, 5, 8, 16, 17, 33})
    for (const int radix : {2, 4}) {
      const auto all = flat(Coll::scatter, n, 3, "k_nomial", radix);
      std::int64_t elements = 0, messages = 0;
      for (const sched::Step& step : all[0].steps)
        if (step.kind == sched::Kind::send) ++messages, elements += step.from.count;
      EXPECT_EQ(elements, 3 * (n - 1));
      int rounds = 0;
      for (int reach = 1; reach < n; reach *= radix) ++rounds;
      EXPECT_LE(messages, rounds * (radix - 1));
      const auto up = flat(Coll::gather, n, 3, "k_nomial", radix);
      std::int64_t sends = 0, got = 0;
      for (const Schedule& s : up)
        for (const sched::Step& step : s.steps) {
          sends += step.kind == sched::Kind::send;
          if (s.rank == 0 && step.kind == sched::Kind::recv) got += step.to.count;
        }
      EXPECT_EQ(sends, n - 1);  // root 0: no subtree goes over the end
      EXPECT_EQ(got, 3 * (n - 1));
    }
}

// Elements that enter each host.
std::vector<std::int64_t> entering(const Problem& p, const std::vector<Schedule>& all) {
  std::vector<std::int64_t> in(p.levels[0].members.size());
  const auto& host = p.levels[0].group_of;
  for (const Schedule& s : all)
    for (const sched::Step& step : s.steps)
      if (step.kind == sched::Kind::recv && host[static_cast<std::size_t>(step.peer)] != host[static_cast<std::size_t>(s.rank)])
        in[static_cast<std::size_t>(host[static_cast<std::size_t>(s.rank)])] += step.to.count;
  return in;
}

// Three shapes of H hosts: equal in blocks, dealt round robin, unequal.
std::vector<Problem> host_shapes(Coll coll, int hosts, int ranks, std::int64_t count) {
  std::vector<Problem> out(3, flat_problem(coll, hosts * ranks, count));
  test::set_hosts(out[0], hosts, ranks);
  test::set_hosts(out[1], hosts, ranks, true);
  out[2] = flat_problem(coll, hosts * ranks + hosts * (hosts - 1) / 2, count);
  test::LevelShape unequal{Level::host, {}};
  for (int h = 0, r = 0; h < hosts; ++h) {
    unequal.members.emplace_back();
    for (int i = 0; i < ranks + h; ++i) unequal.members.back().push_back(r++);
  }
  test::set_levels(out[2], {unequal});
  return out;
}

TEST(MovementBounds, AllgatherBringsEveryForeignBlockToAHostOnce) {
  for (const Coll coll : {Coll::allgather, Coll::allgatherv})
    for (const int hosts : {2, 3, 4, 5, 8})
      for (const Problem& p : host_shapes(coll, hosts, 3, 17))
        for (const Recipe& r : candidates(p)) {
          if (r.over != std::vector{Level::host}) continue;
          const auto all = test::build_all(p, r);
          const auto in = entering(p, all);
          std::vector<std::int64_t> counts = p.counts;
          if (counts.empty()) counts.assign(static_cast<std::size_t>(p.size), p.count);
          for (std::size_t h = 0; h < in.size(); ++h) {
            std::int64_t foreign = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
            for (const int m : p.levels[0].members[h]) foreign -= counts[static_cast<std::size_t>(m)];
            EXPECT_EQ(in[h], foreign) << to_text(r) << " host " << h;
          }
          // Leaders: H messages a round, ceil(log2 H) rounds.
          if (r.slices == 1 && (r.algorithm == "bruck" || r.algorithm == "recursive_doubling")) {
            EXPECT_LE(crossing(p, all, Level::host).messages, hosts * log2_up(hosts)) << to_text(r);
          }
        }
}

TEST(MovementBounds, LargeAllgatherBlocksArriveWhereTheyBelong) {
  for (const int hosts : {2, 3, 4})
    for (Problem p : host_shapes(Coll::allgather, hosts, 3, 8192))
      for (const bool in_place : {false, true})
        for (Recipe r : candidates(p)) {
          if (r.over != std::vector{Level::host} || r.slices != all_slices) continue;
          p.in_place = in_place;
          ASSERT_EQ(prove(p, r), "") << to_text(r);
          if (p.size != 3 * hosts || r.algorithm == "bruck") continue;  // unequal hosts; turned blocks
          for (const Schedule& s : test::build_all(p, r)) EXPECT_EQ(s.scratch, 0) << to_text(r);
        }
}

bool leads(const Problem& p, int rank) { return std::count(p.levels[0].leader.begin(), p.levels[0].leader.end(), rank) != 0; }

TEST(MovementBounds, AlltoallSendsOneMessagePerPairOfHosts) {
  for (const int hosts : {2, 3, 4, 5, 8})
    for (const Problem& p : host_shapes(Coll::alltoall, hosts, 3, 5))
      for (Recipe r : {Recipe{"pairwise", {Level::host}}, Recipe{"scattered", {Level::host}}})
        for (const int slices : {1, 2, all_slices}) {
          r.slices = slices;
          ASSERT_EQ(prove(p, r), "");
          const auto all = test::build_all(p, r);
          EXPECT_EQ(crossing(p, all, Level::host).messages, hosts * (hosts - 1)) << to_text(r);
          const auto in = entering(p, all);
          for (std::size_t h = 0; h < in.size(); ++h) {
            const auto here = static_cast<std::int64_t>(p.levels[0].members[h].size());
            EXPECT_EQ(in[h], here * (p.size - here) * p.count) << to_text(r);
          }
          if (slices == 1) {  // leaders only
            for (const Schedule& s : all)
              for (const sched::Step& step : s.steps) EXPECT_TRUE(step.kind != sched::Kind::send || leads(p, s.rank)) << to_text(r);
          }
          // Ranks take turns: nobody speaks with more hosts than its share.
          std::int64_t speakers = slices == all_slices ? 3 : slices;
          EXPECT_LE(busiest_sender(all).messages, (hosts + speakers - 1) / speakers) << to_text(r);
        }
}

TEST(MovementBounds, RootedMovesCrossHostsOnce) {
  for (const Coll coll : {Coll::gather, Coll::scatter})
    for (const int hosts : {2, 3, 4, 5, 8})
      for (Problem p : host_shapes(coll, hosts, 3, 5))
        for (const int root : {0, 1, p.size - 1}) {
          p.root = root;
          const auto home = p.levels[0].group_of[static_cast<std::size_t>(root)];
          const auto here = static_cast<std::int64_t>(p.levels[0].members[static_cast<std::size_t>(home)].size());
          const auto linear = crossing(p, test::build_all(p, Recipe{"linear", {Level::host}}), Level::host);
          EXPECT_EQ(linear.messages, hosts - 1);
          EXPECT_EQ(linear.elements, (p.size - here) * p.count);
          const auto tree = test::build_all(p, Recipe{"k_nomial", {Level::host}});
          const auto in = entering(p, tree);
          EXPECT_EQ(in[static_cast<std::size_t>(home)], coll == Coll::gather ? (p.size - here) * p.count : 0);
          EXPECT_LE(crossing(p, tree, Level::host).messages, hosts);  // one more: a subtree that goes over the end is cut
        }
}

// -- Work, which the cost model ranks recipes by.

TEST(MovementWork, CountsWhatTheSchedulesSend) {
  for (const Coll coll : {Coll::allgather, Coll::alltoall})
    for (const int n : {2, 3, 8, 17})
      for (const Recipe& r : candidates(flat_problem(coll, n, 5))) {
        const auto work = collective(coll).work(flat_problem(coll, n, 5), r);
        ASSERT_EQ(work.size(), 1u);
        EXPECT_EQ(work[0].where, Work::Where::messages);
        EXPECT_EQ(work[0].ranks, n);
        const double sent = static_cast<double>(busiest_sender(test::build_all(flat_problem(coll, n, 5), r)).elements);
        EXPECT_GE(work[0].sent * 1.0001, sent) << to_text(r) << " " << n;
        EXPECT_LE(work[0].sent, sent * 1.7) << to_text(r) << " " << n;  // bruck is counted as if n were even
      }
}

// Every candidate over hosts has one phase between hosts, whose elements are those that the busiest rank sends there.
TEST(MovementWork, PhasesOfCompositions) {
  for (const Coll coll : {Coll::allgather, Coll::gather, Coll::scatter, Coll::alltoall}) {
    Problem p = flat_problem(coll, 16, 5);
    test::set_hosts(p, 4, 4);
    int composed = 0;
    for (const Recipe& r : candidates(p)) {
      const auto work = collective(coll).work(p, r);
      double between_hosts = 0, busiest = 0;
      int natives = 0;
      for (const Work& w : work) {
        EXPECT_GT(w.rounds, 0) << to_text(r);
        const bool native = w.where == Work::Where::native;
        EXPECT_EQ(w.level, native ? Level::host : Level::world);
        natives += native;
        if (!native) between_hosts += w.sent;
      }
      if (r.over.empty()) continue;
      ++composed;
      EXPECT_GT(natives, 0) << to_text(r);
      for (const Schedule& s : test::build_all(p, r)) {
        double out = 0, in = 0;
        for (const sched::Step& step : s.steps) {
          if (step.kind == sched::Kind::send) out += static_cast<double>(step.from.count);
          if (step.kind == sched::Kind::recv) in += static_cast<double>(step.to.count);
        }
        busiest = std::max({busiest, out, in});
      }
      EXPECT_NEAR(between_hosts, busiest, 0.35 * busiest) << to_text(r);
    }
    EXPECT_GT(composed, 0);
  }
}

}  // namespace
}  // namespace libcoll::algo
