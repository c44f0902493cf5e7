// Group: one communicator's share of the host's memory, and the protocol all its operations follow.
//
// Operation number q of a communicator: every rank that offers data stores one descriptor line
// (Slot) whose header {q, signature} makes it valid; readers wait for the header and follow the
// descriptor. All words have one writer. A slot is reused slot_count operations later, once every
// rank is known to have finished the old one: an operation that saw everybody's descriptor of q
// knows that all have finished q-1, so symmetric operations never look at `finished`.
// Not thread-safe: one thread at a time.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "libcoll/core/plan.hpp"
#include "transports/shm/blocks.hpp"
#include "transports/shm/host.hpp"
#include "transports/shm/layout.hpp"
#include "transports/shm/tuning.hpp"

namespace libcoll::xport::shm {

using detail::Args;
using detail::Plan;

// Sizes of a rank's buffers in one communicator; a function of the number of ranks and costs alone.
struct Shape {
  std::size_t eager_bytes = 0;      // of one eager buffer
  std::size_t eager_max = 0;        // bytes up to which a message is staged whole, in staging memory
  std::size_t symmetric_max = 0;    // the same where all ranks stage and read alike
  std::size_t slot_bytes = 0;       // most that a ring source stages in one round
  std::size_t ring_bytes = 0;       // of this communicator's own ring, for when another has the staging
  std::size_t out_bytes = 0;        // memory; the same for results
  std::size_t share_from = 0;       // bytes from which a source in the arena is lent, not copied
  SingleCopy remote_from;           // bytes from which process_vm_readv pays
  std::size_t stream_from = 0;      // bytes from which results bypass the cache
  static constexpr std::size_t framed_bytes = 3 * page_bytes;
  std::size_t area_bytes() const { return page_bytes + framed_bytes + eager_count * eager_bytes + ring_bytes + out_bytes; }
};
Shape shape_for(int ranks, const Host&);

class Group {
 public:
  struct Peer {
    Control* control = nullptr;
    Framed* framed = nullptr;       // slot_count * framed_lines
    std::byte* eager = nullptr;
    std::byte* ring = nullptr;
    std::byte* out = nullptr;
    pid_t pid = 0;
    bool same_process = false;
    int local = 0;                  // rank within the host
  };

  // `areas[r]` is the offset of rank r's area, `locals[r]` its rank within the host.
  Group(Host&, const Shape&, int rank, std::span<const std::uint64_t> areas, std::span<const int> locals);
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  // A partition of the ranks for grouped operations; the first of each group leads it.
  void set_groups(std::vector<std::vector<int>> groups);
  const std::vector<std::vector<int>>& groups() const { return groups_; }
  const std::vector<int>& my_group() const { return groups_[my_group_]; }

  int rank() const { return rank_; }
  int size() const { return size_; }
  Host& host() { return host_; }
  const Shape& shape() const { return shape_; }
  const Costs& costs() const { return host_.costs(); }
  bool oversubscribed() const { return host_.oversubscribed(); }
  Peer& peer(int r) { return peers_[static_cast<std::size_t>(r)]; }
  Peer& mine() { return *mine_; }

  // -- The life of one operation.
  std::uint64_t begin(const Plan& plan, const Args& args) {
    const std::uint64_t user = slot_user_[(sequence_ + 1) % slot_count];
    if (static_cast<std::int64_t>(user - safe_) > 0) [[unlikely]] wait_for_slot(user);
    return begin_free(plan, args);
  }
  // Whether begin() would not wait for a peer. Never once something is broken.
  bool slot_known_free() const { return static_cast<std::int64_t>(slot_user_[(sequence_ + 1) % slot_count] - safe_) <= 0; }
  // The same after a look at what peers have finished meanwhile; throws if something is broken.
  bool slot_free() { return slot_known_free() || slot_became_free(); }
  // Then.
  std::uint64_t begin_free(const Plan& plan, const Args& args) {
    const std::uint64_t q = ++sequence_;
    slot_user_[q % slot_count] = q;
    current_ = &plan;
    timeout_s_ = args.timeout_s;
    control_->records[q % slot_count].call = plan.call;
    return q;
  }
  Slot& slot(std::uint64_t q) { return control_->slots[q % slot_count]; }
  Slot& slot(std::uint64_t q, int r) { return controls_[static_cast<std::size_t>(r)]->slots[q % slot_count]; }
  Framed* framed(std::uint64_t q, int r) { return peer(r).framed + (q % slot_count) * framed_lines; }
  // Takes an eager buffer that nobody reads any more and notes it in the descriptor of q. The first is
  // preferred: a buffer used again soon is still in this core's cache.
  std::byte* claim_eager(std::uint64_t q);
  std::byte* eager(const Slot& s, int r) { return peer(r).eager + s.eager_index * shape_.eager_bytes; }

