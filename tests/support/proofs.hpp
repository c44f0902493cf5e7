// Proofs of algorithms: problems of all shapes, the schedules of all their ranks, and verify.
// Whatever fails says which problem, recipe and seed it was.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "libcoll/algorithms/algorithm.hpp"
#include "libcoll/schedule/verify.hpp"

namespace libcoll::test {

using Random = std::mt19937_64;
int between(Random&, int low, int high);  // both included

// The schedules of all ranks. `in_place` by rank; empty: Problem::in_place where MPI allows it.
using BuildOne = std::function<sched::Schedule(const sched::Problem&, int rank)>;
std::vector<sched::Schedule> build_all(const sched::Problem&, const BuildOne&, const std::vector<bool>& in_place = {});
std::vector<sched::Schedule> build_all(const sched::Problem&, const algo::Recipe&, const std::vector<bool>& in_place = {});

// "" or what is wrong, with the problem and the recipe.
std::string prove(const sched::Problem&, const algo::Recipe&, const std::vector<bool>& in_place = {});
// Every candidate. `proofs` counts them.
std::string prove_all(const sched::Problem&, int* proofs = nullptr, const std::vector<bool>& in_place = {});

std::string to_text(const sched::Problem&);

// A problem of `size` ranks without levels: blocks of `count` elements; v-forms: around `count`, some none.
sched::Problem flat_problem(detail::Coll, int size, std::int64_t count, int root = 0);
// Levels: groups of ranks given narrowest first, with one leader each (empty: the lowest ranks). Fills
// levels and groups: natives for the members of every group up to the host, and for the leaders of the
// narrower groups inside a wider one.
struct LevelShape {
  Level level;
  std::vector<std::vector<int>> members;
  std::vector<int> leaders = {};
};
void set_levels(sched::Problem&, std::vector<LevelShape>);
// `hosts` hosts of `ranks` ranks each: ranks in blocks, or dealt round robin.
void set_hosts(sched::Problem&, int hosts, int ranks, bool round_robin = false);
// 1 to 4 levels, unequal groups, any rank order, any leaders; sometimes without native groups.
void set_random_levels(sched::Problem&, Random&);
// Size, root, count, commutativity, average, determinism, in place and levels at random.
sched::Problem random_problem(detail::Coll, Random&, int most_ranks = 24);

// What crosses between groups of a level (Level::core: between ranks): messages, elements, and the most
// elements that one group sends.
struct Crossing {
  std::int64_t messages = 0, elements = 0, busiest_elements = 0, busiest_messages = 0;
};
Crossing crossing(const sched::Problem&, const std::vector<sched::Schedule>&, Level);

}  // namespace libcoll::test
