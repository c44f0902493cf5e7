// What a long run does to the arena, shortened: several threads allocate, resize and free blocks of all sizes, also each
// other's, between collectives and forks. Nothing may leak, and children see their parent's data as it was.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <thread>

#include "check.hpp"
#include "integrations/arena/arena.hpp"
#include "tests/support/memory.hpp"

namespace {

using namespace pmpi_test;
using libcoll::test::resident_kib;
namespace arena = libcoll::arena;

// Blocks hold their size in front and at their end, and a mark that says so.
struct Stamp {
  std::size_t bytes, mark;
};
constexpr std::size_t mark = 0x6c6962636f6c6cu;

std::size_t random_bytes(std::mt19937_64& random) { return (std::size_t{64} << random() % 17) + random() % 5000; }

Stamp* stamp(void* p, std::size_t bytes) {
  const Stamp s{bytes, mark};
  std::memcpy(p, &s, sizeof s);
  std::memcpy(static_cast<char*>(p) + bytes - sizeof s, &s, sizeof s);
  return static_cast<Stamp*>(p);
}

void check_stamp(const Stamp* p, std::size_t upto, const char* when) {
  require(p->mark == mark, std::string("a block was overwritten: ") + when);
  if (p->bytes > upto) return;
  Stamp end{};
  std::memcpy(&end, reinterpret_cast<const char*>(p) + p->bytes - sizeof end, sizeof end);
  require(end.mark == mark && end.bytes == p->bytes, std::string("the end of a block was overwritten: ") + when);
}

constexpr int slots = 200;
std::atomic<Stamp*> shared[slots];

void work(unsigned seed, int steps) {
  std::mt19937_64 random(seed);
  for (int i = 0; i < steps; ++i) {
    std::atomic<Stamp*>& slot = shared[random() % slots];
    Stamp* p = slot.exchange(nullptr);
    const std::size_t bytes = random_bytes(random);
    if (p != nullptr) {
      check_stamp(p, p->bytes, "in its slot");
      if (random() % 3 == 0) {
        void* q = std::realloc(p, bytes);
        check_stamp(static_cast<Stamp*>(q), bytes, "after realloc");
        p = stamp(q, bytes);
      } else {
        std::free(p);
        p = nullptr;
      }
    } else {
      void* q = nullptr;
      switch (random() % 3) {
        case 0: q = std::malloc(bytes); break;
        case 1:
          q = std::calloc(1, bytes);
          require(static_cast<char*>(q)[0] == 0 && static_cast<char*>(q)[bytes / 2] == 0 && static_cast<char*>(q)[bytes - 1] == 0, "calloc gives zeros");
          break;
        default: require(posix_memalign(&q, std::size_t{16} << random() % 10, bytes) == 0, "posix_memalign");
      }
      p = stamp(q, bytes);
    }
    Stamp* other = slot.exchange(p);
    std::free(other);
  }
}

void churn(int steps) {
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) threads.emplace_back(work, 100 * t + static_cast<unsigned>(rank_of()), steps);
  for (std::thread& t : threads) t.join();
}

void check_fork() {
  constexpr std::size_t n = std::size_t{4} << 20;
  auto* data = static_cast<char*>(std::malloc(n));
  std::memset(data, 1, n);
  int ends[2];
  require(pipe(ends) == 0, "pipe");
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    char go;
    if (read(ends[0], &go, 1) != 1 || data[0] != 1 || data[n - 1] != 1) _exit(1);
    std::memset(data, 2, n);
    char* own = static_cast<char*>(std::malloc(n));
    if (own == nullptr || arena::contains(own)) _exit(2);
    std::free(own);
    data = static_cast<char*>(std::realloc(data, 2 * n));
    if (data[0] != 2 || data[n - 1] != 2) _exit(3);
    std::free(data);
    _exit(std::system("true"));
  }
  std::memset(data, 3, n);
  require(write(ends[1], "x", 1) == 1, "write");
  int status = -1;
  require(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0, "a forked child: status " + std::to_string(status));
  require(data[0] == 3 && data[n - 1] == 3, "a child changed its parent's memory");
  close(ends[0]);
  close(ends[1]);
  std::free(data);
}

void check_sum() {
  std::vector<double> in(200000, 1.5), out(in.size());
  MPI_Allreduce(in.data(), out.data(), static_cast<int>(in.size()), MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  require(out.front() == 1.5 * size_of() && out.back() == 1.5 * size_of(), "a sum");
}

}  // namespace

// Usage: pmpi_arena_churn [STEPS] of each thread.
int main(int argc, char** argv) {
  int provided;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  const int steps = argc > 1 ? std::atoi(argv[1]) : 4000;
  check_sum();
  const std::size_t live = arena::usage().live_bytes;
  long resident = 0;
  for (int round = 0; round < 5; ++round) {
    churn(steps);
    check_fork();
    check_sum();
    for (auto& slot : shared) std::free(slot.exchange(nullptr));
    require(arena::usage().live_bytes == live, "arena memory leaks: " + std::to_string(arena::usage().live_bytes - live) + " bytes");
    require(arena::usage().kept_bytes <= std::size_t{64} << 20, "the arena keeps more freed pages than it may");
    const long now = resident_kib() - static_cast<long>(arena::usage().kept_bytes / 1024);
    if (round == 0) resident = now;
    require(now <= resident + (48 << 10), "memory grew from " + std::to_string(resident) + " to " + std::to_string(now) + " KiB");
  }
  require(arena::usage().allocations > static_cast<std::size_t>(steps), "the arena was hardly used");
  passed();
  MPI_Finalize();
}
