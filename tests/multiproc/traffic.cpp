#include "tests/multiproc/traffic.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <limits>

namespace libcoll::test {

namespace {

using Call = std::function<void()>;
constexpr std::int64_t any = std::numeric_limits<std::int64_t>::max();

// Of the ranks of one host, or of all.
struct Sum {
  std::int64_t messages_sent = 0, bytes_sent = 0, messages_received = 0, bytes_received = 0;
};

Sum operator+(const Sum& a, const Sum& b) {
  return {a.messages_sent + b.messages_sent, a.bytes_sent + b.bytes_sent, a.messages_received + b.messages_received, a.bytes_received + b.bytes_received};
}

class Counting {
 public:
  Counting(Comm& c, std::string* report) : c_(c), report_(report) {
    Comm host = c.split(Level::host);
    const int first = host.allreduce(c.rank(), Op::min);
    host.close();
    std::vector<int> firsts(static_cast<std::size_t>(c.size()));
    c.allgather<int>(std::vector<int>{first}, firsts);
    std::vector<int> hosts = firsts;
    std::sort(hosts.begin(), hosts.end());
    hosts.erase(std::unique(hosts.begin(), hosts.end()), hosts.end());
    ranks_.resize(hosts.size());
    for (const int f : firsts) {
      host_of_.push_back(static_cast<int>(std::find(hosts.begin(), hosts.end(), f) - hosts.begin()));
      ++ranks_[static_cast<std::size_t>(host_of_.back())];
    }
    const std::size_t counted = c.network_traffic().size();
    if (counted != ranks_.size()) lines_.push_back(fmt::format("network_traffic tells of {} hosts; there are {}", counted, ranks_.size()));
  }

  std::int64_t hosts() const { return static_cast<std::int64_t>(ranks_.size()); }
  std::int64_t ranks(std::size_t host) const { return ranks_[host]; }
  std::size_t host_of(int rank) const { return static_cast<std::size_t>(host_of_[static_cast<std::size_t>(rank)]); }

  // Runs the call and gathers what it moved: snapshots come first, since gathering them sends messages too.
  void run(std::string what, const Call& call) {
    what_ = std::move(what);
    const Sum before = mine();
    call();
    const Sum after = mine();  // complete: the call has ended, and this rank's counters are its own
    const std::array<std::int64_t, 4> moved{after.messages_sent - before.messages_sent, after.bytes_sent - before.bytes_sent,
                                            after.messages_received - before.messages_received, after.bytes_received - before.bytes_received};
    std::vector<std::int64_t> everyone(4 * host_of_.size());
    c_.allgather<std::int64_t>(moved, everyone);
    by_host_.assign(ranks_.size(), {});
    all_ = {};
    for (std::size_t r = 0; r < host_of_.size(); ++r) {
      const Sum one{everyone[4 * r], everyone[4 * r + 1], everyone[4 * r + 2], everyone[4 * r + 3]};
      Sum& host = by_host_[static_cast<std::size_t>(host_of_[r])];
      host = host + one;
      all_ = all_ + one;
    }
    if (all_.messages_sent != all_.messages_received || all_.bytes_sent != all_.bytes_received)
      lines_.push_back(fmt::format("{}: {} messages ({} B) were sent and {} ({} B) received", what_, all_.messages_sent, all_.bytes_sent, all_.messages_received, all_.bytes_received));
    if (report_ == nullptr) return;
    *report_ += fmt::format("{}: {} messages, {} B;", what_, all_.messages_sent, all_.bytes_sent);
    for (const Sum& h : by_host_) *report_ += fmt::format(" {}/{}", h.bytes_sent, h.bytes_received);
    *report_ += '\n';
  }

  void messages(std::int64_t least, std::int64_t most) { within("messages in all", all_.messages_sent, least, most); }
  void bytes(std::int64_t least, std::int64_t most) { within("bytes in all", all_.bytes_sent, least, most); }
  void into(std::size_t host, std::int64_t least, std::int64_t most) {
    within(fmt::format("bytes into host {}", host), by_host_[host].bytes_received, least, most);
  }
  void out_of(std::size_t host, std::int64_t most) { within(fmt::format("bytes out of host {}", host), by_host_[host].bytes_sent, 0, most); }

 private:
  Sum mine() const {
    Sum sum;
    const std::vector<HostTraffic> hosts = c_.network_traffic();
    for (std::size_t k = 0; k < hosts.size(); ++k) {
      const HostTraffic& h = hosts[k];
      if (k == host_of(c_.rank())) continue;  // messages within a host cross nothing
      sum = sum + Sum{static_cast<std::int64_t>(h.messages_sent), static_cast<std::int64_t>(h.bytes_sent), static_cast<std::int64_t>(h.messages_received),
                      static_cast<std::int64_t>(h.bytes_received)};
    }
    return sum;
  }
  void within(const std::string& count, std::int64_t is, std::int64_t least, std::int64_t most) {
    if (is >= least && is <= most) return;
    lines_.push_back(fmt::format("{}: {} {}; the bounds are {} and {}", what_, is, count, least, most == any ? "none" : std::to_string(most)));
  }

