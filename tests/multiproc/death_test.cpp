// Ranks that die, stop or leave early. Survivors must get an Error that names the rank, soon, and
// nothing may stay behind.
#include <dirent.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <random>

#include "tests/multiproc/calls.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {
namespace {

constexpr double soon_s = 15;  // the library promises a second; the machine may be busy

// What is in /dev/shm and what this process has open of libcoll.
int leftovers() {
  int found = 0;
  for (const auto& e : std::filesystem::directory_iterator("/dev/shm"))
    found += e.path().filename().string().find("libcoll") != std::string::npos ? 1 : 0;
  for (const auto& e : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    found += std::filesystem::read_symlink(e.path(), gone).string().find("memfd:libcoll") != std::string::npos ? 1 : 0;
  }
  return found;
}

// Exit codes of a survivor.
enum : int { fine = 0, no_error = 10, wrong_code, wrong_peer, not_closed, cannot_close, something_left };

// A broken communicator says so, can be closed, and leaves nothing.
int leave_broken(Comm& world) {
  Args x(world);
  for (const Which w : {Which::barrier, Which::allreduce, Which::bcast, Which::alltoallv})
    if (outcome_of([&] { call(world, w, x); }).code != Errc::closed) return not_closed;
  if (outcome_of([&] { (void)world.dup(); }).code != Errc::closed) return not_closed;
  if (outcome_of([&] { world.close(); }).code != Errc::ok || world) return cannot_close;
  return leftovers() == 0 ? fine : something_left;
}

int judge(Board& board, int rank, Comm& world, const Outcome& o, int victim) {
  board.report(rank, std::string(libcoll::name_of(o.code)) + ", peer " + std::to_string(o.peer) + ": " + o.text);
  if (o.code == Errc::ok) return no_error;
  if (o.code != Errc::peer_lost) return wrong_code;
  if (o.peer != victim || o.text.find("rank " + std::to_string(victim)) == std::string::npos) return wrong_peer;
  return leave_broken(world);
}

struct Scene {
  const char* name;
  Which which;
  Count count;
  const char* single_copy;
  bool arena;
};
void PrintTo(const Scene& s, std::ostream* out) { *out << s.name; }

// Calls the collective over and over, buffers as the scene says.
void call_forever(Comm& world, const Scene& s) {
  Args x(world, s.count);
  Buffer send, recv;
  if (s.arena) {
    send = world.allocate(x.a.size() * sizeof(double));
    recv = world.allocate(x.b.size() * sizeof(double));
    x.send = send.data(), x.recv = recv.data();
  }
  for (;;) call(world, s.which, x);
}

class Killed : public testing::TestWithParam<Scene> {};

TEST_P(Killed, SurvivorsNameTheDead) {
  const Scene& s = GetParam();
  std::mt19937_64 random(test_seed() + static_cast<std::uint64_t>(s.count));
  const int rounds = test_scale() < 1 ? 2 : 6;
  for (int round = 0; round < rounds; ++round) {
    const int ranks = 2 + static_cast<int>(random() % 4), victim = static_cast<int>(random() % static_cast<unsigned>(ranks));
    Board board(ranks);
    Config config = quiet_config();
    config.single_copy = s.single_copy;
    Processes processes(board, ranks, [&](int r) {
      Comm world = Comm::from_callback(r, ranks, board.function_for(r), config);
      world.barrier();
      board.word(0).fetch_add(1);
      return judge(board, r, world, outcome_of([&] { call_forever(world, s); }), victim);
    });
    ASSERT_TRUE(wait_until(30, [&] { return board.word(0).load() == static_cast<std::uint64_t>(ranks); }));
    usleep(static_cast<useconds_t>(random() % 20000));  // a random moment, not a condition to pass
    processes.signal(victim, SIGKILL);
    const auto& ends = processes.wait(soon_s);
    for (int r = 0; r < ranks; ++r) {
      const auto& e = ends[static_cast<std::size_t>(r)];
      if (r == victim) EXPECT_EQ(e.signal, SIGKILL);
      else EXPECT_TRUE(e.good()) << "rank " << r << " of " << ranks << ", victim " << victim << ": "
                                 << (e.ended ? "code " + std::to_string(e.exit_code) : "hung") << "; " << board.text_of(r) << "; " << seed_text();
    }
    EXPECT_EQ(leftovers(), 0);
  }
}
INSTANTIATE_TEST_SUITE_P(
    Scenes, Killed,
    testing::Values(Scene{"barrier", Which::barrier, 1, "on", false}, Scene{"small_allreduce", Which::allreduce, 1, "on", false},
                    Scene{"framed_allreduce", Which::allreduce, 100, "on", false}, Scene{"large_allreduce_remote", Which::allreduce, 100003, "on", false},
                    Scene{"large_allreduce_ring", Which::allreduce, 100003, "off", false},
                    Scene{"large_allreduce_shared", Which::allreduce, 100003, "on", true},
                    Scene{"small_bcast", Which::bcast, 4, "on", false}, Scene{"large_bcast_remote", Which::bcast, 300007, "on", false},
                    Scene{"large_bcast_ring", Which::bcast, 300007, "off", false}, Scene{"large_bcast_shared", Which::bcast, 300007, "on", true},
                    Scene{"small_alltoall", Which::alltoall, 4, "on", false}, Scene{"large_alltoall_remote", Which::alltoall, 50021, "on", false},
                    Scene{"large_alltoall_ring", Which::alltoall, 50021, "off", false},
                    Scene{"large_alltoall_shared", Which::alltoall, 50021, "on", true},
                    Scene{"large_reduce", Which::reduce, 100003, "on", false}, Scene{"gatherv", Which::gatherv, 20011, "off", false},
                    Scene{"scan", Which::scan, 20011, "on", false}),
    [](const auto& test) { return test.param.name; });

// A stopped rank is timed out by name; when it goes on it gets an Error too.
TEST(Stopped, TimesOutAndThenFails) {
  constexpr int ranks = 3, victim = 1;
  Board board(ranks);
  Config config = quiet_config();
  config.timeout_s = 1;
  Processes processes(board, ranks, [&](int r) {
    Comm world = Comm::from_callback(r, ranks, board.function_for(r), config);
    board.word(0).fetch_add(1);
    const Outcome o = outcome_of([&] { for (;;) world.allreduce(1, Op::sum); });
    board.report(r, std::string(libcoll::name_of(o.code)) + ", peer " + std::to_string(o.peer) + ": " + o.text);
    if (o.code != Errc::timeout && o.code != Errc::peer_lost) return int{wrong_code};
    if (r != victim && o.peer != victim) return int{wrong_peer};
    if (o.code == Errc::timeout) board.word(1).fetch_add(1);
    return leave_broken(world);
  });
  ASSERT_TRUE(wait_until(30, [&] { return board.word(0).load() == ranks; }));
  processes.signal(victim, SIGSTOP);
  EXPECT_TRUE(processes.wait_for(0, soon_s)) << "rank 0 hangs";
  EXPECT_TRUE(processes.wait_for(2, soon_s)) << "rank 2 hangs";
  EXPECT_GE(board.word(1).load(), 1u) << "nobody reported a timeout";
  processes.signal(victim, SIGCONT);
  const auto& ends = processes.wait(soon_s);
  for (int r = 0; r < ranks; ++r) EXPECT_TRUE(ends[static_cast<std::size_t>(r)].good()) << "rank " << r << ": " << ends[static_cast<std::size_t>(r)].exit_code << "; " << board.text_of(r);
}

// The timeout of one call.
TEST(Stopped, ACallMayHaveItsOwnTimeout) {
  constexpr int ranks = 2;
  Board board(ranks);
  Processes processes(board, ranks, [&](int r) {
    Comm world = Comm::from_callback(r, ranks, board.function_for(r), quiet_config());
    if (r == 1) return wait_until(30, [&] { return board.word(0).load() != 0; }) ? 0 : 1;
    const Outcome o = outcome_of([&] { world.barrier({.timeout_s = 0.2}); });
    board.word(0).store(1);
    board.report(r, o.text);
    return o.code == Errc::timeout && o.peer == 1 ? leave_broken(world) : int{wrong_code};
  });
  const auto& ends = processes.wait(60);
  for (int r = 0; r < ranks; ++r) EXPECT_TRUE(ends[static_cast<std::size_t>(r)].good()) << board.text_of(r);
}

// Who has finished its last collective may exit: slower ranks must not take that for a loss.
class Leaver : public testing::TestWithParam<std::tuple<Which, Count, const char*>> {};

TEST_P(Leaver, DoesNotDisturbSlowerRanks) {
  const auto [which, count, single_copy] = GetParam();
  constexpr int ranks = 4;
  Board board(ranks);
  Config config = quiet_config();
  config.single_copy = single_copy;
  const bool to_root = which == Which::gather || which == Which::reduce;
  Processes processes(board, ranks, [&, w = which, n = count](int r) {
    Comm world = Comm::from_callback(r, ranks, board.function_for(r), config);
    Args x(world, n);
    // The slow ones come when the others have left, or at least had the time to. Who lends its memory
    // cannot leave before it has been read.
    const bool slow = to_root ? r == 0 : r > 1;
    if (slow) wait_until(0.4, [&] { return board.word(0).load() == (to_root ? 3u : 2u); });
    const Outcome o = outcome_of([&] { call(world, w, x); });
    board.report(r, o.text);
    if (o.code != Errc::ok) return 1;
    if (slow && w == Which::bcast && (x.b[0] != -1 || x.b[static_cast<std::size_t>(n) - 1] != -1)) return 2;
    if (slow && w == Which::gather && x.b[static_cast<std::size_t>(n) * 3] != 1) return 3;
    if (!slow) board.word(0).fetch_add(1);
    return 0;  // without close, as a program that just ends
  });
  const auto& ends = processes.wait(60);
  for (int r = 0; r < ranks; ++r) EXPECT_TRUE(ends[static_cast<std::size_t>(r)].good()) << "rank " << r << ": " << board.text_of(r);
}
INSTANTIATE_TEST_SUITE_P(Calls, Leaver, testing::Combine(testing::Values(Which::gather, Which::bcast, Which::reduce, Which::scatter),
                                                         testing::Values(Count{4}, Count{1000}, Count{60000}), testing::Values("on", "off")),
                         [](const auto& test) {
                           return std::string(name_of(std::get<0>(test.param))) + "_" + std::to_string(std::get<1>(test.param)) + "_" + std::get<2>(test.param);
                         });

// A sub-communicator and the world it came from both learn of the death.
TEST(Killed, InASubCommunicator) {
  constexpr int ranks = 4, victim = 3;
  Board board(ranks);
  Processes processes(board, ranks, [&](int r) {
    Comm world = Comm::from_callback(r, ranks, board.function_for(r), quiet_config());
    Comm half = world.split(r % 2);
    board.word(0).fetch_add(1);
    if (r % 2 == 1) {
      const Outcome o = outcome_of([&] { for (;;) half.barrier(); });
      if (o.code != Errc::peer_lost || o.peer != 1) return board.report(r, o.text), int{wrong_peer};
      if (const int code = leave_broken(half); code != fine && code != something_left) return code;
    } else {
      for (int i = 0; i < 1000; ++i) half.barrier();  // not concerned
      half.close();
    }
    return judge(board, r, world, outcome_of([&] { for (;;) world.barrier(); }), victim);
  });
  ASSERT_TRUE(wait_until(30, [&] { return board.word(0).load() == ranks; }));
  processes.signal(victim, SIGKILL);
  const auto& ends = processes.wait(soon_s);
  for (const int r : {0, 1, 2})
    EXPECT_TRUE(ends[static_cast<std::size_t>(r)].good()) << "rank " << r << ": " << ends[static_cast<std::size_t>(r)].exit_code << "; " << board.text_of(r);
}

}  // namespace
}  // namespace libcoll::test
