// Programs of all algorithms, run on real data over a messenger within the process: the steps that
// tests/unit/algorithms proves symbolically, executed.
#include "libcoll/execution/run.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <numeric>
#include <thread>

#include "libcoll/error.hpp"
#include "tests/support/inproc_messenger.hpp"
#include "tests/unit/execution/rank_model.hpp"
#include "transports/shm/layout.hpp"

namespace libcoll::test {
namespace {


// Hosts of one rank each, with wider groups of hosts or without: nothing but messages.
sched::Problem draw_problem(Coll coll, Random& random) {
  const int n = between(random, 2, 9);
  constexpr std::int64_t counts[] = {0, 1, 2, 5, 64, 1000};
  sched::Problem p = flat_problem(coll, n, counts[between(random, 0, 5)], between(random, 0, n - 1));
  p.commutative = !reduces(coll) || between(random, 0, 2) != 0;
  p.averages = reduces(coll) && p.commutative && coll != Coll::scan && coll != Coll::exscan && between(random, 0, 3) == 0;
  p.determinism = between(random, 0, 3) == 0 ? Determinism::placement : Determinism::fast;
  const bool v_form = coll == Coll::allgatherv || coll == Coll::gatherv || coll == Coll::scatterv || coll == Coll::alltoallv;
  p.in_place = coll != Coll::barrier && coll != Coll::bcast && !v_form && between(random, 0, 1) == 0;
  LevelShape hosts{Level::host, {}}, groups{Level::group, std::vector<std::vector<int>>(at(between(random, 1, n)))};
  for (int r = 0; r < n; ++r) {
    hosts.members.push_back({r});
    const auto last = groups.members.size() - 1;
    groups.members[static_cast<std::size_t>(r) <= last ? at(r) : at(between(random, 0, static_cast<int>(last)))].push_back(r);
  }
  if (between(random, 0, 2) == 0) set_levels(p, {hosts});
  else set_levels(p, {hosts, groups});
  return p;
}

struct Job {
  Job(const sched::Problem& p, const algo::Recipe& recipe) : problem(p) {
    std::vector<int> world(at(p.size));
    std::iota(world.begin(), world.end(), 0);
    for (int r = 0; r < p.size; ++r) {
      sched::Problem mine = p;
      mine.in_place = p.in_place && sched::may_be_in_place(p, r);
      programs.push_back(exec::compile(Rank(p, r, 0).call(), 99, algo::build(mine, recipe, r), {}, world, p.counts));
      runs.push_back(std::make_unique<exec::Run>(*programs.back()));
    }
  }
  sched::Problem problem;
  std::vector<std::shared_ptr<exec::Program>> programs;
  std::vector<std::unique_ptr<exec::Run>> runs;
};

// One thread takes the ranks by turns, in random order: a second run of the same programs starts on a rank as soon
// as it has finished the first.
std::string run_by_turns(const sched::Problem& p, const algo::Recipe& recipe, Random& random, unsigned most_delay) {
  Job job(p, recipe);
  InprocNetwork network(p.size, most_delay, random());
  std::vector<std::unique_ptr<InprocMessenger>> messengers;
  std::vector<Rank> first, second;
  std::vector<int> rounds(at(p.size));
  exec::Fiber fiber;
  for (int r = 0; r < p.size; ++r) {
    messengers.push_back(std::make_unique<InprocMessenger>(network, r));
    first.emplace_back(p, r, 1);
    second.emplace_back(p, r, 2);
  }
  std::vector<int> open(at(p.size));
  std::iota(open.begin(), open.end(), 0);
  for (long idle = 0; !open.empty();) {
    const std::size_t k = random() % open.size(), r = at(open[k]);
    exec::Run& run = *job.runs[r];
    if (rounds[r] == 0) run.start(first[r].args(), communicator, 1), rounds[r] = 1;
    bool any = messengers[r]->progress();
    any |= run.advance(messengers[r].get(), &fiber);
    if (run.finished()) {
      any = true;
      if (rounds[r]++ == 1) run.start(second[r].args(), communicator, 2);
      else open.erase(open.begin() + static_cast<std::ptrdiff_t>(k));
    }
    idle = any ? 0 : idle + 1;
    if (idle > 1000L * p.size * (most_delay + 1)) return "stuck: " + run.stuck(0);
  }
  for (const auto* ranks : {&first, &second})
    for (const Rank& r : *ranks)
      if (std::string why = r.wrong(); !why.empty()) return why;
  for (const auto& box : network.boxes)
    if (!box.messages.empty() || !box.posted.empty()) return "messages are left over";
  return "";
}

std::string run_by_threads(const sched::Problem& p, const algo::Recipe& recipe, std::uint64_t seed) {
  Job job(p, recipe);
  InprocNetwork network(p.size, 3, seed);
  std::mutex mutex;
  std::string first;
  std::vector<std::thread> threads;
  for (int r = 0; r < p.size; ++r)
    threads.emplace_back([&, r] {
      InprocMessenger messenger(network, r);
      exec::Fiber fiber;
      Rank rank(p, r, seed);
      exec::Run& run = *job.runs[at(r)];
      run.start(rank.args(), communicator, 1);
      while (!run.finished()) {
        messenger.progress();
        if (!run.advance(&messenger, &fiber)) sched_yield();
      }
      const std::string why = rank.wrong();
      const std::lock_guard lock(mutex);
      if (first.empty()) first = why;
    });
  for (std::thread& t : threads) t.join();
  return first;
}

constexpr std::array every_collective{Coll::barrier, Coll::bcast, Coll::reduce, Coll::allreduce, Coll::reduce_scatter_block, Coll::reduce_scatter,
                                      Coll::allgather, Coll::allgatherv, Coll::gather, Coll::gatherv, Coll::scatter, Coll::scatterv,
                                      Coll::alltoall, Coll::alltoallv, Coll::scan, Coll::exscan};

class Runs : public testing::TestWithParam<Coll> {};

TEST_P(Runs, EveryRecipeGivesTheResult) {
  Random random(test_seed());
  const int problems = std::max(4, static_cast<int>(30 * test_scale()));
  int runs = 0;
  for (int i = 0; i < problems; ++i) {
    const sched::Problem p = draw_problem(GetParam(), random);
    for (const algo::Recipe& recipe : algo::candidates(p)) {
      ASSERT_EQ(run_by_turns(p, recipe, random, i % 2 == 0 ? 0u : 5u), "") << to_text(p) << " by " << to_text(recipe) << "; " << seed_text();
      if (++runs % 16 != 1) continue;
      ASSERT_EQ(run_by_threads(p, recipe, random()), "") << to_text(p) << " by " << to_text(recipe) << "; " << seed_text();
    }
  }
  EXPECT_GE(runs, problems);
}
INSTANTIATE_TEST_SUITE_P(Collectives, Runs, testing::ValuesIn(every_collective), [](const auto& test) { return std::string(detail::name_of(test.param)); });

// A rank that leaves an operation may begin the next one's native steps, two of them, before others have left it.
TEST(NativeNumbers, SuccessiveOperationsUseDifferentSlots) {
  constexpr auto slots = static_cast<std::uint64_t>(xport::shm::slot_count);
  for (const std::uint32_t sequence : {0u, 1u, 2u, 3u, 1000u, (1u << 20) - 2}) {
    const std::uint64_t first = exec::first_native(sequence), next = exec::first_native(sequence + 1);
    EXPECT_GT(next, first + 4000) << sequence;
    for (std::uint64_t a : {first + 1, first + 2})
      for (std::uint64_t b : {next + 1, next + 2}) EXPECT_NE(a % slots, b % slots) << sequence;
  }
}

// A rank that calls something else is told, and what it had in flight can be given up.
TEST(RunErrors, OtherCallsAreAMismatch) {
  for (const bool other_length : {false, true}) {
    const sched::Problem p = flat_problem(Coll::allreduce, 2, 40), q = flat_problem(Coll::allreduce, 2, other_length ? 41 : 40);
    const algo::Recipe recipe = algo::candidates(p).front();
    std::vector<std::shared_ptr<exec::Program>> programs;
    std::vector<std::unique_ptr<exec::Run>> runs;
    std::vector<Rank> ranks;
    InprocNetwork network(2, 0, 1);
    for (int r = 0; r < 2; ++r) {
      ranks.emplace_back(r == 0 ? p : q, r, 1);
      const std::uint32_t signature = r == 1 && !other_length ? 100 : 99;
      programs.push_back(exec::compile(ranks.back().call(), signature, algo::build(r == 0 ? p : q, recipe, r), {}, {0, 1}, {}));
      runs.push_back(std::make_unique<exec::Run>(*programs.back()));
    }
    exec::Fiber fiber;
    InprocMessenger a(network, 0), b(network, 1);
    runs[0]->start(ranks[0].args(), communicator, 1);
    runs[1]->start(ranks[1].args(), communicator, 1);
    Errc code = Errc::ok;
    int peer = -1;
    for (int turn = 0; turn < 100 && code == Errc::ok; ++turn) {
      try {
        runs[1]->advance(&b, &fiber);
        a.progress();
        runs[0]->advance(&a, &fiber);
        b.progress();
      } catch (const Error& e) {
        code = e.code();
        peer = e.peer();
      }
    }
    EXPECT_EQ(code, Errc::mismatch);
    EXPECT_TRUE(peer == 0 || peer == 1);
    runs[0]->cancel(&a);
    runs[1]->cancel(&b);
    a.forget(communicator);
    b.forget(communicator);
    EXPECT_TRUE(network.box(0).posted.empty() && network.box(1).posted.empty() && network.box(0).messages.empty() && network.box(1).messages.empty());
  }
}

}  // namespace
}  // namespace libcoll::test
