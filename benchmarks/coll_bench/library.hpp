// Library: one implementation of the collectives, ours or an MPI's, under the same timed loop.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "coll_bench/collectives.hpp"
#include "coll_bench/feeder.hpp"
#include "libcoll/comm.hpp"

namespace bench {

class Library;

// One block of calls. `us` receives the duration of each timed call on this rank.
struct Loop {
  Feeder& feeder;
  Library& separator;  // its barrier stands before each call
  int warmup = 0, iterations = 1;
  bool wipe = false;
  std::vector<float> us;
};

class Library {
 public:
  virtual ~Library() = default;
  virtual void barrier() = 0;
  // Throws on the first call that fails.
  virtual void run(const Shape&, Loop&) = 0;
};

std::unique_ptr<Library> libcoll_library(libcoll::Comm&, const std::string& algorithm);
// Start and wait: of a request, of a persistent collective.
std::unique_ptr<Library> started_library(libcoll::Comm&, const std::string& algorithm);
std::unique_ptr<Library> persistent_library(libcoll::Comm&, const std::string& algorithm);

// OSU's way: the local time of each call, with a barrier between calls. A template, so that nothing
// but the call itself lies between the two readings of the clock. `prepare` runs before the barrier.
struct NoPreparation {
  void operator()(void*, void*) const {}
};
template <class Call, class Prepare = NoPreparation>
void timed_loop(Loop& loop, const Call& call, const Prepare& prepare = {}) {
  using Clock = std::chrono::steady_clock;
  loop.us.assign(static_cast<std::size_t>(loop.iterations), 0.0F);
  for (int i = -loop.warmup; i < loop.iterations; ++i) {
    loop.feeder.next();
    if (loop.wipe) loop.feeder.wipe();
    void* const send = loop.feeder.send();
    void* const recv = loop.feeder.recv();
    prepare(send, recv);
    loop.separator.barrier();
    const Clock::time_point start = Clock::now();
    call(send, recv);
    const Clock::time_point end = Clock::now();
    if (i >= 0)
      loop.us[static_cast<std::size_t>(i)] = std::chrono::duration<float, std::micro>(end - start).count();
  }
  loop.separator.barrier();
}

}  // namespace bench
