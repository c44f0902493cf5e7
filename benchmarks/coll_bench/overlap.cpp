#include "coll_bench/overlap.hpp"

#include <algorithm>
#include <chrono>

#include "coll_bench/runner.hpp"

namespace bench {

double compute_for(double us) {
  using Clock = std::chrono::steady_clock;
  static volatile double result = 1;
  const Clock::time_point start = Clock::now();
  double x = result, passed = 0;
  while (passed < us) {
    for (int i = 0; i < 100; ++i) x = x * 0.999999 + 0.000001;
    passed = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
  }
  result = x;
  return passed;
}

Cell measure_overlap(const Contestants& c, const Options& o, Coll coll, Memory memory, std::uint64_t bytes) {
  constexpr double us_between_tests = 20;
  const Shape shape = make_shape(coll, bytes, o.dtype, o.op, o.root, c.job.rank(), c.job.size());
  Cell cell{.coll = coll, .memory = memory, .bytes = shape.bytes, .iterations = o.iterations_for(shape.bytes)};
  Feeder feeder(shape, o.buffers, memory, c.cache_bytes, c.job.comm());
  Runner alone(c, o, shape, feeder, c.ours, cell.ours);
  Overlap overlap;
  for (int r = 0; r < o.repetitions; ++r) {
    alone.block();
    if (!alone.usable()) return cell;
    const double latency = cell.ours.avg.back();
    overlap.tests = o.tests >= 0 ? o.tests : static_cast<int>(latency / us_between_tests);
    ComputeLoop loop{.feeder = feeder, .separator = c.separator_of(c.ours), .warmup = o.warmup_for(shape.bytes), .iterations = cell.iterations,
                     .compute_us = latency, .tests = overlap.tests};
    feeder.wipe();
    try {
      run_with_computation(c.job.comm(), o.algorithm, shape, loop);
    } catch (const std::exception& e) {
      give_up(c.job, shape, e);
    }
    if (o.check && !c.job.everybody(feeder.is_right())) {
      cell.ours.correct = false;
      return cell;
    }
    overlap.overall.push_back(mean_over_ranks(c.job, loop.overall));
    overlap.compute.push_back(mean_over_ranks(c.job, loop.compute));
    overlap.start.push_back(mean_over_ranks(c.job, loop.start));
    overlap.wait.push_back(mean_over_ranks(c.job, loop.wait));
    overlap.percent.push_back(100 * std::max(0.0, 1 - (overlap.overall.back() - overlap.compute.back()) / latency));
  }
  alone.finish();
  cell.overlap = std::move(overlap);
  return cell;
}

}  // namespace bench
