// Ranks that only send, and one that is slow to receive: they may run ahead of it by a window (docs/adr/0008) and no more.
// Started by hosts.py, on two hosts; their ranks compare their numbers of calls in a file that all of them see.
// Usage: coll_run_ahead CALLS
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "libcoll/libcoll.hpp"
#include "transports/ucx/flow.hpp"

namespace {

using namespace libcoll;

// The window, and what ranks of a host are ahead of each other.
constexpr long most_ahead = xport::ucx::Flow::window + 16;

long peak_kib() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return u.ru_maxrss;
}

class Progress {
 public:
  explicit Progress(Comm& world) {
    const char* secret = std::getenv("LIBCOLL_SECRET");  // of this run
    path_ = std::filesystem::temp_directory_path() / fmt::format("coll_run_ahead_{:x}", std::hash<std::string>()(secret == nullptr ? "" : secret));
    const int fd = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, 4096) != 0) throw std::runtime_error("no file to compare notes in");
    void* at = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED) throw std::runtime_error("mmap");
    calls = static_cast<std::atomic<long>*>(at);
    world.barrier();
    std::filesystem::remove(path_);
    world.barrier();
  }
  std::atomic<long>* calls = nullptr;  // that the slow rank has begun

 private:
  std::filesystem::path path_;
};

// Returns by how many calls this rank was ahead of the slow one at most.
long stream(Comm& world, std::atomic<long>& slow_calls, int slow, long calls, const std::function<void()>& call) {
  long ahead = 0;
  if (world.rank() == slow) slow_calls = 0;
  world.barrier();
  for (long i = 0; i < calls; ++i) {
    if (world.rank() == slow) {
      slow_calls.store(i, std::memory_order_release);
      if (i % 5000 == 0) usleep(5000);
    }
    call();
    if (world.rank() != slow) ahead = std::max(ahead, i - slow_calls.load(std::memory_order_acquire));
  }
  world.barrier();
  return ahead;
}

// More than a window of started operations in each of two communicators, which every rank uses in an order of its own and
// waits for from the last to the first.
bool started(Comm& world) {
  constexpr int n = 3 * static_cast<int>(xport::ucx::Flow::window);
  Comm other = world.dup();
  Comm* comms[] = {&world, &other};
  std::vector<double> in(2 * n), out(2 * n);
  std::vector<Request> requests(2 * n);
  for (int c = 0; c < 2; ++c) {
    const int k = (world.rank() + c) % 2;
    for (int i = 0; i < n; ++i) {
      const auto at = static_cast<std::size_t>(k * n + i);
      in[at] = i + k;
      requests[at] = comms[k]->ireduce(&in[at], &out[at], 1, DType::f64, Op::sum, 0);
    }
  }
  for (std::size_t at = requests.size(); at-- > 0;) requests[at].wait();
  bool good = true;
  for (int k = 0; k < 2 && world.rank() == 0; ++k)
    for (int i = 0; i < n; ++i) good = good && out[static_cast<std::size_t>(k * n + i)] == world.size() * (i + k);
  other.close();
  return good;
}

int run(long calls) {
  Comm world = Comm::from_environment();
  const Progress progress(world);
  const int last = world.size() - 1;
  double x = 1, y = 0;
  std::vector<double> all(static_cast<std::size_t>(world.size()));
  struct Case {
    const char* name;
    int slow;
    std::function<void()> call;
  };
  const Case cases[] = {{"reduce", 0, [&] { world.reduce(&x, &y, 1, DType::f64, Op::sum, 0); }},
                        {"gather", 0, [&] { world.gather(&x, all.data(), 1, DType::f64, 0); }},
                        {"bcast", last, [&] { world.bcast(&x, 1, DType::f64, 0); }}};
  bool good = true;
  for (const Case& c : cases) {
    const long before = peak_kib();
    const long most = world.allreduce(stream(world, *progress.calls, c.slow, calls, c.call), Op::max);
    const long grown = world.allreduce(peak_kib() - before, Op::max);
    if (world.rank() == 0) std::printf("%s: %ld calls ahead at most, memory grew by %ld KiB\n", c.name, most, grown);
    good = good && most <= most_ahead;
  }
  if (!good && world.rank() == 0) std::printf("more than %ld\n", most_ahead);
  if (!started(world)) std::printf("started: wrong values\n"), good = false;
  if (good && world.rank() == 0) std::printf("ahead: passed\n");
  world.close();
  return good ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc > 1 ? std::atol(argv[1]) : 20'000);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
