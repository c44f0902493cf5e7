#include "transports/shm/group.hpp"

#include <fmt/format.h>

#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include "transports/shm/small.hpp"

namespace libcoll::xport::shm {

using detail::name_of;

namespace {
// Memory a communicator may touch per host, whatever the number of ranks (docs/adr/0003).
constexpr std::size_t host_budget = std::size_t{16} << 20;
constexpr std::size_t rank_budget = std::size_t{768} << 10;

std::size_t round_down_pow2(std::size_t n) {
  std::size_t p = 1;
  while (p * 2 <= n) p *= 2;
  return p;
}
}  // namespace

Shape shape_for(int ranks, const Host& host) {
  const auto n = static_cast<std::size_t>(ranks);
  const std::size_t budget = std::min(rank_budget, host_budget / n) - page_bytes - Shape::framed_bytes;
  static_assert(slot_count * framed_lines * sizeof(Framed) <= Shape::framed_bytes);
  Shape s;
  s.eager_bytes = std::clamp<std::size_t>(round_down_pow2(budget / 8), 4096, 8192);
  // The table of a v-form has a row for each reader.
  s.eager_bytes = std::max(s.eager_bytes, (n * sizeof(BlockRow) + page_bytes - 1) / page_bytes * page_bytes);
  s.eager_max = std::max<std::size_t>(s.eager_bytes, 32768);
  s.symmetric_max = std::max<std::size_t>(s.eager_max, (std::size_t{2} << 20) / n);
  s.slot_bytes = std::clamp<std::size_t>(round_down_pow2(budget / 6), 8192, 65536);
  s.slot_bytes = std::max<std::size_t>(s.slot_bytes, 256 * n);  // a piece for every reader
  s.ring_bytes = 3 * s.slot_bytes;
  s.out_bytes = 3 * s.slot_bytes;
  s.share_from = 4096;
  if (host.single_copy())
    s.remote_from = host.forced_single_copy() ? SingleCopy{16384, 16384, 16384, 16384} : single_copy_thresholds(host.costs(), host.oversubscribed(), s.symmetric_max);
  s.stream_from = std::size_t{8} << 20;
  return s;
}

Group::Group(Host& host, const Shape& shape, int rank, std::span<const std::uint64_t> areas, std::span<const int> locals)
    : operands(areas.size()), results(areas.size() + 1), sources(areas.size()), blocks(areas.size()), wanted(areas.size()),
      host_(host), shape_(shape), rank_(rank), size_(static_cast<int>(areas.size())), peers_(areas.size()) {
  for (std::size_t r = 0; r < areas.size(); ++r) {
    Peer& p = peers_[r];
    std::byte* area = host.heap().at(areas[r]);
    p.control = reinterpret_cast<Control*>(area);
    controls_.push_back(p.control);
    p.framed = reinterpret_cast<Framed*>(area + page_bytes);
    p.eager = area + page_bytes + Shape::framed_bytes;
    p.ring = p.eager + eager_count * shape.eager_bytes;
    p.out = p.ring + shape.ring_bytes;
    p.local = locals[r];
    p.pid = host.pid(p.local);
    p.same_process = host.same_process(p.local);
  }
  mine_ = &peers_[static_cast<std::size_t>(rank)];
  control_ = mine_->control;
  unframed_.resize(areas.size() * framed_max);
  named_size_ = size_;
  spins_ = usual_spins_ = spins_for(host);
  pace_.streamed = host.costs().streamed_staging > 0.5;
  yield_us_ = host.config().yield_us;
}

void Group::set_groups(std::vector<std::vector<int>> groups) {
  groups_ = std::move(groups);
  for (std::size_t i = 0; i < groups_.size(); ++i)
    if (std::find(groups_[i].begin(), groups_[i].end(), rank_) != groups_[i].end()) my_group_ = i;
}

void Group::set_names(std::vector<int> ranks, int size) {
  names_ = std::move(ranks);
  named_size_ = size;
}

bool Group::slot_became_free() {
  const std::uint64_t user = slot_user_[(sequence_ + 1) % slot_count];
  for (int r = 0; r < size_; ++r)
    if (r != rank_ && !reached(peers_[static_cast<std::size_t>(r)].control->progress.finished, at_step(user, 0))) return false;
  wait_for_slot(user);
  return true;
}

std::byte* Group::grow(std::vector<std::byte>& scratch, std::size_t bytes) {
  if (scratch.size() < bytes + 64) scratch.resize(bytes + 64);
  void* p = scratch.data();
  std::size_t room = scratch.size();
  return static_cast<std::byte*>(std::align(64, bytes, p, room));
}

void Group::wait_all_finished(std::uint64_t q) {
  if (q <= safe_) return;
  for (int r = 0; r < size_; ++r)
    if (r != rank_) wait_finished(q, r);
}

void Group::wait_for_slot(std::uint64_t user) {
  if (broken()) throw Error(Errc::closed, fmt::format("libcoll: the communicator is broken since: {}", broken_));
  wait_all_finished(user);
  // Whoever has finished more is known to have; the least of them counts.
  std::uint64_t least = sequence_;
  for (int r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    const std::uint64_t done = peer(r).control->progress.finished.load(std::memory_order_acquire) >> step_bits;
    least = std::min(least, done);
  }
  safe_ = std::max(least, user);
}

void Group::break_off(int culprit, const std::string& why) {
  if (broken()) return;
  mine_->control->gave_up_on.store(static_cast<std::uint32_t>(culprit) + 1, std::memory_order_release);
  broken_ = why;
  safe_ = sequence_ - (std::uint64_t{1} << 62);  // begin() then never takes its quick way again
}

std::byte* Group::claim_eager(std::uint64_t q) {
  int i = 0;
  while (i + 1 < eager_count && eager_user_[i] > safe_) ++i;
  wait_all_finished(eager_user_[i]);
  eager_user_[i] = q;
  slot(q).eager_index = static_cast<std::uint8_t>(i);
  return eager(slot(q), rank_);
}

std::uint64_t Group::claim_ring(std::uint64_t q) {
  if (ring_user_ != q) wait_all_finished(ring_user_);
  ring_user_ = q;
  return host_.heap().offset_of(mine_->ring);
}

std::uint64_t Group::claim_out(std::uint64_t q) {
  claim_ring(q);
  return host_.heap().offset_of(mine_->out);
}

// Lets everybody that might wait for this rank in q go on; none of them will look at its data.
void Group::abandon(std::uint64_t q) {
  Progress& p = mine_->control->progress;
  for (auto* word : {&p.staged, &p.consumed, &p.gathered}) advance(*word, at_step(q, step_mask));
  finish(q);
}

void Group::announce_refusal(const detail::Call& call) {
  const Plan plan{.call = call, .signature = refused_signature};
  const std::uint64_t q = begin(plan, {});
  slot(q).source = Where::nowhere;
  slot(q).result = Where::nowhere;
  publish(q);
  abandon(q);
}

int Group::find_refusal() {
  const std::uint64_t refused = (sequence_ + 1) << 32 | refused_signature;
  for (int r = 0; r < size_; ++r)
    if (r != rank_ && slot(sequence_ + 1, r).header.load(std::memory_order_acquire) == refused) return name_of_rank(r);
  return -1;
}

Group::Refusal Group::last_refusal() {
  const std::uint64_t refused = sequence_ << 32 | refused_signature;
  Refusal all = Refusal::all_refused;
  for (int r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    const std::uint64_t header = slot(sequence_, r).header.load(std::memory_order_acquire);
    if (!reached(slot(sequence_, r).header, sequence_ << 32)) all = Refusal::some_to_come;
    else if (header >> 32 == refused >> 32 && header != refused) return Refusal::some_took_part;
  }
  return all;
}

// The last reads of a barrier may be under way when another rank has passed it. So each rank tells
// every other that it is done with it, and waits only on its own block.
bool Group::leave() {
  if (broken()) return false;
  const Plan plan{.call = {.coll = detail::Coll::barrier}, .signature = 0};
  barrier_flat(*this, {}, plan);
  depart();
  for (int polls = 0; !all_departed(); ++polls) {
    if (polls < 10000) {
      sched_yield();
      continue;
    }
    usleep(1000);
    for (int r = 0; r < size_; ++r)
      if (r != rank_ && host_.lost(peer(r).local) && !all_departed()) return false;
  }
  return true;
}

void Group::depart() {
  for (int r = 0; r < size_; ++r)
    if (r != rank_) peer(r).control->departed.fetch_add(1, std::memory_order_acq_rel);
}

bool Group::all_departed() {
  if (!reached(mine_->control->departed, static_cast<std::uint64_t>(size_ - 1))) return false;
  surrender_staging();
  return true;
}

std::string Group::call_text() const {
  const detail::Call& c = current_->call;
  return fmt::format("{} #{} (count {}, {}, {}, root {})", name_of(c.coll), sequence_, c.count, name_of(c.dtype), name_of(c.op), c.root);
}

void Group::mismatch(std::uint64_t q, int r) {
  const Record theirs = peer(r).control->records[q % slot_count];
  const detail::Call& a = current_->call;
  const detail::Call& b = theirs.call;
  if (static_cast<std::uint32_t>(slot(q, r).header.load(std::memory_order_acquire)) == refused_signature)
    refuse(q, r, fmt::format("rank {} refused its own arguments{}{}", name_of_rank(r), static_cast<int>(theirs.call.coll) < detail::coll_count ? " of " : "",
                             static_cast<int>(theirs.call.coll) < detail::coll_count ? name_of(theirs.call.coll) : ""));
  std::string what;
  const auto differ = [&](const char* argument, const auto& mine, const auto& other) {
    what += fmt::format("{}{}: {} here, {} on rank {}", what.empty() ? "" : "; ", argument, mine, other, name_of_rank(r));
  };
  if (a.coll != b.coll) differ("collective", name_of(a.coll), name_of(b.coll));
  else {
    if (a.count != b.count && detail::counts_are_hashed(a.coll)) what = fmt::format("counts differ from those of rank {}", name_of_rank(r));
    else if (a.count != b.count) differ("count", a.count, b.count);
    if (a.dtype != b.dtype) differ("type", name_of(a.dtype), name_of(b.dtype));
    if (a.op != b.op) differ("operation", name_of(a.op), name_of(b.op));
    if (a.root != b.root) differ("root", a.root, b.root);
    if (a.element_bytes != b.element_bytes) differ("element bytes", a.element_bytes, b.element_bytes);
    if (a.algorithm != b.algorithm) differ("algorithm", static_cast<int>(a.algorithm), static_cast<int>(b.algorithm));
  }
  // Native steps of different collectives may look alike.
  refuse(q, r, fmt::format("arguments differ: {}", what.empty() ? fmt::format("rank {} made another call", name_of_rank(r)) : what));
}

void Group::group_mismatch(std::uint64_t q, int leader, std::uint64_t header) {
  if (wait_slot_header(q, leader) != header) mismatch(q, leader);
  for (const std::vector<int>& group : groups_) {
    if (group[0] != leader) continue;
    for (const int r : group)
      if (wait_slot_header(q, r) != header) mismatch(q, r);
  }
  refuse(q, leader, fmt::format("rank {}, which leads its group, gave this operation up", name_of_rank(leader)));
}

std::uint64_t Group::wait_slot_header(std::uint64_t q, int r) {
  Slot& s = slot(q, r);
  if (!reached(s.header, q << 32)) wait_slowly(s.header, q << 32, true, r);
  return s.header.load(std::memory_order_acquire);
}

void Group::refuse(std::uint64_t q, int r, const std::string& text) {
  const std::string full = fmt::format("libcoll: rank {} of {}: {}: {}", name_of_rank(rank_), named_size_, call_text(), text);
  abandon(q);
  // A peer that has not seen the difference yet may read what was lent: the caller gets it back after that.
  const auto lent = [](Where w) { return w == Where::shared || w == Where::remote; };
  if (lent(slot(q).source) || lent(slot(q).result))
    for (int k = 1; k < size_; ++k) wait_finished(q, after(rank_, k, size_));
  throw Error(Errc::mismatch, full, name_of_rank(r));
}

}  // namespace libcoll::xport::shm
