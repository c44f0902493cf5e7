#include "libcoll/planning/measure.hpp"

#include <sched.h>

#include <algorithm>
#include <chrono>

#include "libcoll/kernels/reduce.hpp"

namespace libcoll::planning {

namespace {

using Clock = std::chrono::steady_clock;
using xport::MessageKey;
using xport::Transfer;

constexpr int small_bounces = 12, large_bounces = 12, exchanges = 7;
constexpr std::size_t large_bytes = std::size_t{256} << 10;
constexpr auto patience = std::chrono::seconds(10);

double us_since(Clock::time_point t) { return std::chrono::duration<double, std::micro>(Clock::now() - t).count(); }

double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

class Bouncer {
 public:
  Bouncer(xport::Messenger& m, int partner, bool first, std::uint64_t communicator)
      : m_(m), partner_(partner), first_(first), key_{communicator, ~std::uint32_t{0}, 0}, out_(large_bytes), in_(large_bytes) {}

  // There and back, one after the other or both at once; median. Negative if it failed.
  double rounds(std::size_t bytes, int times, bool at_once) {
    std::vector<double> each;
    for (int i = 0; i < times; ++i) {
      const Clock::time_point start = Clock::now();
      Transfer s, r;
      const MessageKey key = next();
      m_.recv(partner_, key, in_.data(), bytes, r);
      if (first_ || at_once) m_.send(partner_, key, out_.data(), bytes, s);
      if (!wait(r)) return -1;
      if (!first_ && !at_once) m_.send(partner_, key, out_.data(), bytes, s);
      if (!wait(s)) return -1;
      each.push_back(us_since(start));
    }
    // The first made the connection, and those after it opened its window.
    each.erase(each.begin(), each.begin() + times / 3);
    return median(each);
  }

  // What a second message at once costs: half the time of eight, beyond that of one.
  double burst(double alpha_us) {
    constexpr int burst_size = 8;
    std::vector<double> each;
    for (int i = 0; i < small_bounces / 2; ++i) {
      Transfer s[burst_size], r[burst_size];
      const Clock::time_point start = Clock::now();
      for (int k = 0; k < burst_size; ++k) {
        const MessageKey key = next();
        m_.recv(partner_, key, in_.data() + 64 * k, 8, r[k]);
        m_.send(partner_, key, out_.data() + 64 * k, 8, s[k]);
      }
      for (int k = 0; k < burst_size; ++k)
        if (!wait(r[k]) || !wait(s[k])) return 0;
      each.push_back(std::max(0.0, us_since(start) - alpha_us) / burst_size);
    }
    return median(each);
  }

 private:
  MessageKey next() {
    ++key_.message;
    return key_;
  }
  bool wait(Transfer& t) {
    const Clock::time_point start = Clock::now();
    for (int i = 0; !t.finished(); ++i) {
      if (!m_.progress() && i % 64 == 0) sched_yield();
      if (i % 1024 == 1023 && Clock::now() - start > patience) m_.cancel(t);
    }
    return t.state.load() == Transfer::State::done;
  }

  xport::Messenger& m_;
  const int partner_;
  const bool first_;
  MessageKey key_;
  std::vector<std::byte> out_, in_;
};

// Bytes of an operand per nanosecond, of two that were just received or written; the fastest of a few.
double reduction_gbps(std::size_t bytes) {
  constexpr int times = 4;
  const std::size_t count = bytes / sizeof(float);
  const std::vector<float> a(count, 1), b(count, 1);
  std::vector<float> sum(count);
  const void* srcs[] = {a.data(), b.data()};
  void* dsts[] = {sum.data()};
  const kernels::ReduceFn reduce = kernels::find_reduce(DType::f32, Op::sum);
  double best_us = 1e9;
  for (int i = 0; i < times; ++i) {
    const Clock::time_point start = Clock::now();
    reduce({dsts, 1, srcs, 2, count, 2, false});
    best_us = std::min(best_us, us_since(start));
  }
  return static_cast<double>(bytes) / 1e3 / std::max(best_us, 0.1);
}

}  // namespace

NetworkCosts measure_network(xport::Messenger& messenger, const std::vector<int>& domain_of, int rank, std::uint64_t communicator, const std::function<void()>& barrier) {
  std::vector<int> firsts;  // of each domain: domains are numbered by their lowest ranks
  for (std::size_t r = 0; r < domain_of.size(); ++r)
    if (domain_of[r] == static_cast<int>(firsts.size())) firsts.push_back(static_cast<int>(r));
  NetworkCosts c;
  barrier();
  const auto at = std::find(firsts.begin(), firsts.end(), rank);
  const auto partner = static_cast<std::size_t>(at - firsts.begin()) ^ 1;
  if (at != firsts.end() && partner < firsts.size()) {
    Bouncer b(messenger, firsts[partner], rank < firsts[partner], communicator);
    const double small = b.rounds(8, small_bounces, false) / 2, large = small < 0 ? -1 : b.rounds(large_bytes, large_bounces, false) / 2;
    const double both = large < 0 ? -1 : b.rounds(large_bytes, exchanges, true);
    if (both >= 0) {
      c.alpha_us = small;
      c.gbps = static_cast<double>(large_bytes) / 1e3 / std::max(large - small, 1.0);
      // One way alone can't be slower.
      c.both_gbps = std::min(c.gbps, static_cast<double>(large_bytes) / 1e3 / std::max(both - small, 1.0));
      c.send_us = b.burst(small);
      c.reduce_gbps = reduction_gbps(large_bytes);
      c.reduce_large_gbps = std::min(c.reduce_gbps, reduction_gbps(4 * large_bytes));
      c.measured = true;
    }
  }
  barrier();
  return c;
}

NetworkCosts agree(std::vector<NetworkCosts> all) {
  std::erase_if(all, [](const NetworkCosts& c) { return !c.measured; });
  NetworkCosts agreed;
  if (all.empty()) return agreed;
  for (double NetworkCosts::* field : {&NetworkCosts::alpha_us, &NetworkCosts::gbps, &NetworkCosts::both_gbps, &NetworkCosts::send_us, &NetworkCosts::reduce_gbps, &NetworkCosts::reduce_large_gbps}) {
    std::vector<double> v;
    for (const NetworkCosts& c : all) v.push_back(c.*field);
    agreed.*field = median(std::move(v));
  }
  agreed.measured = true;
  return agreed;
}

Costs costs_from(const xport::shm::Costs& shm, const NetworkCosts& network, double ranks_per_cpu) {
  Costs c;
  c.ranks_per_cpu = ranks_per_cpu;
  // A round of context switches where ranks take turns on a CPU (DESIGN section 4: 4 ranks on 2 cores 3.5 us), and
  // caches that others used meanwhile.
  c.hop_us = c.crowded() ? 1.5 : shm.line_ns / 1e3 + 0.05;
  c.copy_gbps = shm.copy_gbps;
  c.staged_gbps = shm.staged_gbps;
  c.reduce_gbps = shm.copy_gbps;
  c.reduce_large_gbps = std::min(shm.copy_gbps, c.reduce_large_gbps);
  c.measured = shm.measured;
  if (network.measured) {
    c.alpha_us = network.alpha_us;
    c.network_gbps = network.gbps;
    c.both_gbps = network.both_gbps;
    c.send_us = network.send_us;
    c.reduce_gbps = network.reduce_gbps;
    c.reduce_large_gbps = network.reduce_large_gbps;
    c.measured = true;
  }
  return c;
}

}  // namespace libcoll::planning
