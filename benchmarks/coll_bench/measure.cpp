#include "coll_bench/measure.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

namespace bench {

namespace {

constexpr std::size_t text_bytes = 240;

// The first rank's complaint, on every rank; empty if nobody complains.
std::string first_complaint(Job& job, const std::string& mine) {
  std::array<char, text_bytes> text{};
  mine.copy(text.data(), text.size() - 1);
  for (const auto& t : job.all(text))
    if (t[0] != 0) return t.data();
  return {};
}

// Two calls into wiped buffers, before anything is timed. Errors are results too: a refused call
// (an algorithm that does not exist, say) is refused on every rank.
void try_out(const Contestants& c, const Shape& shape, Feeder& feeder, Library& library, bool check,
             Series& series) {
  std::string complaint;
  bool correct = true;
  for (int i = 0; i < 2 && complaint.empty(); ++i) {
    Loop loop{feeder, c.separator, 0, 1, true, {}};
    try {
      library.run(shape, loop);
      correct = correct && (!check || feeder.is_right());
    } catch (const std::exception& e) {
      complaint = e.what();
    }
    complaint = first_complaint(c.job, complaint);
  }
  series.error = complaint;
  series.correct = c.job.everybody(correct);
}

double percentile(std::vector<float>& sorted, double p) {
  return sorted[std::min(sorted.size() - 1,
                         static_cast<std::size_t>(p * static_cast<double>(sorted.size())))];
}

// One contestant's blocks of one cell.
class Runner {
 public:
  Runner(const Contestants& c, const Options& o, const Shape& s, Feeder& f, Library& l, Series& series)
      : c_(c), o_(o), shape_(s), feeder_(f), library_(l), series_(series) {
    try_out(c, s, f, l, o.check, series);
  }

  void block() {
    if (!usable()) return;
    Loop loop{feeder_, c_.separator, o_.warmup_for(shape_.bytes), o_.iterations_for(shape_.bytes), false, {}};
    feeder_.wipe();
    try {
      library_.run(shape_, loop);
    } catch (const std::exception& e) {
      fmt::print(stderr, "coll-bench: rank {}: {} of {} bytes: {}\n", c_.job.rank(),
                 info_of(shape_.coll).name, shape_.bytes, e.what());
      c_.job.abort();
    }
    if (o_.check && !c_.job.everybody(feeder_.is_right())) {
      series_.correct = false;
      return;
    }
    add(loop.us);
  }
  bool usable() const { return series_.correct && series_.error.empty(); }

  void finish() {
    if (pooled_.empty() || !usable()) return;
    std::sort(pooled_.begin(), pooled_.end());
    series_.p50 = percentile(pooled_, 0.5);
    series_.p90 = percentile(pooled_, 0.9);
    series_.p99 = percentile(pooled_, 0.99);
  }

 private:
  void add(const std::vector<float>& us) {
    const double mean = std::accumulate(us.begin(), us.end(), 0.0) / static_cast<double>(us.size());
    const std::vector<double> means = c_.job.all(mean);
    series_.avg.push_back(std::accumulate(means.begin(), means.end(), 0.0) /
                          static_cast<double>(means.size()));
    series_.min.push_back(*std::min_element(means.begin(), means.end()));
    series_.max.push_back(*std::max_element(means.begin(), means.end()));
    if (!o_.full && o_.json.empty()) return;
    const std::size_t before = pooled_.size();
    pooled_.resize(before + us.size() * static_cast<std::size_t>(c_.job.size()));
    c_.job.allgather(us.data(), pooled_.data() + before, us.size() * sizeof(float));
  }

  const Contestants& c_;
  const Options& o_;
  const Shape& shape_;
  Feeder& feeder_;
  Library& library_;
  Series& series_;
  std::vector<float> pooled_;
};

}  // namespace

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
