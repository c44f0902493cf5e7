// Ranks killed at random moments while the world is being made: the others get an Error, none hangs,
// nothing stays behind. Jobs run side by side, since waiting for a dead rank is most of the time.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <arpa/inet.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>

#include "tests/multiproc/calls.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {
namespace {

std::uint16_t free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t n = sizeof a;
  const bool good = bind(fd, reinterpret_cast<sockaddr*>(&a), n) == 0 && getsockname(fd, reinterpret_cast<sockaddr*>(&a), &n) == 0;
  close(fd);
  return good ? ntohs(a.sin_port) : 0;
}

int in_dev_shm() {
  int found = 0;
  for (const auto& e : std::filesystem::directory_iterator("/dev/shm"))
    found += e.path().filename().string().find("libcoll") != std::string::npos ? 1 : 0;
  return found;
}

// Comes from the environment, then communicates until an Error ends it. 0: it got one.
int live(Board& board, int rank, int size, const std::string& root) {
  setenv("LIBCOLL_RANK", std::to_string(rank).c_str(), 1);
  setenv("LIBCOLL_SIZE", std::to_string(size).c_str(), 1);
  setenv("LIBCOLL_ROOT", root.c_str(), 1);
  setenv("LIBCOLL_SECRET", "a secret of this test alone", 1);
  setenv("LIBCOLL_TIMEOUT", "1", 1);
  const Outcome o = outcome_of([&] {
    Config config = quiet_config();
    config.calibrate = size == 3;  // takes longer and has more steps
    Comm world = Comm::from_environment(config);
    for (;;) world.allreduce(1, Op::sum);
  });
  board.report(rank, o.text);
  return 0;
}

struct Job {
  Job(int ranks, int doomed, std::uint64_t after_us, const std::string& root)
      : size(ranks), victim(doomed), kill_after_us(after_us), board(ranks),
        processes(board, ranks, [&, root](int r) { return live(board, r, size, root); }) {}
  const int size, victim;
  const std::uint64_t kill_after_us;
  Board board;
  Processes processes;
};

class CreationKilled : public testing::TestWithParam<const char*> {};

TEST_P(CreationKilled, AHundredTimes) {
  const bool tcp = std::string(GetParam()) == "tcp";
  std::mt19937_64 random(test_seed());
  const int batches = test_scale() < 1 ? 2 : 10;
  for (int batch = 0; batch < batches; ++batch) {
    std::vector<std::unique_ptr<Job>> jobs;
    std::vector<std::chrono::steady_clock::time_point> born;
    for (int j = 0; j < 10; ++j) {
      const std::string root = tcp ? "127.0.0.1:" + std::to_string(free_port())
                                   : "unix:creation_test/" + std::to_string(getpid()) + "/" + std::to_string(batch * 10 + j);
      const int size = 2 + static_cast<int>(random() % 3);
      jobs.push_back(std::make_unique<Job>(size, static_cast<int>(random() % static_cast<unsigned>(size)), random() % 60000, root));
      born.push_back(std::chrono::steady_clock::now());
    }
    for (std::size_t j = 0; j < jobs.size(); ++j) {
      // The moment is random; nothing depends on where the ranks have got to by then.
      const auto due = born[j] + std::chrono::microseconds(jobs[j]->kill_after_us);
      wait_until(1, [&] { return std::chrono::steady_clock::now() >= due; });
      jobs[j]->processes.signal(jobs[j]->victim, SIGKILL);
    }
    for (const auto& job : jobs) {
      const auto& ends = job->processes.wait(30);
      for (int r = 0; r < job->size; ++r) {
        const auto& e = ends[static_cast<std::size_t>(r)];
        const bool expected = r == job->victim ? e.ended : e.good();
        EXPECT_TRUE(expected) << "rank " << r << " of " << job->size << ", victim " << job->victim << ": "
                              << (e.ended ? "ended badly" : "hung") << ", signal " << e.signal << "; " << job->board.text_of(r) << "; " << seed_text();
      }
    }
    EXPECT_EQ(in_dev_shm(), 0);
  }
}
INSTANTIATE_TEST_SUITE_P(Meeting, CreationKilled, testing::Values("unix", "tcp"), [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace libcoll::test
