#include "coll_bench/machine.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <numeric>

#include "coll_bench/mpi_side.hpp"
#include "libcoll/libcoll.h"

namespace bench {

namespace {

using Clock = std::chrono::steady_clock;

double ns_since(Clock::time_point t) {
  return std::chrono::duration<double, std::nano>(Clock::now() - t).count();
}

std::string cpu_model() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string text; std::getline(in, text);) {
    if (!text.starts_with("model name") && !text.starts_with("Model\t")) continue;
    const std::size_t colon = text.find(": ");
    if (colon != std::string::npos) return text.substr(colon + 2);
  }
  return "unknown CPU";
}

double timer_cost_ns() {
  constexpr int batches = 20, readings = 1000;  // the fastest batch: others may have been interrupted
  double best = ns_since(Clock::now());
  for (int b = 0; b < batches; ++b) {
    const Clock::time_point start = Clock::now();
    for (int i = 0; i < readings; ++i) (void)Clock::now();
    best = std::min(best, ns_since(start) / readings);
  }
  return best;
}

std::string binding() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return "?";
  std::string text;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (!CPU_ISSET(i, &set)) continue;
    int last = i;
    while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &set)) ++last;
    if (!text.empty()) text += ',';
    text += last == i ? fmt::format("{}", i) : fmt::format("{}-{}", i, last);
    i = last;
  }
  return text;
}

// 0-3,8
std::string ranges(const std::vector<int>& ascending) {
  std::string text;
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    const std::size_t first = i;
    while (i + 1 < ascending.size() && ascending[i + 1] == ascending[i] + 1) ++i;
    text += fmt::format("{}{}", text.empty() ? "" : ",", ascending[first]);
    if (i > first) text += fmt::format("-{}", ascending[i]);
  }
  return text;
}

std::string host_text(const libcoll::Topology& topology) {
  constexpr std::size_t most = 8;
  std::string text;
  for (std::size_t h = 0; h < topology.hosts.size() && h < most; ++h)
    text += fmt::format("{}{}: {}", h == 0 ? "" : " | ", topology.hosts[h].name, ranges(topology.hosts[h].ranks));
  return topology.hosts.size() > most ? text + " | ..." : text;
}

// Two words on lines of their own, in memory that ranks 0 and 1 share without libcoll.
class SharedLines {
 public:
  struct Lines {
    alignas(128) std::atomic<std::uint32_t> ping;
    alignas(128) std::atomic<std::uint32_t> pong;
  };
  struct Address {
    int pid, fd;
  };

  Address create() {
    fd_ = memfd_create("coll-bench", MFD_CLOEXEC);
    if (fd_ >= 0 && ftruncate(fd_, sizeof(Lines)) == 0) map();
    return {getpid(), fd_};
  }
  void open(Address a) {
    if (a.fd < 0) return;
    fd_ = ::open(fmt::format("/proc/{}/fd/{}", a.pid, a.fd).c_str(), O_RDWR | O_CLOEXEC);
    if (fd_ >= 0) map();
  }
  ~SharedLines() {
    if (lines_ != nullptr) munmap(lines_, sizeof(Lines));
    if (fd_ >= 0) close(fd_);
  }
  Lines* get() const { return lines_; }

 private:
  void map() {
    void* p = mmap(nullptr, sizeof(Lines), PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    if (p != MAP_FAILED) lines_ = static_cast<Lines*>(p);
  }
  int fd_ = -1;
  Lines* lines_ = nullptr;
};

// False if the other side is not running (one CPU for two ranks) or was too slow.
bool wait_for(const std::atomic<std::uint32_t>& word, std::uint32_t value, Clock::time_point limit) {
  for (std::uint64_t i = 1; word.load(std::memory_order_acquire) != value; ++i)
    if (i % 4096 == 0 && Clock::now() > limit) return false;
  return true;
}

// Fastest of several batches: what the machine can do, not what disturbed it.
double ping_pong_ns(SharedLines::Lines& lines, bool first) {
  constexpr std::uint32_t batches = 20, rounds = 1000;
  const Clock::time_point limit = Clock::now() + std::chrono::milliseconds(500);
  double best = -1;
  std::uint32_t value = 0;
  for (std::uint32_t b = 0; b < batches; ++b) {
    const Clock::time_point start = Clock::now();
    for (std::uint32_t i = 0; i < rounds; ++i) {
      ++value;
      if (first) lines.ping.store(value, std::memory_order_release);
      if (!wait_for(first ? lines.pong : lines.ping, value, limit)) return best;
      if (!first) lines.pong.store(value, std::memory_order_release);
    }
    const double one_way = ns_since(start) / (2.0 * rounds);
    if (best < 0 || one_way < best) best = one_way;
  }
  return best;
}

}  // namespace

double line_transfer_ns(Job& job) {
  SharedLines lines;
  SharedLines::Address address{-1, -1};
  if (job.is_first()) address = lines.create();
  address = job.all(address)[0];
  if (job.rank() == 1 && job.comm().topology().host_count() == 1) lines.open(address);
  const bool plays = job.rank() <= 1;
  const bool ready = job.everybody(!plays || lines.get() != nullptr);
  double mine = -1;
  if (ready && plays && job.size() > 1) mine = ping_pong_ns(*lines.get(), job.is_first());
  return job.all(mine)[0];  // the others wait here, and may be in the way
}

Machine examine(Job& job, bool with_mpi) {
  Machine m;
  const libcoll::Topology& topology = job.comm().topology();
  m.ranks = job.size();
  m.hosts = topology.host_count();
  m.oversubscribed = std::any_of(topology.hosts.begin(), topology.hosts.end(),
                                 [](const auto& h) { return h.oversubscribed; });
  m.cpu = cpu_model();
  std::array<char, 64> mine{};
  binding().copy(mine.data(), mine.size() - 1);
  const auto bindings = job.all(mine);
  for (std::size_t r = 0; r < bindings.size() && r < 8; ++r)
    m.bindings += fmt::format("{}{}", r == 0 ? "" : " | ", bindings[r].data());
  if (bindings.size() > 8) m.bindings += " | ...";
  const std::vector<double> costs = job.all(timer_cost_ns());
  m.timer_ns = std::accumulate(costs.begin(), costs.end(), 0.0) / static_cast<double>(costs.size());
  m.line_ns = line_transfer_ns(job);
  m.host_names = host_text(topology);
  m.progress_thread = libcoll::Config::from_environment().progress_thread;
  if (with_mpi) m.mpi_waiting = mpi::waiting();
  m.libcoll_says = job.comm().describe();
  // Hosts may be containers of one machine: libcoll knows.
  m.oversubscribed = m.oversubscribed || m.libcoll_says.find("more ranks than CPUs") != std::string::npos;
  m.libcoll_version = libcoll_version();
  if (with_mpi) m.mpi_version = mpi::version();
  return m;
}

std::size_t last_cache_bytes(Job& job) {
  const long l3 = sysconf(_SC_LEVEL3_CACHE_SIZE), l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
  const long mine = std::clamp(l3 > 0 ? l3 : l2 > 0 ? l2 : 32L << 20, 1L << 20, 512L << 20);
  return static_cast<std::size_t>(job.all(mine)[0]);
}

}  // namespace bench