  void publish(std::uint64_t q) { publish(slot(q), header_of(q)); }
  void publish(Slot& mine, std::uint64_t header) {
    mine.header.store(header, std::memory_order_release);
    if (control_->sleepers.load(std::memory_order_relaxed) != 0) [[unlikely]] wake(mine.header, true);
  }
  std::uint64_t header_of(std::uint64_t q) const { return header_of(q, *current_); }
  static std::uint64_t header_of(std::uint64_t q, const Plan& plan) { return (q << 32) | plan.signature; }
  int spins() const { return spins_; }
  // Operations that must not block: while a function is set, waits call it over and over (it goes away
  // and comes back) instead of spinning, yielding and sleeping.
  struct Suspender { void (*function)(void*, bool anew) = nullptr; void* context = nullptr; };
  void set_suspender(Suspender s);
  // Called now and then by a wait that takes long; what it throws ends the operation.
  using Hook = Host::Hook;
  void set_listener(const Hook& h) { listener_ = h; }
  // Whether a member that last waited on this CPU has not finished the operation that this rank last began.
  bool cpu_is_wanted();
  // How errors call the members: `ranks[r]` of `size` instead of r. Where this group is a part of a communicator.
  void set_names(std::vector<int> ranks, int size);
  int name_of_rank(int r) const { return names_.empty() ? r : names_[static_cast<std::size_t>(r)]; }
  // The first polls come back to back: near cores are 50 ns apart, as long as one pause.
  static void relax(int i) {
    if (i >= 64) pause();
  }
  // Waits for rank r's descriptor of q; throws if r called something else.
  Slot& wait_slot(std::uint64_t q, int r) { return wait_slot(q, r, header_of(q)); }
  Slot& wait_slot(std::uint64_t q, int r, std::uint64_t header) {
    Slot& s = slot(q, r);
    if (s.header.load(std::memory_order_acquire) != header) spin_for_slot(s, q, r, header);
    return s;
  }
  // Whether rank r's descriptor of q is there (whatever r called).
  bool has_posted(std::uint64_t q, int r) { return reached(slot(q, r).header, q << 32); }
  // Everybody's descriptor of q has been seen: all have finished q - 1.
  void saw_all(std::uint64_t q) { safe_ = q - 1; }

  void advance(std::atomic<std::uint64_t>& word, std::uint64_t value) {
    word.store(value, std::memory_order_release);
    if (control_->sleepers.load(std::memory_order_relaxed) != 0) [[unlikely]] wake(word, false);
  }
  void wait_word(const std::atomic<std::uint64_t>& word, std::uint64_t value, int r) {
    for (int i = 0; i < spins_; ++i) {
      if (reached(word, value)) [[likely]] return;
      relax(i);
    }
    wait_slowly(word, value, false, r);
  }
  void finish(std::uint64_t q) { advance(control_->progress.finished, at_step(q, 0)); }
  void wait_finished(std::uint64_t q, int r) { wait_word(peer(r).control->progress.finished, at_step(q, 0), r); }
  // `bytes` of staging memory for operation q that nobody reads any more, as an arena offset; 0 if it
  // is too much or another communicator is using it. The lease lasts until release_staging.
  std::uint64_t claim_staging(std::uint64_t q, std::size_t bytes);
  void release_staging();
  // Copies into staging memory by the cheaper kind of stores. Near and far cores change places under a
  // running program (virtual machines move), so that the start-up measurement is only a first guess: the
  // pace of cached copies is watched. Nobody else depends on the choice.
  void stage(void* to, const void* from, std::size_t bytes);
  bool staging_streams() const { return pace_.streamed; }
  std::size_t staging_bytes() const;
  // This communicator's own ring (and out slots), once nobody reads what their last user left there.
  std::uint64_t claim_ring(std::uint64_t q);
  std::uint64_t claim_out(std::uint64_t q);

  // Operations count on from `q` at least. All members call it alike; operations in between are nobody's.
  void align(std::uint64_t q) { sequence_ = std::max(sequence_, q); }
  // Operations up to q are over for this rank, whether or not it took part: members need not wait until it lets go
  // of their memory. Says nothing about data: who still waits for this rank's waits until it is told why.
  void skip_to(std::uint64_t q) {
    if (static_cast<std::int64_t>(q - sequence_) <= 0) return;
    sequence_ = q;
    finish(q);
  }
  // Nothing works any more since rank `culprit` of the communicator was lost: members that wait for this
  // rank are told so.
  void break_off(int culprit, const std::string& why);

