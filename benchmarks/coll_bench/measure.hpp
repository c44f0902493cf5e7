// Measuring one cell: a collective, a size and a kind of memory, by one library or form, or two.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "coll_bench/job.hpp"
#include "coll_bench/library.hpp"
#include "coll_bench/options.hpp"

namespace bench {

double median(std::vector<double>);

// What one library did in one cell. Times in microseconds; per repetition: mean over its calls of a
// rank's time, then average, minimum and maximum over ranks.
struct Series {
  bool correct = true;
  std::string error;  // why there are no times
  std::vector<double> avg, min, max;
  double p50 = 0, p90 = 0, p99 = 0;  // of all calls of all ranks; with Options::full or a JSON file
  bool has_times() const { return !avg.empty() && correct && error.empty(); }
  double avg_us() const { return median(avg); }
  double min_us() const { return median(min); }
  double max_us() const { return median(max); }
};

// One of --all-algorithms.
struct Way {
  std::string recipe;         // "": a native step
  double predicted_us = 0;
  bool chosen = false;        // by the library
  Series series = {};
};

// Of --nonblocking; per repetition, averages over ranks and calls, in microseconds.
struct Overlap {
  std::vector<double> overall, compute, start, wait, percent;
  int tests = 0;              // calls of test during a computation
};

struct Cell {
  Coll coll = Coll::barrier;
  Memory memory = Memory::private_;
  std::uint64_t bytes = 0;
  int iterations = 0;
  bool versus = false;
  Series ours = {}, theirs = {};
  std::vector<double> ratios = {};  // theirs / ours, per repetition
  std::vector<Way> ways = {};       // fastest first; those without times last. `ours` is the chosen one's
  std::optional<Overlap> overlap = {};
  bool has_ratio() const { return !ratios.empty(); }
  double ratio() const { return median(ratios); }
  bool failed() const {
    return !ours.has_times() || (versus && !theirs.has_times()) || std::any_of(ways.begin(), ways.end(), [](const Way& w) { return !w.series.has_times(); });
  }
  // Null without ways, or if none has times.
  const Way* best_way() const { return ways.empty() || !ways.front().series.has_times() ? nullptr : &ways.front(); }
  // Time of the library's choice / time of the best; 0 if unknown.
  double regret() const { return best_way() != nullptr && ours.has_times() ? ours.avg_us() / best_way()->series.avg_us() : 0; }
};

struct Contestants {
  Job& job;
  Library& ours;
  Library* theirs;  // null: alone
  Library* separator;  // null: each its own
  std::size_t cache_bytes;
  double clock_us;  // to take off every time
  Library& separator_of(Library& measured) const { return separator != nullptr ? *separator : measured; }
};

// Collective; the same cell on all ranks. An error in the middle of a timed block ends the job.
Cell measure(const Contestants&, const Options&, Coll, Memory, std::uint64_t bytes);

}  // namespace bench
