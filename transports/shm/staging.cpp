// The lease on this rank's staging memory, and the spans of it that operations take round robin.
#include <algorithm>
#include <chrono>

#include "libcoll/kernels/copy.hpp"
#include "transports/shm/group.hpp"

namespace libcoll::xport::shm {

// Twice what the readers' own caches hold. Each of them reads all its peers' staging memory, so that
// with more ranks each needs less of its own.
std::size_t Group::staging_bytes() const {
  const std::size_t all = 2 * host_.cache_bytes();
  return std::max<std::size_t>(std::size_t{256} << 10, all / static_cast<std::size_t>(std::max(1, host_.size() - 1)));
}

// Whether all members have read what this communicator has left in staging memory.
bool Group::staging_idle() const {
  for (int r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    const auto& finished = peers_[static_cast<std::size_t>(r)].control->progress.finished;
    if (!reached(finished, at_step(staging_user_, 0))) return false;
  }
  return true;
}

bool Group::lease_staging() {
  Staging& s = host_.staging();
  const std::lock_guard lock(s.mutex);
  if (s.owner == this) return leased_ = s.in_use = true;
  if (s.owner != nullptr && (s.in_use || !s.owner->staging_idle())) return false;
  if (s.offset == 0) {
    s.bytes = staging_bytes();
    s.offset = host_.heap().allocate(s.bytes);
    if (s.offset == 0) return false;
  }
  s.owner = this;
  leased_ = s.in_use = true;
  std::fill_n(segment_user_, segments, 0);
  return true;
}

std::uint64_t Group::claim_staging(std::uint64_t q, std::size_t bytes) {
  const std::size_t need = (bytes + line_bytes - 1) / line_bytes * line_bytes;
  if (!lease_staging()) return 0;
  const Staging& s = host_.staging();  // ours until release_staging
  if (need > s.bytes / 2) return 0;
  if (cursor_ + need > s.bytes) cursor_ = 0;
  const std::size_t segment_bytes = s.bytes / segments;
  for (std::size_t i = cursor_ / segment_bytes; i < segments && i * segment_bytes < cursor_ + need; ++i) {
    if (segment_user_[i] != q) wait_all_finished(segment_user_[i]);
    segment_user_[i] = q;
  }
  staging_user_ = q;
  const std::uint64_t at = s.offset + cursor_;
  cursor_ += need;
  return at;
}

// A cached copy slower than this loses to a streamed one, whose reader pays more: 10 GB/s lies between
// near (25 to 44) and far (2.5 to 7) on the machine of Staging's comment.
void Group::stage(void* to, const void* from, std::size_t bytes) {
  constexpr double slow_ns_per_byte = 0.1;
  constexpr unsigned probe_every = 64;
  using Clock = std::chrono::steady_clock;
  if (bytes < page_bytes) return kernels::copy(to, from, bytes);
  if (pace_.streamed && ++pace_.copies % probe_every != 0) return kernels::copy_streaming(to, from, bytes);
  const Clock::time_point start = Clock::now();
  kernels::copy(to, from, bytes);
  const double ns = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
  const bool slow = ns > slow_ns_per_byte * static_cast<double>(bytes);
  // Two in a row: one may only have been interrupted, or have touched new pages.
  pace_.slow = slow ? pace_.slow + 1 : 0;
  pace_.streamed = slow && (pace_.streamed || pace_.slow >= 2);
}

void Group::release_staging() {
  if (!leased_) return;
  leased_ = false;
  Staging& s = host_.staging();
  const std::lock_guard lock(s.mutex);
  if (s.owner == this) s.in_use = false;
}

void Group::surrender_staging() {
  Staging& s = host_.staging();
  const std::lock_guard lock(s.mutex);
  if (s.owner == this) s.owner = nullptr;
}

Group::~Group() {
  Staging& s = host_.staging();
  const std::lock_guard lock(s.mutex);
  if (s.owner != this) return;
  // Left open or broken: somebody may still read there, so the next owner gets other memory.
  if (!staging_idle()) s.offset = 0;
  s.owner = nullptr;
  s.in_use = false;
}

}  // namespace libcoll::xport::shm