  // Ends an operation whose ranks called different things, leaving the group usable; throws.
  [[noreturn]] void mismatch(std::uint64_t q, int r);
  // A leader gave q up: because its call differs from ours, or because a call within its group did.
  [[noreturn]] void group_mismatch(std::uint64_t q, int leader, std::uint64_t header);
  // The same for counts that disagree within equal calls (v-forms).
  [[noreturn]] void refuse(std::uint64_t q, int r, const std::string& text);
  // Takes part in the next operation only to say that this rank cannot: its arguments were invalid.
  void announce_refusal(const detail::Call&);
  // A member that has refused the operation after this rank's last one; -1: none. Never waits.
  int find_refusal();
  // Of this rank's last operation, which it refused. `some_took_part`: those are told.
  enum class Refusal : std::uint8_t { some_to_come, all_refused, some_took_part };
  Refusal last_refusal();
  // Collective: waits until no member will touch this rank's area again. False if that cannot be
  // known (broken, or a peer died): the area must not be reused.
  bool leave();
  // The same in two halves that never wait: this rank is done with the members' areas; all members have said so
  // (then its staging lease is given back too).
  void depart();
  bool all_departed();
  // process_vm_readv failed on a rank that was readable at creation: dead or torn down; throws.
  [[noreturn]] void peer_unreadable(int r);
  // A rank of the communicator that is known to be dead, or that made a member give up; -1: none. Never waits. Only whoever
  // asks the system hears of the dead, at the price of a call for each member.
  int find_lost(std::string& why, bool ask_system) const;
  // Buffers in the arena that were lent to the members instead of being copied, sources and results.
  void count_lent() { ++lent_buffers_; }
  std::uint64_t lent_buffers() const { return lent_buffers_; }
  bool broken() const { return !broken_.empty(); }
  const std::string& broken_reason() const { return broken_; }

  // Scratch of operations, sized once: no allocation while they run.
  std::vector<const void*> operands;
  std::vector<void*> results;
  std::vector<Source> sources;
  std::vector<Block> blocks;
  std::vector<Wanted> wanted;
  std::byte* remote_scratch(std::size_t bytes) { return grow(remote_scratch_, bytes); }  // grows at most once per plan
  std::byte* unframed(int r) { return unframed_.data() + static_cast<std::size_t>(r) * framed_max; }
  std::byte* custom_scratch(std::size_t bytes) { return grow(custom_scratch_, bytes); }

 private:
  static bool reached(const std::atomic<std::uint64_t>& word, std::uint64_t value) {
    return static_cast<std::int64_t>(word.load(std::memory_order_acquire) - value) >= 0;
  }
  static std::byte* grow(std::vector<std::byte>&, std::size_t bytes);
  bool leased_ = false;             // in the operation in flight
  void surrender_staging();         // once all members have finished
  bool lease_staging();
  bool staging_idle() const;
  void wait_all_finished(std::uint64_t q);
  void wait_for_slot(std::uint64_t user);
  bool slot_became_free();
  std::uint64_t wait_slot_header(std::uint64_t q, int r);  // whatever r called
  [[gnu::noinline]] void spin_for_slot(Slot&, std::uint64_t q, int r, std::uint64_t want);
  void wait_slowly(const std::atomic<std::uint64_t>& word, std::uint64_t value, bool header, int r);
  template <class Needs>
  bool member_needs_cpu(const Needs&);
  bool arrives_soon(const std::atomic<std::uint64_t>& word, std::uint64_t value);
  void wait_suspended(const std::function<bool()>& ready, int r);
  static bool passed(const Slot& s, std::uint64_t q) { return reached(s.header, (q + 1) << 32); }
  void sleep_on(const std::atomic<std::uint64_t>& word, std::uint64_t value, bool header, int r, long timeout_us);
  void wake(const std::atomic<std::uint64_t>& word, bool header);
  void check_alive(int waiting_for);
  [[noreturn]] void give_up(Errc, int r, const std::string& what);
  [[noreturn]] void give_up_on(Errc, int culprit, const std::string& what);  // a rank of the communicator
  void abandon(std::uint64_t q);
  std::string where_is(int r) const;
  std::string call_text() const;

  Host& host_;
  Shape shape_;
  int rank_, size_;
  int spins_ = 0, usual_spins_ = 0;
  Suspender suspender_;
  Hook listener_;
  std::vector<int> names_;
  int named_size_ = 0;
  double yield_us_ = 100;
  std::vector<std::vector<int>> groups_;
  std::size_t my_group_ = 0;
  Peer* mine_ = nullptr;
  Control* control_ = nullptr;      // this rank's
  std::vector<Control*> controls_;  // everybody's, side by side for the small operations
  std::vector<Peer> peers_;
  std::uint64_t sequence_ = 0;
  std::uint64_t safe_ = 0;          // every rank has finished this operation
  std::uint64_t slot_user_[slot_count] = {};    // last operation that used the slot
  std::uint64_t eager_user_[eager_count] = {};  // last operation that used the buffer
  std::uint64_t ring_user_ = 0;     // last operation that used this communicator's own ring or out slots
  static constexpr std::size_t segments = 16;
  std::uint64_t segment_user_[segments] = {};  // last operation that used each part of the staging memory
  std::uint64_t staging_user_ = 0;  // and any part of it
  struct Pace { bool streamed = false; int slow = 0; unsigned copies = 0; } pace_;
  std::size_t cursor_ = 0;          // where the next span of staging memory begins
  const Plan* current_ = nullptr;
  double timeout_s_ = 0;
  std::uint64_t lent_buffers_ = 0;
  std::string broken_;
  std::vector<std::byte> unframed_, remote_scratch_, custom_scratch_;
};

}  // namespace libcoll::xport::shm
