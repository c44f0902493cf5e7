// What a queue does when an operation ends badly: it ends on all ranks, and a lost or late peer ends the
// communicator (docs/adr/0006).
#include <fmt/format.h>

#include <algorithm>

#include "libcoll/error.hpp"
#include "libcoll/execution/queue.hpp"

namespace libcoll::exec {

using Stage = Operation::Stage;

namespace {
// What a notice says in its upper bits: that its sender gave the operation up, that a rank was lost, or that
// it waited too long for one. Below them that rank.
constexpr std::uint32_t gave_up = 1u << 30, lost = 2u << 30, late = 3u << 30, rank_bits = (1u << 30) - 1;
}  // namespace

void Queue::tell_others(std::uint32_t sequence, std::uint32_t what, int whom) {
  if (engine_.messenger() == nullptr) return;
  for (std::size_t r = 0; r < members_.size(); ++r) {
    const bool gone = what == lost && static_cast<int>(r) == whom;
    if (static_cast<int>(r) != rank_ && !gone) engine_.messenger()->notify(members_[r], {communicator_, sequence, what | static_cast<std::uint32_t>(whom), -1});
  }
}

void Queue::push_out() {
  if (engine_.messenger() == nullptr) return;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (engine_.messenger()->has_unsent() && std::chrono::steady_clock::now() < end)
    if (!engine_.messenger()->progress()) rest();
}

void Queue::refuse_next() {
  ++sequence_;
  skips_.push_back(sequence_);
  refused_ = sequence_;
  also_refused_.assign(members_.size(), 0);
  also_refused_[static_cast<std::size_t>(rank_)] = 1;
  skip_natives();
  abandon_messages(sequence_);
  tell_others(sequence_, gave_up, rank_);
  push_out();
}

int Queue::find_refusal() {
  if (engine_.messenger() == nullptr || group_.size() == static_cast<int>(members_.size())) return group_.find_refusal();
  const auto lock = lock_if_shared();
  engine_.messenger()->progress();
  heed_notices();
  for (const xport::Notice& n : notices_)
    if ((n.word & ~rank_bits) == gave_up && n.sequence == sequence_ + 1) return static_cast<int>(n.word & rank_bits);
  return -1;
}

xport::shm::Group::Refusal Queue::last_refusal() {
  using Refusal = xport::shm::Group::Refusal;
  if (engine_.messenger() == nullptr || group_.size() == static_cast<int>(members_.size())) return group_.last_refusal();
  const auto lock = lock_if_shared();
  engine_.messenger()->progress();
  heed_notices();
  return std::find(also_refused_.begin(), also_refused_.end(), 0) == also_refused_.end() ? Refusal::all_refused : Refusal::some_to_come;
}

// What peers have sent or still send for it would else count against them for ever (docs/adr/0008).
void Queue::abandon_messages(std::uint32_t sequence) {
  if (engine_.messenger() == nullptr) return;
  engine_.messenger()->abandon(communicator_, sequence, first_live());
  abandoned_ = true;
}

std::uint32_t Queue::first_live() const {
  std::uint32_t first = sequence_ + 1;
  for (const Operation* op : pending_)
    if (op->run != nullptr && !op->done() && static_cast<std::int32_t>(op->run->sequence() - first) < 0) first = op->run->sequence();
  return first;
}

// Native operations of schedules that ended badly are over here, too. Numbers only grow, so earlier schedules go first.
void Queue::skip_natives() {
  const auto may = [&](std::uint32_t sequence) {
    return std::none_of(pending_.begin(), pending_.end(), [&](const Operation* op) {
      return op->run != nullptr && !op->done() && static_cast<std::int32_t>(op->run->sequence() - sequence) < 0;
    });
  };
  std::erase_if(skips_, [&](std::uint32_t sequence) {
    if (!may(sequence)) return false;
    // Where all members share memory, native operations are numbered one by one.
    if (group_.size() != static_cast<int>(members_.size()))
      for (xport::shm::Group* g : groups_) g->skip_to(first_native(sequence + 1));
    return true;
  });
}

void Queue::break_down(int culprit, const std::string& why) {
  if (!broken_.empty()) return;
  broken_ = why;
  culprit_ = culprit;
  if (engine_.messenger() != nullptr) engine_.messenger()->set_broken();
  for (xport::shm::Group* g : groups_) g->break_off(culprit, why);
}

void Queue::break_off(const std::string& why) {
  const auto lock = lock_if_shared();
  if (closed_ || !broken_.empty()) return;
  tell_others(sequence_, lost, rank_);
  break_down(rank_, why);
  end_rest(std::make_exception_ptr(Error(Errc::closed, why)));
}

int Queue::find_lost(std::string& why, bool ask_system) {
  if (const int r = group_.find_lost(why, ask_system); r >= 0) return r;
  if (engine_.messenger() == nullptr) return -1;
  const auto lock = lock_if_shared();
  engine_.messenger()->progress();
  heed_notices();
  if (untold_ != nullptr) {
    try {
      std::rethrow_exception(std::exchange(untold_, nullptr));
    } catch (const Error& e) {
      why = e.what();
    }
  }
  if (why.empty() && !broken_.empty()) why = broken_;
  if (!why.empty()) return culprit_ != rank_ ? culprit_ : -1;  // this rank knows what it did itself
  const auto at = std::find(members_.begin(), members_.end(), engine_.messenger()->lost_peer(&why));
  return at == members_.end() ? -1 : static_cast<int>(at - members_.begin());
}

// An operation that ended badly here has ended for all: nobody must wait for this rank's part in it.
void Queue::fail(Operation& op, std::exception_ptr error) {
  // A peer that left because another was lost has said so before.
  if (engine_.messenger() != nullptr) engine_.messenger()->progress();
  heed_notices();
  if (op.done()) return;
  if (op.program != nullptr && op.run != nullptr) {
    const std::uint32_t sequence = op.run->sequence();
    try {
      std::rethrow_exception(error);
    } catch (const Error& e) {
      const int whom = std::max(0, e.peer());
      if (e.code() == Errc::mismatch) {
        tell_others(sequence, gave_up, rank_);
      } else {
        tell_others(sequence, e.code() == Errc::timeout ? late : lost, whom);
        break_down(whom, e.what());
      }
    } catch (...) {
      tell_others(sequence, gave_up, rank_);  // a user's operation threw
    }
  }
  end(op, error);
  if (!broken_.empty()) end_rest(error);
}

// Whether a notice ends the operation in flight.
bool Queue::concerned() {
  for (xport::Notice n; engine_.messenger()->take_notice(communicator_, n);) notices_.push_back(n);
  return std::any_of(notices_.begin(), notices_.end(), [&](const xport::Notice& n) { return (n.word & ~rank_bits) != gave_up || n.sequence == sequence_; });
}

bool Queue::heed_notices() {
  xport::Messenger* messenger = engine_.messenger();
  if (messenger == nullptr) return false;
  for (xport::Notice n; messenger->take_notice(communicator_, n);) notices_.push_back(n);
  bool any = false;
  for (const xport::Notice& n : notices_) {
    const std::uint32_t what = n.word & ~rank_bits;
    const auto sender = std::find(members_.begin(), members_.end(), n.from) - members_.begin();
    const auto named = static_cast<int>(n.word & rank_bits);
    const bool am_it = named == rank_ && what != gave_up;  // whoever says so is the one that is gone
    const auto whom = am_it ? static_cast<int>(sender) : named;
    const auto error_of = [&](const std::string& who) {
      if (what == gave_up) return Error(Errc::mismatch, fmt::format("{}: rank {} gave it up: its arguments are invalid or differ from others'", who, whom), whom);
      if (am_it) return Error(what == late ? Errc::timeout : Errc::peer_lost, fmt::format("{}: rank {} gave up on this rank{}", who, whom, what == late ? ", for which it waited for too long" : ""), whom);
      if (what == late) return Error(Errc::timeout, fmt::format("{}: rank {} kept another rank waiting for too long", who, whom), whom);
      return Error(Errc::peer_lost, fmt::format("{}: rank {} was lost (another rank says)", who, whom), whom);
    };
    const bool was_broken = !broken_.empty();
    bool told = false;
    for (Operation* op : pending_) {
      if (op->run == nullptr || op->done() || (what == gave_up && op->run->sequence() != n.sequence)) continue;
      any = told = true;
      const Error error = error_of(op->run->describe());
      if (what != gave_up) break_down(whom, error.what());
      end(*op, std::make_exception_ptr(error));
    }
    if (what == gave_up || was_broken || told) continue;
    // Between two calls: the next one tells.
    const Error error = error_of(fmt::format("libcoll: rank {} of {}", rank_, members_.size()));
    break_down(whom, error.what());
    untold_ = std::make_exception_ptr(error);
  }
  std::erase_if(notices_, [&](const xport::Notice& n) {
    if (static_cast<std::int32_t>(n.sequence - sequence_) > 0) return false;
    if ((n.word & ~rank_bits) == gave_up && n.sequence == refused_ && !also_refused_.empty()) also_refused_[n.word & rank_bits] = 1;
    abandon_messages(n.sequence);  // it may have ended well here
    return true;
  });
  return any;
}

// A lost peer may be one that this rank would only have waited for through others.
bool Queue::look_for_lost() {
  if (engine_.messenger() == nullptr) return false;
  std::string why;
  const int peer = engine_.messenger()->lost_peer(&why);
  const auto at = std::find(members_.begin(), members_.end(), peer);
  if (peer < 0 || at == members_.end()) return false;
  const auto r = static_cast<int>(at - members_.begin());
  for (Operation* op : pending_)
    if (op->run != nullptr && !op->done()) fail(*op, std::make_exception_ptr(Error(Errc::peer_lost, fmt::format("{}: lost rank {}: {}", op->run->describe(), r, why), r)));
  return true;
}

void Queue::require_usable() {
  if (untold_ != nullptr) std::rethrow_exception(std::exchange(untold_, nullptr));
  if (const std::string& why = broken(); !why.empty()) throw Error(Errc::closed, fmt::format("libcoll: the communicator is broken since: {}", why));
}

const std::string& Queue::broken() {
  if (closed_) return broken_;
  const auto lock = lock_if_shared();
  return group_.broken() ? group_.broken_reason() : broken_;
}

// What was started before a peer was lost ends with the same error; later calls are refused.
void Queue::end_rest(const std::exception_ptr& error) {
  for (Operation* op : pending_)
    if (!op->done()) end(*op, error);
}

// Of a schedule that its owner only tests: a peer may be lost or late here, too. (Native steps watch for themselves.)
void Queue::watch(Operation& op) {
  const auto lock = lock_if_shared();
  if (op.run == nullptr || op.done() || ++op.looks % patience != 0 || look_for_lost()) return;
  constexpr double longest_pause_s = 0.1;
  const auto now = std::chrono::steady_clock::now();
  op.watched_s = op.looks == patience ? 0 : op.watched_s + std::min(longest_pause_s, std::chrono::duration<double>(now - op.last_look).count());
  op.last_look = now;
  if (op.watched_s > limit_s(op)) fail(op, std::make_exception_ptr(Error(Errc::timeout, op.run->stuck(limit_s(op)), op.run->first_missing())));
}

}  // namespace libcoll::exec
