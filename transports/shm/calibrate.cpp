#include "transports/shm/calibrate.hpp"

#include <algorithm>
#include <chrono>
#include <vector>

#include "libcoll/kernels/copy.hpp"
#include "transports/shm/small.hpp"

namespace libcoll::xport::shm {

namespace {

using Clock = std::chrono::steady_clock;
constexpr int repetitions = 7;
constexpr int bounces = 100;

double nanoseconds_since(Clock::time_point t) { return std::chrono::duration<double, std::nano>(Clock::now() - t).count(); }

double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

class Calibration {
 public:
  using Allgather = std::function<void(const void*, void*, std::size_t)>;
  Calibration(Group& g, const Allgather& allgather) : g_(g), allgather_(allgather), partner_(g.rank() ^ 1), paired_(partner_ < g.size()), bytes_(32768), staging_bytes_(g.staging_bytes()) {
    private_.resize(2 * bytes_, std::byte{1});
  }

  Costs run() {
    std::vector<std::uint64_t> addresses(static_cast<std::size_t>(g_.size()));
    const auto mine = reinterpret_cast<std::uint64_t>(private_.data());
    allgather_(&mine, addresses.data(), sizeof mine);
    staging_.resize(addresses.size());
    const std::uint64_t own_staging = g_.host().heap().allocate(staging_bytes_);
    allgather_(&own_staging, staging_.data(), sizeof own_staging);
    if (std::find(staging_.begin(), staging_.end(), 0) != staging_.end()) {
      g_.host().heap().release(own_staging);
      return g_.costs();  // no room to measure in; assumed costs will do
    }
    Costs c = g_.costs();
    if (!g_.oversubscribed()) c.line_ns = line_transfer();
    c.copy_gbps = static_cast<double>(bytes_) / timed([&] { kernels::copy(local(), g_.peer(partner_).ring, bytes_); });
    const double cached = staged(&kernels::copy), streamed = staged(&kernels::copy_streaming);
    c.streamed_staging = streamed < cached ? 1 : 0;
    c.staged_gbps = static_cast<double>(bytes_) / std::min(cached, streamed);
    if (g_.host().single_copy() && !(paired_ && g_.peer(partner_).same_process)) {
      const std::uint64_t at = paired_ ? addresses[static_cast<std::size_t>(partner_)] : 0;
      const pid_t pid = paired_ ? g_.peer(partner_).pid : 0;
      c.remote_call_ns = timed([&] { read_remote(pid, local(), at, 64); });
      const double all = timed([&] { read_remote(pid, local(), at, bytes_); });
      c.remote_gbps = static_cast<double>(bytes_) / std::max(all - c.remote_call_ns, 1.0);
    }
    barrier();  // nobody reads there any more
    g_.host().heap().release(own_staging);
    return c;
  }

 private:
  std::byte* local() { return private_.data() + bytes_; }

  // Median time of `work` on memory that the partner has just written; all ranks take part.
  template <class Work>
  double timed(Work work) {
    std::vector<double> times;
    for (int i = 0; i < repetitions; ++i) {
      std::fill_n(g_.mine().ring, bytes_, static_cast<std::byte>(i));
      std::fill_n(private_.data(), bytes_, static_cast<std::byte>(i));
      barrier();
      const Clock::time_point t = Clock::now();
      if (paired_) work();
      times.push_back(std::max(nanoseconds_since(t), 1.0));
      barrier();
    }
    return median(times);
  }

  // Median time to stage a piece in lines that the partner has read a while ago, plus the time to read
  // it. Goes twice round memory of the size that operations stage in: first to get it there, then to
  // measure.
  double staged(void (*copy)(void*, const void*, std::size_t) noexcept) {
    std::vector<double> times;
    const std::size_t laps = staging_bytes_ / bytes_;
    for (std::size_t i = 0; i < 2 * laps; ++i) {
      const std::uint64_t at = i % laps * bytes_;
      std::fill_n(local(), bytes_, static_cast<std::byte>(i));
      Clock::time_point t = Clock::now();
      copy(g_.host().heap().at(staging_[static_cast<std::size_t>(g_.rank())] + at), local(), bytes_);
      const double write = nanoseconds_since(t);
      barrier();
      t = Clock::now();
      if (paired_) kernels::copy(private_.data(), g_.host().heap().at(staging_[static_cast<std::size_t>(partner_)] + at), bytes_);
      if (i >= laps) times.push_back(write + nanoseconds_since(t));
      barrier();
    }
    return median(times);
  }

  // Two ranks bounce a line between them.
  double line_transfer() {
    std::vector<double> times;
    std::uint64_t ball = 0;
    const auto word = [](std::byte* p) { return std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(p)); };
    const auto wait = [&](std::uint64_t value) {
      for (int i = 0; word(g_.peer(partner_).eager).load(std::memory_order_acquire) != value; ++i)
        if (i > 100000) sched_yield();
    };
    word(g_.mine().eager).store(0);
    barrier();
    for (int i = 0; i < repetitions; ++i) {
      const Clock::time_point t = Clock::now();
      for (int b = 0; paired_ && b < bounces; ++b) {
        ++ball;
        if (g_.rank() < partner_) {
          word(g_.mine().eager).store(ball, std::memory_order_release);
          wait(ball);
        } else {
          wait(ball);
          word(g_.mine().eager).store(ball, std::memory_order_release);
        }
      }
      times.push_back(nanoseconds_since(t) / (2 * bounces));
    }
    barrier();
    // The least: everything that disturbs a bounce makes it longer.
    return *std::min_element(times.begin(), times.end());
  }

  void barrier() { barrier_flat(g_, {}, plan_); }

  Group& g_;
  const Allgather& allgather_;
  const int partner_;
  const bool paired_;
  const std::size_t bytes_, staging_bytes_;
  std::vector<std::uint64_t> staging_;
  std::vector<std::byte> private_;
  const Plan plan_{.call = {.coll = detail::Coll::barrier}};
};

}  // namespace

Costs calibrate(Group& g, const std::function<void(const void*, void*, std::size_t)>& allgather) {
  Costs mine = Calibration(g, allgather).run();
  mine.measured = (g.rank() ^ 1) < g.size();  // the odd one out had no partner
  return mine;
}

Costs agree(std::vector<Costs> all) {
  std::erase_if(all, [](const Costs& c) { return !c.measured; });
  if (all.empty()) return {};
  const auto agreed = [&](double Costs::* field) {
    std::vector<double> v;
    for (const Costs& c : all) v.push_back(c.*field);
    return median(v);
  };
  Costs c;
  for (double Costs::* field : {&Costs::line_ns, &Costs::copy_gbps, &Costs::staged_gbps, &Costs::remote_call_ns, &Costs::remote_gbps, &Costs::streamed_staging}) c.*field = agreed(field);
  c.measured = true;
  return c;
}

}  // namespace libcoll::xport::shm
