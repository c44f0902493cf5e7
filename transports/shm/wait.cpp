// Waiting, after the first spins have not been enough: yield, then sleep on the word itself.
#include <fmt/format.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <ctime>

#include "libcoll/core/log.hpp"
#include "transports/shm/group.hpp"

namespace libcoll::xport::shm {

using detail::name_of;
using Clock = std::chrono::steady_clock;

namespace {

// The half of a word that changes with every store: a header's sequence, a progress word's step.
std::uint32_t* futex_word(const std::atomic<std::uint64_t>& word, bool header) {
  auto* p = reinterpret_cast<std::uint32_t*>(const_cast<std::atomic<std::uint64_t>*>(&word));
  return p + (header ? 1 : 0);  // little endian, as every machine we run on
}

std::uint32_t half_of(std::uint64_t value, bool header) { return static_cast<std::uint32_t>(header ? value >> 32 : value); }

double microseconds_since(Clock::time_point t) { return std::chrono::duration<double, std::micro>(Clock::now() - t).count(); }

}  // namespace

void Group::wake(const std::atomic<std::uint64_t>& word, bool header) {
  syscall(SYS_futex, futex_word(word, header), FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

// The writer stores its word and then looks at `sleepers` with no fence between (a fence would cost
// every operation). The sleeper pays instead: it counts itself and then runs a barrier on all CPUs.
// Where the kernel has none, the time limit of the sleep bounds a lost wake-up.
void Group::sleep_on(const std::atomic<std::uint64_t>& word, std::uint64_t value, bool header, int r, long timeout_us) {
  std::atomic<std::uint32_t>& sleepers = peer(r).control->sleepers;
  sleepers.fetch_add(1, std::memory_order_seq_cst);
  if (host_.asymmetric_fence()) syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
  else timeout_us = std::min(timeout_us, 1000L);
  const std::uint64_t now = word.load(std::memory_order_acquire);
  if (static_cast<std::int64_t>(now - value) < 0) {
    const timespec limit{timeout_us / 1000000, (timeout_us % 1000000) * 1000};
    syscall(SYS_futex, futex_word(word, header), FUTEX_WAIT, half_of(now, header), &limit, nullptr, 0);
  }
  sleepers.fetch_sub(1, std::memory_order_relaxed);
}

void Group::set_suspender(Suspender s) {
  suspender_ = s;
  spins_ = s.function != nullptr ? 0 : usual_spins_;
}

// Somebody else decides when to look again. Time passes while nobody does: only what was looked at
// for that long counts against the limit.
void Group::wait_suspended(const std::function<bool()>& ready, int r) {
  constexpr unsigned looks_per_clock = 16;
  constexpr double longest_gap_us = 1e5, check_every_us = 1e4;
  const double limit_us = (timeout_s_ > 0 ? timeout_s_ : host_.config().timeout_s) * 1e6;
  Clock::time_point last{};
  double waited_us = 0, checked_us = 0;
  for (unsigned i = 0; !ready(); ++i) {
    suspender_.function(suspender_.context, i == 0);
    if ((i + 1) % looks_per_clock != 0) continue;
    const Clock::time_point now = Clock::now();
    if (i >= looks_per_clock) waited_us += std::min(std::chrono::duration<double, std::micro>(now - last).count(), longest_gap_us);
    last = now;
    if (waited_us - checked_us < check_every_us) continue;
    checked_us = waited_us;
    check_alive(r);
    if (waited_us > limit_us)
      give_up(Errc::timeout, r, fmt::format("rank {} did not arrive within {:g} s ({})", name_of_rank(r), limit_us / 1e6, where_is(r)));
  }
}

// Where ranks take turns on CPUs: whether a member that last waited on this one has something to do there.
template <class Needs>
bool Group::member_needs_cpu(const Needs& needs) {
  const std::int32_t cpu = sched_getcpu() + 1;
  if (control_->cpu.load(std::memory_order_relaxed) != cpu) control_->cpu.store(cpu, std::memory_order_relaxed);
  for (int k = 1; k < size_; ++k) {
    const int r = after(rank_, k, size_);
    if (controls_[static_cast<std::size_t>(r)]->cpu.load(std::memory_order_relaxed) == cpu && needs(r)) return true;
  }
  return false;
}

bool Group::cpu_is_wanted() {
  return member_needs_cpu([&](int r) { return !reached(peer(r).control->progress.finished, at_step(sequence_, 0)); });
}

// A member that has not arrived and waits for this CPU needs it at once. Those that run elsewhere are about to arrive,
// probably sooner than a switch to another rank and back takes.
bool Group::arrives_soon(const std::atomic<std::uint64_t>& word, std::uint64_t value) {
  constexpr int polls = 32;
  if (member_needs_cpu([&](int r) { return !has_posted(sequence_, r); })) return false;
  for (int i = 0; i < polls; ++i) {
    if (reached(word, value)) return true;
    pause();
  }
  return false;
}

void Group::wait_slowly(const std::atomic<std::uint64_t>& word, std::uint64_t value, bool header, int r) {
  if (suspender_.function != nullptr) return wait_suspended([&] { return reached(word, value); }, r);
  const Clock::time_point start = Clock::now();
  const Host::Hook hook = host_.hook;
  for (int yields = host_.most_yields(); yields > 0 && microseconds_since(start) < yield_us_; --yields) {
    if (oversubscribed() && arrives_soon(word, value)) return;
    sched_yield();
    if (reached(word, value)) return;
    if (hook.function) hook.function(hook.context);
    host_.run_background();
  }
  const double limit_s = timeout_s_ > 0 ? timeout_s_ : host_.config().timeout_s;
  // Sleeps grow to 50 ms: a dead peer is noticed well within a second. With a progress hook the
  // sleep stays short, because nobody wakes us for the hook's sake.
  for (long sleep_us = 500;; sleep_us = std::min(sleep_us * 2, 50000L)) {
    if (reached(word, value)) return;
    sleep_on(word, value, header, r, hook.function || host_.run_background() ? 200 : sleep_us);
    if (reached(word, value)) return;
    check_alive(r);
    if (listener_.function) listener_.function(listener_.context);
    if (hook.function) hook.function(hook.context);
    if (microseconds_since(start) > limit_s * 1e6)
      give_up(Errc::timeout, r, fmt::format("rank {} did not arrive within {:g} s ({})", name_of_rank(r), limit_s, where_is(r)));
  }
}

void Group::spin_for_slot(Slot& s, std::uint64_t q, int r, std::uint64_t want) {
  for (int i = 0; i < spins_; ++i) {
    if (s.header.load(std::memory_order_acquire) == want) return;
    relax(i);
  }
  if (!reached(s.header, q << 32)) wait_slowly(s.header, q << 32, true, r);
  // A member that gave this operation up may be in a later one already. Then this rank is about to hear of it.
  if (suspender_.function != nullptr && passed(s, q)) wait_suspended([&] { return !passed(s, q); }, r);
  for (const Clock::time_point start = Clock::now(); listener_.function != nullptr && passed(s, q) && microseconds_since(start) < 1e6; sched_yield())
    listener_.function(listener_.context);
  if (s.header.load(std::memory_order_acquire) != want) mismatch(q, r);
}

void Group::check_alive(int waiting_for) {
  // The one we wait for first: it is the likely culprit and its name helps most.
  for (int i = 0; i < size_; ++i) {
    const int r = (waiting_for + i) % size_;
    if (r == rank_) continue;
    const Control& c = *peer(r).control;
    if (const std::uint32_t culprit = c.gave_up_on.load(std::memory_order_acquire); culprit != 0) {
      const int lost = static_cast<int>(culprit) - 1;
      give_up_on(Errc::peer_lost, lost, fmt::format("rank {} was lost (reported by rank {})", lost, name_of_rank(r)));
    }
    // A rank that finished this operation may well have left.
    const bool owes_us = static_cast<std::int64_t>(c.progress.finished.load(std::memory_order_acquire) - at_step(sequence_, 0)) < 0;
    if (owes_us && host_.lost(peer(r).local)) give_up(Errc::peer_lost, r, fmt::format("rank {} (pid {}) died", name_of_rank(r), peer(r).pid));
  }
}

int Group::find_lost(std::string& why, bool ask_system) const {
  for (int r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    if (const std::uint32_t culprit = peers_[static_cast<std::size_t>(r)].control->gave_up_on.load(std::memory_order_acquire); culprit != 0) {
      const int lost = static_cast<int>(culprit) - 1;
      const bool am_it = lost == name_of_rank(rank_);  // whoever says so is the one that is gone
      why = am_it ? fmt::format("rank {} gave up on this rank", name_of_rank(r)) : fmt::format("rank {} was lost or gave up (reported by rank {})", lost, name_of_rank(r));
      return am_it ? name_of_rank(r) : lost;
    }
    if (ask_system && host_.lost(peers_[static_cast<std::size_t>(r)].local)) {
      why = fmt::format("rank {} (pid {}) died", name_of_rank(r), host_.pid(peers_[static_cast<std::size_t>(r)].local));
      return name_of_rank(r);
    }
  }
  return -1;
}

void Group::peer_unreadable(int r) {
  const int error = errno;
  check_alive(r);
  give_up(Errc::peer_lost, r, fmt::format("memory of rank {} (pid {}) cannot be read any more: {}", name_of_rank(r), peer(r).pid, std::strerror(error)));
}

std::string Group::where_is(int r) const {
  const Control& c = *peers_[static_cast<std::size_t>(r)].control;
  const std::uint64_t done = c.progress.finished.load(std::memory_order_acquire) >> step_bits;
  const Slot& next = c.slots[(done + 1) % slot_count];
  if (next.header.load(std::memory_order_acquire) >> 32 == ((done + 1) & 0xffffffffu))
    return fmt::format("it is inside {} #{}", name_of(c.records[(done + 1) % slot_count].call.coll), done + 1);
  return fmt::format("its last finished operation is #{}", done);
}

void Group::give_up(Errc code, int r, const std::string& what) { give_up_on(code, name_of_rank(r), what); }

void Group::give_up_on(Errc code, int culprit, const std::string& what) {
  break_off(culprit, fmt::format("libcoll: rank {} of {}: {}: {}", name_of_rank(rank_), named_size_, call_text(), what));
  throw Error(code, broken_, culprit);
}

}  // namespace libcoll::xport::shm
