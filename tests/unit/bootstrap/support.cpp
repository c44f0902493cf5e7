#include "support.hpp"

#include <sys/wait.h>

#include <cstdio>
#include <thread>

namespace libcoll::detail::test {

void as_threads(int ranks, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) threads.emplace_back(body, r);
  for (std::thread& t : threads) t.join();
}

void as_processes(int ranks, const std::function<bool(int)>& body) {
  std::vector<pid_t> children;
  for (int r = 0; r < ranks; ++r) {
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      ::alarm(60);  // whatever happens, no process outlives the test
      int status = 1;
      try {
        status = body(r) ? 0 : 1;
      } catch (const std::exception& e) {
        std::fprintf(stderr, "rank %d: %s\n", r, e.what());
      }
      ::_exit(status);
    }
    children.push_back(pid);
  }
  for (int r = 0; r < ranks; ++r) {
    int status = -1;
    ASSERT_EQ(::waitpid(children[static_cast<std::size_t>(r)], &status, 0),
              children[static_cast<std::size_t>(r)]);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "rank " << r << ", status " << status;
  }
}

bool allgather_works(Bootstrap& b, std::size_t bytes) {
  std::vector<unsigned char> mine(bytes), all(bytes * static_cast<std::size_t>(b.size()), 0xEE);
  for (std::size_t i = 0; i < bytes; ++i) mine[i] = pattern(b.rank(), i);
  b.allgather(mine.data(), all.data(), bytes);
  for (int r = 0; r < b.size(); ++r) {
    for (std::size_t i = 0; i < bytes; ++i) {
      if (all[static_cast<std::size_t>(r) * bytes + i] != pattern(r, i)) return false;
    }
  }
  return true;
}

}  // namespace libcoll::detail::test
