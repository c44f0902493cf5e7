#include "transports/shm/tuning.hpp"

#include <algorithm>
#include <cmath>

namespace libcoll::xport::shm {

std::size_t remote_threshold(const Costs& c) {
  // Staged: one local copy in, then a read of what another core has just written. Remote: a system
  // call and the kernel's copy, into a buffer that is then read from this core's cache.
  const double staged_ns_per_byte = 1 / c.local_gbps + 1 / c.copy_gbps;
  const double remote_ns_per_byte = 1 / c.remote_gbps + 0.5 / c.local_gbps;
  if (remote_ns_per_byte >= staged_ns_per_byte) return ~std::size_t{0};
  const double bytes = c.remote_call_ns * 2 / (staged_ns_per_byte - remote_ns_per_byte);
  return static_cast<std::size_t>(std::clamp(bytes, 32768.0, 4e6));
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
