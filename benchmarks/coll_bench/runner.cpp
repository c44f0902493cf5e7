#include "coll_bench/runner.hpp"

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

double percentile(std::vector<float>& sorted, double p) {
  return sorted[std::min(sorted.size() - 1,
                         static_cast<std::size_t>(p * static_cast<double>(sorted.size())))];
}

double mean_of(const std::vector<double>& v) { return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size()); }

std::vector<double> means_of_ranks(Job& job, const std::vector<float>& mine) {
  return job.all(std::accumulate(mine.begin(), mine.end(), 0.0) / static_cast<double>(mine.size()));
}

}  // namespace

double mean_over_ranks(Job& job, const std::vector<float>& mine) { return mean_of(means_of_ranks(job, mine)); }

void give_up(Job& job, const Shape& shape, const std::exception& e) {
  fmt::print(stderr, "coll-bench: rank {}: {} of {} bytes: {}\n", job.rank(), info_of(shape.coll).name, shape.bytes, e.what());
  job.abort();
}

Runner::Runner(const Contestants& c, const Options& o, const Shape& s, Feeder& f, Library& l, Series& series)
    : c_(c), o_(o), shape_(s), feeder_(f), library_(l), series_(series) {
  try_out();
}

void Runner::try_out() {
  std::string complaint;
  bool correct = true;
  for (int i = 0; i < 2 && complaint.empty(); ++i) {
    Loop loop{feeder_, c_.separator_of(library_), 0, 1, true, {}};
    try {
      library_.run(shape_, loop);
      correct = correct && (!o_.check || feeder_.is_right());
    } catch (const std::exception& e) {
      complaint = e.what();
    }
    complaint = first_complaint(c_.job, complaint);
  }
  series_.error = complaint;
  series_.correct = c_.job.everybody(correct);
}

void Runner::block() {
  if (!usable()) return;
  Loop loop{feeder_, c_.separator_of(library_), o_.warmup_for(shape_.bytes), o_.iterations_for(shape_.bytes), false, {}};
  feeder_.wipe();
  try {
    library_.run(shape_, loop);
  } catch (const std::exception& e) {
    give_up(c_.job, shape_, e);
  }
  if (o_.check && !c_.job.everybody(feeder_.is_right())) {
    series_.correct = false;
    return;
  }
  for (float& us : loop.us) us = std::max(us - static_cast<float>(c_.clock_us), 0.0F);
  add(loop.us);
}

void Runner::finish() {
  if (pooled_.empty() || !usable()) return;
  std::sort(pooled_.begin(), pooled_.end());
  series_.p50 = percentile(pooled_, 0.5);
  series_.p90 = percentile(pooled_, 0.9);
  series_.p99 = percentile(pooled_, 0.99);
}

void Runner::add(const std::vector<float>& us) {
  const std::vector<double> means = means_of_ranks(c_.job, us);
  series_.avg.push_back(mean_of(means));
  series_.min.push_back(*std::min_element(means.begin(), means.end()));
  series_.max.push_back(*std::max_element(means.begin(), means.end()));
  if (!o_.full && o_.json.empty()) return;
  const std::size_t before = pooled_.size();
  pooled_.resize(before + us.size() * static_cast<std::size_t>(c_.job.size()));
  c_.job.allgather(us.data(), pooled_.data() + before, us.size() * sizeof(float));
}

}  // namespace bench