  Comm& c_;
  std::string* report_;
  std::string what_;
  std::vector<int> host_of_;
  std::vector<std::int64_t> ranks_;
  std::vector<Sum> by_host_;
  Sum all_;

 public:
  std::vector<std::string> lines_;
};

// allreduce and barrier are the library's own choice. Elsewhere the cost model may prefer more messages that go out at
// once (a flat bcast of few ranks, say): there the recipe whose bound docs/algorithms.md states is named.
struct Named {
  explicit Named(const Comm& c) : by_host(c.topology().host_count() < c.size()) {}
  const bool by_host;  // there is no level of hosts where each has one rank
  CallOptions tree{.algorithm = by_host ? "host/k_nomial" : "k_nomial"}, gathering{.algorithm = by_host ? "host/bruck" : "bruck"},
      exchange{.algorithm = by_host ? "host/pairwise" : "pairwise"};
};

// 8 bytes and less: the number of messages is the cost.
void check_small(Comm& c, Counting& n) {
  const Named by(c);
  const std::int64_t H = n.hosts(), log = std::bit_width(static_cast<std::uint64_t>(H - 1));
  const bool power = std::has_single_bit(static_cast<std::uint64_t>(H));
  double x = 1, y = 0;
  n.run("allreduce of 8 B", [&] { c.allreduce(&x, &y, 1, DType::f64, Op::sum); });
  n.messages(power ? H * log : 2 * (H - 1), power ? H * log : H * (log + 2));
  n.run("barrier", [&] { c.barrier(); });
  n.messages(H * log, H * log);
  n.bytes(0, 0);
  for (const int root : {0, c.size() - 1}) {
    n.run(fmt::format("bcast of 8 B from {}", root), [&] { c.bcast(&x, 1, DType::f64, root, by.tree); });
    n.messages(H - 1, H - 1);
    n.bytes(8 * (H - 1), 8 * (H - 1));
    n.run(fmt::format("reduce of 8 B to {}", root), [&] { c.reduce(&x, &y, 1, DType::f64, Op::sum, root, by.tree); });
    n.messages(H - 1, H - 1);
    n.bytes(8 * (H - 1), 8 * (H - 1));
  }
  const auto p = static_cast<std::size_t>(c.size());
  std::vector<double> a(p, 1), b(p);
  n.run("allgather of 8 B", [&] { c.allgather(a.data(), b.data(), 1, DType::f64, by.gathering); });
  n.messages(H - 1, H * log);
  n.run("alltoall of 8 B", [&] { c.alltoall(a.data(), b.data(), 1, DType::f64, by.exchange); });
  n.messages(H * (H - 1), H * (H - 1));
}

// Large: bytes are. `count` divides by all numbers of hosts and ranks in use, so that nothing is rounded.
void check_large(Comm& c, Counting& n) {
  const Named by(c);
  const std::int64_t H = n.hosts(), p = c.size(), count = 30240 * 4, m = count * 8;
  std::vector<double> a(static_cast<std::size_t>(count), 1), b(a.size());
  n.run(fmt::format("allreduce of {} B", m), [&] { c.allreduce(a.data(), b.data(), count, DType::f64, Op::sum); });
  for (std::size_t h = 0; h < static_cast<std::size_t>(H); ++h) {
    const std::int64_t most = 21 * 2 * (H - 1) * m / H / 20;
    n.into(h, 0, most);
    n.out_of(h, most);
  }
  for (const int root : {0, c.size() - 1}) {
    n.run(fmt::format("bcast of {} B from {}", m, root), [&] { c.bcast(a.data(), count, DType::f64, root, by.tree); });
    for (std::size_t h = 0; h < static_cast<std::size_t>(H); ++h)
      if (h != n.host_of(root)) n.into(h, m, m);
  }
  const std::int64_t block = 4096, block_bytes = block * 8;
  std::vector<double> blocks(static_cast<std::size_t>(block * p), 1), all(blocks.size());
  n.run(fmt::format("allgather of {} B", block_bytes), [&] { c.allgather(blocks.data(), all.data(), block, DType::f64, by.gathering); });
  for (std::size_t h = 0; h < static_cast<std::size_t>(H); ++h) n.into(h, (p - n.ranks(h)) * block_bytes, (p - n.ranks(h)) * block_bytes);
  n.run(fmt::format("alltoall of {} B", block_bytes), [&] { c.alltoall(blocks.data(), all.data(), block, DType::f64, by.exchange); });
  for (std::size_t h = 0; h < static_cast<std::size_t>(H); ++h) {
    const std::int64_t foreign = n.ranks(h) * (p - n.ranks(h)) * block_bytes;
    n.into(h, foreign, foreign);
  }
}

}  // namespace

std::vector<std::string> check_traffic(Comm& world, std::string* report) {
  Counting n(world, report);
  check_small(world, n);
  check_large(world, n);
  return n.lines_;
}

}  // namespace libcoll::test
