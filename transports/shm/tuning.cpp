#include "transports/shm/tuning.hpp"

#include <algorithm>
#include <cmath>

namespace libcoll::xport::shm {

namespace {
constexpr std::size_t never = ~std::size_t{0};

std::size_t remote_threshold(const Costs& c) {
  // A system call in place of staging; the kernel's copy in place of ours.
  const double gain_ns_per_byte = 1 / c.staged_gbps - 1 / c.remote_gbps;
  if (gain_ns_per_byte <= 0) return never;
  // Two calls for each half of the vector (an allreduce), and twice to be sure.
  return static_cast<std::size_t>(std::clamp(4 * c.remote_call_ns / gain_ns_per_byte, 32768.0, 4e6));
}
}  // namespace

SingleCopy single_copy_thresholds(const Costs& c, bool oversubscribed, std::size_t staged_whole) {
  const std::size_t usual = remote_threshold(c);
  if (!oversubscribed) return {usual, usual, usual, usual};
  // A calibration of two ranks says little here. 3 to 8 ranks on 2 CPUs, on against off: what several read or combine took 1.1 to
  // 5 times as long with single copy (128 KiB to 16 MiB; who lends waits for the readers), a scatter's blocks 0.1 to 0.8 of the
  // time from 64 KiB of the root's vector on, an alltoall's about 0.7 to 1 from where they are cut into pieces.
  const bool usable = 2 * c.remote_gbps > c.staged_gbps;
  return {usual, usable ? std::size_t{65536} : never, usable ? staged_whole + 1 : never, never};
}

std::size_t direct_threshold(const Costs& c, int ranks, bool oversubscribed) {
  // Slices save (ranks - 1)(1 - 2/ranks) reads of the vector and cost one more hop. Where ranks
  // outnumber CPUs a hop is a round of context switches (2 us and more).
  const double hop_ns = oversubscribed ? 2000.0 * ranks : c.line_ns + 100;
  const double extra_reads = std::max((ranks - 1) * (1 - 2.0 / ranks), 0.25);
  return static_cast<std::size_t>(std::clamp(hop_ns * c.copy_gbps / extra_reads, 1024.0, 1e6));
}

int spins_for(const Host& host) {
  const double spin_us = host.config().spin_us;
  if (spin_us >= 0) return std::max(1, static_cast<int>(spin_us * 1000 / 20));
  // Ranks that outnumber the CPUs must let each other run: 4 ranks on 2 cores passed a flag barrier
  // in 3.5 us yielding at once and in 13.7 us spinning 200 polls first (DESIGN section 4).
  return host.oversubscribed() ? 1 : 2000;
}

}  // namespace libcoll::xport::shm
