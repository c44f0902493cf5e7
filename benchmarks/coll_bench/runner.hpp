// Runner: one contestant's blocks of timed calls in one cell.
#pragma once

#include <vector>

#include "coll_bench/measure.hpp"

namespace bench {

class Runner {
 public:
  // Two untimed calls into wiped buffers come first. Errors are results too: a refused call (an algorithm that
  // does not exist, say) is refused on every rank. All references must outlive the runner.
  Runner(const Contestants&, const Options&, const Shape&, Feeder&, Library&, Series&);
  // Collective, once per repetition; does nothing if the contestant is out.
  void block();
  // Collective: percentiles over all blocks.
  void finish();
  bool usable() const { return series_.correct && series_.error.empty(); }

 private:
  void try_out();
  void add(const std::vector<float>& us);

  const Contestants& c_;
  const Options& o_;
  const Shape& shape_;
  Feeder& feeder_;
  Library& library_;
  Series& series_;
  std::vector<float> pooled_;
};

// Of all ranks' means.
double mean_over_ranks(Job&, const std::vector<float>& mine);
// Says on stderr what went wrong in a timed block and ends the job.
[[noreturn]] void give_up(Job&, const Shape&, const std::exception&);

}  // namespace bench
