// The ranks of one world on one host: their heap, whether they live, and what their links cost.
// Shared by all communicators of the world; thread-safe after creation.
#pragma once

#include <sys/types.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <atomic>
#include <memory>
#include <vector>

#include "libcoll/config.hpp"
#include "transports/shm/heap.hpp"

namespace libcoll::xport::shm {

// Measured at creation and agreed: the same numbers on every rank.
struct Costs {
  double line_ns = 100;          // one-way transfer of a cache line between two ranks
  double copy_gbps = 8;          // reading memory that another rank has just written
  double staged_gbps = 6;        // staging and reading staged data, by whichever kind of stores is cheaper
  double remote_call_ns = 1000;  // process_vm_readv, fixed part
  double remote_gbps = 6;        // process_vm_readv, per byte
  // Whether staging with non-temporal stores is cheaper, the readers' side included (1 or 0).
  double streamed_staging = 0;
  bool measured = false;
};

struct HostOptions {
  Config config;
  std::size_t cache_bytes = std::size_t{1} << 20;  // of one core's own cache
  int cpus = 0;                  // usable CPUs of all local ranks together; 0: unknown
  bool crowded = false;          // other ranks run on them, too
};

// Staging memory of one rank, shared by its communicators: one of them holds the lease at a time.
// Large, and used round robin: when a line is written again its readers' caches have long dropped
// it. Taking a line back from a reader costs 7 ns near and 28 ns far; writing one that nobody
// holds costs 1.5 ns (AMD EPYC 9004, 2026-11, docs/performance.md).
struct Staging {
  std::mutex mutex;
  std::uint64_t offset = 0;      // in the heap; 0: not allocated yet
  std::size_t bytes = 0;
  class Group* owner = nullptr;
  bool in_use = false;           // the owner is inside an operation that uses it

  std::size_t allocated_bytes() {
    const std::lock_guard lock(mutex);
    return offset == 0 ? 0 : bytes;
  }
};

class Host {
 public:
  // Collective over the ranks of one host; fails on all or on none.
  static detail::Result<std::unique_ptr<Host>> create(Bootstrap&, const HostOptions&);
  ~Host();

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(peers_.size()); }
  Heap& heap() { return *heap_; }
  pid_t pid(int local) const { return peers_[static_cast<std::size_t>(local)].pid; }
  bool same_process(int local) const { return peers_[static_cast<std::size_t>(local)].same_process; }
  bool single_copy() const { return single_copy_; }
  bool forced_single_copy() const { return options_.config.single_copy == "on"; }
  bool oversubscribed() const { return oversubscribed_; }
  // Where ranks take turns on CPUs a few yields let all of them run once; more of them change nothing when
  // the scheduler does not let one task group yield to another (containers, autogroups): then sleep.
  int most_yields() const { return oversubscribed_ ? most_yields_ : 1 << 20; }
  bool asymmetric_fence() const { return asymmetric_fence_; }
  const Costs& costs() const { return costs_; }
  void set_costs(const Costs& c) { costs_ = c; }
  std::size_t cache_bytes() const { return options_.cache_bytes; }
  const Config& config() const { return options_.config; }
  bool lost(int local) const;  // whether that process is known to be dead

  Staging& staging() { return staging_; }

  // See Comm::set_progress_hook.
  struct Hook { void (*function)(void*) = nullptr; void* context = nullptr; };
  Hook hook;
  // What else this process has to move on while it waits in here (exec::Engine).
  void set_background(Hook h) { background_ = h; }
  void set_background_active(bool active) { background_active_.store(active, std::memory_order_relaxed); }
  bool run_background() const {
    if (!background_active_.load(std::memory_order_relaxed)) return false;
    background_.function(background_.context);
    return true;
  }

 private:
  struct Peer { pid_t pid = 0; bool same_process = false; int pidfd = -1; };
  Host() = default;
  void open_pidfds();

  int rank_ = 0;
  HostOptions options_;
  std::unique_ptr<Heap> heap_;
  std::vector<Peer> peers_;
  int most_yields_ = 8;
  bool single_copy_ = false, oversubscribed_ = false, asymmetric_fence_ = false;
  Hook background_;
  std::atomic<bool> background_active_{false};
  Costs costs_;
  Staging staging_;
};

inline void pause() {  // of the CPU, between two polls
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Reads `bytes` at `address` of another process. False with errno if it cannot.
bool read_remote(pid_t pid, void* to, std::uint64_t address, std::size_t bytes);

}  // namespace libcoll::xport::shm
