// How messages end: they are waited for, given up, or their peer is lost.
#include <fmt/format.h>

#include <algorithm>

#include "libcoll/execution/mailbox.hpp"
#include "libcoll/execution/queue.hpp"

namespace libcoll::exec {

using Stage = MessageOp::Stage;
using Clock = std::chrono::steady_clock;

namespace {
constexpr unsigned patience = 64;  // rounds, or looks, before the reason is looked for
constexpr unsigned rounds_before_asking_the_system = 1024;
}  // namespace

template <class Which, class To>
void Mailbox::each_under_way(const Which& which, const To& to) {
  for (std::size_t i = 0; i < all_.size(); ++i)
    if (all_[i]->under_way() && which(*all_[i])) to(*all_[i]);
}

void Mailbox::wait(MessageOp& op) {
  if (!op.under_way()) return settle();
  Idler idler(engine_);
  Clock::time_point since{};
  std::uint64_t steps = ~std::uint64_t{0};
  for (unsigned rounds = 1;; ++rounds) {
    bool any = false, network_only = false;
    {
      const std::lock_guard lock(mutex_);
      any = advance();
      if (!op.under_way()) break;
      network_only = only_network();
    }
    if (engine_.messenger() != nullptr || engine_.busy()) any |= engine_.progress();
    if (!op.under_way()) break;
    if (rounds % patience == 0 || idler.slept()) {
      look_for_lost();
      if (rounds % rounds_before_asking_the_system == 0 || idler.slept()) look_for_dead();
      const std::lock_guard lock(mutex_);
      if (!op.under_way()) break;
      if (op.steps != steps) steps = op.steps, since = Clock::now();
      else if (Clock::now() - since > std::chrono::duration<double>(limit_s(op))) time_out(op);
    }
    idler.rest(any, network_only);
  }
  settle();
}

// Nothing here can be moved on by shared memory, and nobody else has something under way.
bool Mailbox::only_network() const {
  if (engine_.active() > (registered_ ? 1 : 0) || any_wanted_ != 0) return false;
  return std::all_of(all_.begin(), all_.end(), [&](const auto& op) {
    if (!op->under_way()) return true;
    return op->link != nullptr ? op->link->over_network() : links_[static_cast<std::size_t>(op->source)]->over_network();
  });
}

bool Mailbox::test(MessageOp& op) {
  if (op.under_way()) {
    {
      const std::lock_guard lock(mutex_);
      advance();
    }
    if (op.under_way() && (engine_.messenger() != nullptr || engine_.busy())) engine_.progress();
    if (op.under_way() && ++op.looks % patience == 0) watch(op);
    if (op.under_way()) {
      if (engine_.host().oversubscribed()) Queue::rest();  // the peer may need this CPU
      return false;
    }
  }
  settle();
  return true;
}

// One that is only tested: its peer may be lost or late, too.
void Mailbox::watch(MessageOp& op) {
  constexpr double longest_pause_s = 0.1;
  look_for_lost();
  look_for_dead();
  const std::lock_guard lock(mutex_);
  if (!op.under_way()) return;
  const auto now = Clock::now();
  if (op.looks == patience || op.watched_steps != op.steps) op.watched_s = 0;
  else op.watched_s += std::min(longest_pause_s, std::chrono::duration<double>(now - op.last_look).count());
  op.watched_steps = op.steps;
  op.last_look = now;
  if (op.watched_s > limit_s(op)) time_out(op);
}

void Mailbox::time_out(MessageOp& op) {
  let_go(op);
  if (!op.under_way()) return;
  const std::string who = op.peer == any_source ? "no rank sent one" : op.sends ? fmt::format("rank {} did not take it", op.peer) : fmt::format("rank {} did not send it", op.peer);
  fail(op, Errc::timeout, fmt::format("{} within {:g} s", who, limit_s(op)), op.peer);
}

// Afterwards only its end is missing, if it has not ended by itself.
void Mailbox::let_go(MessageOp& op) {
  if (op.stage.load(std::memory_order_relaxed) == Stage::posted) unpost(op);
  else if (op.link != nullptr) op.link->cancel(op);
}

void Mailbox::cancel(MessageOp& op) noexcept {
  if (!closed_) {
    {
      const std::lock_guard lock(mutex_);
      if (op.under_way()) let_go(op);
      if (op.under_way()) finish(op);
    }
    settle();
  }
  release(op);
}

void Mailbox::release(MessageOp& op) {
  --held_;
  if (disowned_) {
    if (held_ == 0) delete this;
    return;
  }
  const std::lock_guard lock(mutex_);
  op.error = nullptr;
  op.stage.store(Stage::idle, std::memory_order_relaxed);
  op.next_free = std::exchange(free_, &op);
}

void Mailbox::lose(Link& link, const std::string& why) {
  if (link.lost) return;
  link.lost = true;
  link.why = why;
  const auto involves = [&](const MessageOp& op) {
    return op.link == &link || (op.stage.load(std::memory_order_relaxed) == Stage::posted && (op.source == link.peer || op.source == any_source));
  };
  each_under_way(involves, [&](MessageOp& op) {
    let_go(op);
    if (op.under_way()) fail(op, Errc::peer_lost, why, link.peer);
  });
}

void Mailbox::break_off(int culprit, const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (closed_ || !broken_.empty()) return;
  broken_ = why;
  each_under_way([](const MessageOp&) { return true; }, [&](MessageOp& op) {
    let_go(op);
    if (op.under_way()) fail(op, culprit == setting_.rank ? Errc::closed : Errc::peer_lost, why, culprit == setting_.rank ? -1 : culprit);
  });
}

// A member that has given up on the communicator, or this rank in a collective.
void Mailbox::look_for_lost() {
  std::string why;
  xport::shm::Group& host = lanes_.group();
  if (!queue_.broken().empty()) {
    const auto culprit = host.mine().control->gave_up_on.load(std::memory_order_relaxed);
    return break_off(culprit != 0 ? static_cast<int>(culprit) - 1 : setting_.rank, queue_.broken());
  }
  if (const int r = host.find_lost(why, false); r >= 0) return break_off(r, why);
  const int r = queue_.find_lost(why, false);
  if (r < 0) return;
  if (!queue_.broken().empty()) return break_off(r, why);
  const std::lock_guard lock(mutex_);
  if (Link* link = links_[static_cast<std::size_t>(r)].get()) lose(*link, fmt::format("rank {} was lost: {}", r, why));
}

// What a dead peer has sent before is as good as any.
void Mailbox::look_for_dead() {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < used_.size(); ++i) {
    Link& link = *used_[i];
    std::string why;
    if (link.lost || !link.is_dead(why)) continue;
    while (is_wanted(link) && link.poll()) {}
    while (link.advance()) {}
    lose(link, why);
  }
}

void Mailbox::shut_down() {
  if (closed_) return;
  if (registered_) engine_.leave(this);
  registered_ = false;
  const std::lock_guard lock(mutex_);
  closed_ = true;
  each_under_way([](const MessageOp&) { return true; }, [&](MessageOp& op) {
    let_go(op);
    if (op.under_way()) fail(op, Errc::closed, "the communicator was closed before it ended", -1);
  });
}

void Mailbox::leave() {
  const std::lock_guard lock(mutex_);
  for (Link* link : used_) link->close();
}

}  // namespace libcoll::exec
