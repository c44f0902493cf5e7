// How much of a started collective hides behind a computation, as OSU measures it: start, compute for as
// long as the collective takes alone (with calls of test in between), wait.
#pragma once

#include <string>
#include <vector>

#include "coll_bench/library.hpp"
#include "coll_bench/measure.hpp"

namespace bench {

// A block of such calls. Times of this rank, one for each call.
struct ComputeLoop {
  Feeder& feeder;
  Library& separator;
  int warmup = 0, iterations = 1;
  double compute_us = 0;  // to compute for
  int tests = 0;          // calls of test, evenly spread
  std::vector<float> overall = {}, compute = {}, start = {}, wait = {};
};
void run_with_computation(libcoll::Comm&, const std::string& algorithm, const Shape&, ComputeLoop&);

// Arithmetic in registers for so many microseconds; returns how long it took.
double compute_for(double us);

// Collective; the same cell on all ranks.
Cell measure_overlap(const Contestants&, const Options&, Coll, Memory, std::uint64_t bytes);

template <class Start>
void computing_loop(ComputeLoop& loop, const Start& start) {
  using Clock = std::chrono::steady_clock;
  const auto us = [](Clock::duration d) { return std::chrono::duration<float, std::micro>(d).count(); };
  for (auto* v : {&loop.overall, &loop.compute, &loop.start, &loop.wait}) v->assign(static_cast<std::size_t>(loop.iterations), 0.0F);
  for (int i = -loop.warmup; i < loop.iterations; ++i) {
    loop.feeder.next();
    void* const send = loop.feeder.send();
    void* const recv = loop.feeder.recv();
    loop.separator.barrier();
    const Clock::time_point begin = Clock::now();
    libcoll::Request request = start(send, recv);
    const Clock::time_point started = Clock::now();
    double computed = 0;
    for (int t = 0; t <= loop.tests; ++t) {
      if (t > 0) request.test();
      computed += compute_for(loop.compute_us / (loop.tests + 1));
    }
    const Clock::time_point waiting = Clock::now();
    request.wait();
    const Clock::time_point end = Clock::now();
    if (i < 0) continue;
    const auto k = static_cast<std::size_t>(i);
    loop.overall[k] = us(end - begin);
    loop.compute[k] = static_cast<float>(computed);
    loop.start[k] = us(started - begin);
    loop.wait[k] = us(end - waiting);
  }
  loop.separator.barrier();
}

}  // namespace bench
