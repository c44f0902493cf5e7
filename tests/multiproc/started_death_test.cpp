// Peers that die or do not come while requests are outstanding.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>

#include "tests/multiproc/context.hpp"
#include "tests/multiproc/jobs.hpp"
#include "tests/support/ranks.hpp"

namespace libcoll::test {
namespace {

enum class How { wait, test, any, blocking };
const char* name_of(How h) { return h == How::wait ? "wait" : h == How::test ? "test" : h == How::any ? "wait_any" : "blocking"; }

class Dies : public testing::TestWithParam<std::tuple<How, int>> {};

// A peer dies while requests are outstanding: all of them end with an Error, the first names it.
TEST_P(Dies, WhileRequestsAreOutstanding) {
  constexpr int ranks = 3;
  const auto [how, victim] = GetParam();
  for (const Which w : {Which::allreduce, Which::barrier, Which::alltoall})
    for (const Count n : {Count{1}, Count{500}, Count{100000}}) {
      if (w == Which::barrier && n != 1) continue;
      for (const std::size_t many : {std::size_t{1}, std::size_t{9}}) {
        Board board(ranks);
        Config config = quiet_config();
        config.single_copy = n % 2 == 0 ? "on" : "off";
        Processes processes(board, ranks, [&, how = how, victim = victim](int r) {
          Comm c = Comm::from_callback(r, ranks, board.function_for(r), config);
          c.barrier();
          if (r == victim) return raise(SIGKILL);
          std::vector<std::unique_ptr<Job>> jobs;
          std::vector<Request> requests;
          for (std::size_t i = 0; i < many; ++i) {
            jobs.push_back(std::make_unique<Job>(c, w, n, i, 0, false));
            requests.push_back(start(c, w, jobs.back()->args));
          }
          const Outcome first = outcome_of([&] {
            if (how == How::wait) requests[0].wait();
            else if (how == How::test) while (!requests[0].test()) sched_yield();
            else if (how == How::any) (void)wait_any(requests);
            else c.barrier();
          });
          board.report(r, first.text);
          if (how != How::blocking && (first.code != Errc::peer_lost || first.peer != victim)) return 10;
          if (how == How::blocking && first.code != Errc::closed && first.code != Errc::peer_lost) return 11;
          for (Request& q : requests) {
            const bool open = static_cast<bool>(q);
            const Outcome o = outcome_of([&] { q.wait(); });
            board.report(r, o.text);
            if (open && o.code != Errc::peer_lost && o.code != Errc::closed) return 12;
          }
          if (outcome_of([&] { (void)c.ibarrier(); }).code != Errc::closed) return 13;
          c.close();
          return 0;
        });
        const auto& ends = processes.wait(20);
        for (int r = 0; r < ranks; ++r) {
          const auto& e = ends[static_cast<std::size_t>(r)];
          if (r == victim) continue;
          EXPECT_TRUE(e.good()) << "rank " << r << ", " << test::name_of(w) << " of " << n << ", " << many << " requests: "
                                << (e.ended ? "code " + std::to_string(e.exit_code) + ", signal " + std::to_string(e.signal) : "hung") << "; " << board.text_of(r);
        }
      }
    }
}
INSTANTIATE_TEST_SUITE_P(Ways, Dies, testing::Combine(testing::Values(How::wait, How::test, How::any, How::blocking), testing::Values(0, 2)),
                         [](const auto& test) {
                           return std::string(name_of(std::get<0>(test.param))) + "_" + std::to_string(std::get<1>(test.param));
                         });

// Nobody dies, but a peer does not come.
TEST(StartedTimeout, OfACallThatNobodyJoins) {
  for (const bool polling : {false, true}) {
    Board board(2);
    Processes processes(board, 2, [&](int r) {
      Comm c = Comm::from_callback(r, 2, board.function_for(r), quiet_config());
      if (r == 1) return wait_until(30, [&] { return board.word(0).load() != 0; }) ? 0 : 1;
      Request q = c.ibarrier({.timeout_s = 0.3});
      const Outcome o = outcome_of([&] { finish(q, polling); });
      board.report(r, o.text);
      board.word(0).store(1);
      return o.code == Errc::timeout && o.peer == 1 ? 0 : 2;
    });
    const auto& ends = processes.wait(60);
    for (int r = 0; r < 2; ++r) EXPECT_TRUE(ends[static_cast<std::size_t>(r)].good()) << board.text_of(r);
  }
}

}  // namespace
}  // namespace libcoll::test
