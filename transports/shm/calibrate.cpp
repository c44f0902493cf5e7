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
  Calibration(Group& g, const Allgather& allgather) : g_(g), allgather_(allgather), partner_(g.rank() ^ 1), paired_(partner_ < g.size()), bytes_(g.shape().eager_bytes) {
    private_.resize(2 * bytes_, std::byte{1});
  }

  Costs run() {
    std::vector<std::uint64_t> addresses(static_cast<std::size_t>(g_.size()));
    const auto mine = reinterpret_cast<std::uint64_t>(private_.data());
    allgather_(&mine, addresses.data(), sizeof mine);
    Costs c = g_.costs();
    if (!g_.oversubscribed()) c.line_ns = line_transfer();
    c.copy_gbps = static_cast<double>(bytes_) / timed([&] { kernels::copy(local(), g_.peer(partner_).eager, bytes_); });
    c.stream_from = stream_threshold();
    c.staged_gbps = static_cast<double>(bytes_) / std::min(staged(bytes_, &kernels::copy), staged(bytes_, &kernels::copy_streaming));
    if (g_.host().single_copy() && !(paired_ && g_.peer(partner_).same_process)) {
      const std::uint64_t at = paired_ ? addresses[static_cast<std::size_t>(partner_)] : 0;
      const pid_t pid = paired_ ? g_.peer(partner_).pid : 0;
      c.remote_call_ns = timed([&] { read_remote(pid, local(), at, 64); });
      const double all = timed([&] { read_remote(pid, local(), at, bytes_); });
      c.remote_gbps = static_cast<double>(bytes_) / std::max(all - c.remote_call_ns, 1.0);
    }
    return c;
  }

 private:
  std::byte* local() { return private_.data() + bytes_; }

  // Median time of `work` on memory that the partner has just written; all ranks take part.
  template <class Work>
  double timed(Work work) {
    std::vector<double> times;
    for (int i = 0; i < repetitions; ++i) {
      std::fill_n(g_.mine().eager, bytes_, static_cast<std::byte>(i));
      std::fill_n(private_.data(), bytes_, static_cast<std::byte>(i));
      barrier();
      const Clock::time_point t = Clock::now();
      if (paired_) work();
      times.push_back(std::max(nanoseconds_since(t), 1.0));
      barrier();
    }
    return median(times);
  }

  // Smallest power of two from which streaming stores win, the partner's read included.
  double stream_threshold() {
    std::size_t n = bytes_;
    for (; n >= 1024 && staged(n, &kernels::copy_streaming) < staged(n, &kernels::copy); n /= 2) {
    }
    return static_cast<double>(n * 2);
  }

  // Median time to stage n bytes in lines that the partner has read, plus its time to read them.
  double staged(std::size_t n, void (*copy)(void*, const void*, std::size_t) noexcept) {
    std::vector<double> writes, reads;
    for (int i = 0; i < repetitions; ++i) {
      Clock::time_point t = Clock::now();
      copy(g_.mine().eager, local(), n);
      writes.push_back(nanoseconds_since(t));
      barrier();
      t = Clock::now();
      if (paired_) kernels::copy(private_.data(), g_.peer(partner_).eager, n);
      reads.push_back(nanoseconds_since(t));
      barrier();
    }
    const double mine = median(writes) + median(reads);
    // Both partners must take the same number of rounds.
    std::vector<double> all(static_cast<std::size_t>(g_.size()));
    allgather_(&mine, all.data(), sizeof mine);
    return median(all);
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
    return median(times);
  }

  void barrier() { barrier_flat(g_, {}, plan_); }

  Group& g_;
  const Allgather& allgather_;
  const int partner_;
  const bool paired_;
  const std::size_t bytes_;
  std::vector<std::byte> private_;
  const Plan plan_{.call = {.coll = detail::Coll::barrier}};
};

}  // namespace

Costs calibrate(Group& g, const std::function<void(const void*, void*, std::size_t)>& allgather) {
  const Costs mine = Calibration(g, allgather).run();
  std::vector<Costs> all(static_cast<std::size_t>(g.size()));
  allgather(&mine, all.data(), sizeof mine);
  if (all.size() > 2 && all.size() % 2 != 0) all.pop_back();  // it had no partner
  const auto agreed = [&](double Costs::* field) {
    std::vector<double> v;
    for (const Costs& c : all) v.push_back(c.*field);
    return median(v);
  };
  Costs c;
  for (double Costs::* field : {&Costs::line_ns, &Costs::copy_gbps, &Costs::staged_gbps, &Costs::remote_call_ns, &Costs::remote_gbps, &Costs::stream_from}) c.*field = agreed(field);
  c.measured = true;
  return c;
}

}  // namespace libcoll::xport::shm
