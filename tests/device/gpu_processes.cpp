#include "tests/device/gpu_processes.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/values.hpp"

namespace libcoll::test {

namespace {

struct Process {
  pid_t pid = -1;
  bool ended = false;
  int code = 1;
};

void become_rank(int rank, int size, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  setenv("LIBCOLL_RANK", std::to_string(rank).c_str(), 1);
  setenv("LIBCOLL_SIZE", std::to_string(size).c_str(), 1);
  setenv("LIBCOLL_ROOT", fmt::format("unix:device-gpu-{}", parent).c_str(), 1);
  setenv("LIBCOLL_CALL_TIMEOUT", "120", 0);
}

// Whether it has ended.
bool look_at(Process& p, int rank) {
  int status = 0;
  if (p.ended || waitpid(p.pid, &status, WNOHANG) != p.pid) return p.ended;
  p.ended = true;
  p.code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  if (WIFSIGNALED(status)) fmt::print(stderr, "device_gpu: rank {} died of signal {}\n", rank, WTERMSIG(status));
  return true;
}

void end(Process& p, int rank) {
  fmt::print(stderr, "device_gpu: rank {} still ran and was killed\n", rank);
  kill(p.pid, SIGKILL);
  waitpid(p.pid, nullptr, 0);
  p.ended = true;
}

}  // namespace

int run_processes(int ranks, double limit_s, const std::function<int()>& body) {
  using Clock = std::chrono::steady_clock;
  using std::chrono::duration_cast, std::chrono::duration;
  constexpr std::chrono::seconds to_hear_of_it{30};
  test_seed();  // drawn here: all ranks inherit it
  std::fflush(nullptr);
  std::vector<Process> all(static_cast<std::size_t>(ranks));
  const pid_t parent = getpid();
  for (int r = 0; r < ranks; ++r) {
    const pid_t pid = fork();
    if (pid == 0) {
      become_rank(r, ranks, parent);
      _exit(body());
    }
    all[static_cast<std::size_t>(r)].pid = pid;
    if (pid < 0) all[static_cast<std::size_t>(r)].ended = true;
  }
  auto deadline = Clock::now() + duration_cast<Clock::duration>(duration<double>(limit_s));
  for (bool failed = false;;) {
    bool running = false;
    for (int r = 0; r < ranks; ++r) {
      Process& p = all[static_cast<std::size_t>(r)];
      if (!look_at(p, r)) running = true;
      else if (p.code != 0 && p.code != exit_skipped && !failed) failed = true, deadline = std::min(deadline, Clock::now() + to_hear_of_it);
    }
    if (!running || Clock::now() > deadline) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  for (int r = 0; r < ranks; ++r)
    if (Process& p = all[static_cast<std::size_t>(r)]; !p.ended) end(p, r);
  const int first = all[0].code;
  const bool alike = std::all_of(all.begin(), all.end(), [&](const Process& p) { return p.code == first; });
  return alike ? first : 1;
}

}  // namespace libcoll::test
