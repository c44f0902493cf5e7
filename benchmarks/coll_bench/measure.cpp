#include "coll_bench/measure.hpp"

#include <algorithm>

#include "coll_bench/runner.hpp"

namespace bench {

double median(std::vector<double> v) {
  if (v.empty()) return 0;
  std::sort(v.begin(), v.end());
  const std::size_t middle = v.size() / 2;
  return v.size() % 2 != 0 ? v[middle] : (v[middle - 1] + v[middle]) / 2;
}

Cell measure(const Contestants& c, const Options& o, Coll coll, Memory memory, std::uint64_t bytes) {
  const Shape shape = make_shape(coll, bytes, o.dtype, o.op, o.root, c.job.rank(), c.job.size());
  Cell cell{.coll = coll,
            .memory = memory,
            .bytes = shape.bytes,
            .iterations = o.iterations_for(shape.bytes),
            .versus = c.theirs != nullptr};
  Feeder feeder(shape, o.buffers, memory, c.cache_bytes, c.job.comm());
  Runner ours(c, o, shape, feeder, c.ours, cell.ours);
  if (c.theirs == nullptr) {
    for (int r = 0; r < o.repetitions; ++r) ours.block();
    ours.finish();
    return cell;
  }
  Runner theirs(c, o, shape, feeder, *c.theirs, cell.theirs);
  for (int r = 0; r < o.repetitions; ++r) {
    // Who goes first alternates: neither always finds what the other left in the caches.
    Runner& first = r % 2 == 0 ? ours : theirs;
    Runner& second = r % 2 == 0 ? theirs : ours;
    first.block();
    second.block();
    if (ours.usable() && theirs.usable())
      cell.ratios.push_back(cell.theirs.avg.back() / cell.ours.avg.back());
  }
  if (!ours.usable() || !theirs.usable()) cell.ratios.clear();
  ours.finish();
  theirs.finish();
  return cell;
}

}  // namespace bench
