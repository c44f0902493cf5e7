#include "libcoll/execution/mailbox.hpp"

#include <fmt/format.h>

#include <cstring>

#include "libcoll/execution/queue.hpp"

namespace libcoll::exec {

using Stage = MessageOp::Stage;

Mailbox::Mailbox(Engine& engine, Queue& queue, xport::shm::Group& host, Setting setting)
    : engine_(engine), queue_(queue), setting_(std::move(setting)), lanes_(host), links_(setting_.members.size()) {}

void Mailbox::disown() {
  shut_down();
  disowned_ = true;
  if (held_ == 0) delete this;
}

Link& Mailbox::link_to(int peer) {
  auto& link = links_[static_cast<std::size_t>(peer)];
  if (link == nullptr) {
    link = peer == setting_.rank ? make_self_link(*this, peer) : setting_.places[static_cast<std::size_t>(peer)] >= 0 ? make_lane_link(*this, peer) : make_network_link(*this, peer);
    used_.push_back(link.get());
  }
  return *link;
}

MessageOp& Mailbox::take_op(bool sends, void* data, std::size_t bytes, int peer, int tag, double timeout_s) {
  if (closed_) throw Error(Errc::closed, "libcoll: the communicator was closed");
  if (!broken_.empty()) throw Error(Errc::closed, fmt::format("libcoll: the communicator is broken since: {}", broken_));
  if (free_ == nullptr) free_ = all_.emplace_back(std::make_unique<MessageOp>(*this)).get();
  MessageOp& op = *std::exchange(free_, free_->next_free);
  op.source = op.peer = peer;
  op.tag = tag;
  op.sends = sends;
  op.data = data;
  op.bytes = bytes;
  op.timeout_s = timeout_s;
  op.link = nullptr;
  op.steps = 0;
  op.looks = 0;
  op.stage.store(Stage::moving, std::memory_order_relaxed);
  ++held_;
  ++under_way_;
  return op;
}

MessageOp* Mailbox::start_send(const void* data, std::size_t bytes, int dest, int tag, double timeout_s) {
  queue_.require_usable();
  const std::lock_guard lock(mutex_);
  MessageOp& op = take_op(true, const_cast<void*>(data), bytes, dest, tag, timeout_s);
  Link& link = link_to(dest);
  op.link = &link;
  if (link.lost) fail(op, Errc::peer_lost, link.why, dest);
  else link.send(op);
  return &op;
}

MessageOp* Mailbox::start_receive(void* data, std::size_t bytes, int source, int tag, double timeout_s) {
  queue_.require_usable();
  const std::lock_guard lock(mutex_);
  MessageOp& op = take_op(false, data, bytes, source, tag, timeout_s);
  while (auto* a = static_cast<Arrival*>(arrivals_.first(source, tag))) {
    arrivals_.remove(*a);
    const bool met = deliver(*a, op);
    forget(*a);
    if (met) return &op;
  }
  post(op);
  const auto look = [&](Link& link) {
    // What a peer sent before it was lost is as good as any.
    while (op.stage.load(std::memory_order_relaxed) == Stage::posted && link.poll()) {}
    if (link.lost && op.stage.load(std::memory_order_relaxed) == Stage::posted) {
      unpost(op);
      fail(op, Errc::peer_lost, link.why, link.peer);
    }
  };
  if (source != any_source) {
    look(link_to(source));
  } else {
    for (int r = 0; r < static_cast<int>(links_.size()); ++r) look(link_to(r));
  }
  return &op;
}

void Mailbox::post(MessageOp& op) {
  op.stage.store(Stage::posted, std::memory_order_relaxed);
  receives_.append(op);
  ++(op.source == any_source ? any_wanted_ : link_to(op.source).wanted);
}

void Mailbox::unpost(MessageOp& op) {
  receives_.remove(op);
  --(op.source == any_source ? any_wanted_ : link_to(op.source).wanted);
  op.stage.store(Stage::moving, std::memory_order_relaxed);
}

Arrival* Mailbox::arrived(Arrival& a) {
  auto* op = static_cast<MessageOp*>(receives_.first(a.source, a.tag));
  if (op == nullptr) {
    Arrival& kept = keep(a);
    arrivals_.append(kept);
    return &kept;
  }
  deliver(a, *op);
  return nullptr;
}

// False: its sender has withdrawn it, and the receive has met nothing.
bool Mailbox::deliver(Arrival& a, MessageOp& op) {
  const bool fits = a.bytes == op.bytes;
  if (!a.link->claim(a, fits)) return false;
  if (op.stage.load(std::memory_order_relaxed) == Stage::posted) unpost(op);
  op.peer = a.source;
  op.link = a.link;
  step(op);
  if (fits) a.link->take(a, op);
  else fail(op, Errc::mismatch, fmt::format("rank {} sent {} bytes where {} were expected", a.source, a.bytes, op.bytes), a.source);
  return true;
}

Arrival& Mailbox::keep(const Arrival& a) {
  if (free_arrival_ == nullptr) free_arrival_ = all_arrivals_.emplace_back(std::make_unique<Arrival>()).get();
  Arrival& k = *free_arrival_;
  free_arrival_ = static_cast<Arrival*>(k.next);
  k.source = a.source;
  k.tag = a.tag;
  k.link = a.link;
  k.bytes = a.bytes;
  k.how = a.how;
  k.at = a.at;
  k.key = a.key;
  k.sender = a.sender;
  k.data = nullptr;
  if (a.data != nullptr) hold(k, a.data);
  return k;
}

void Mailbox::hold(Arrival& a, const void* data) {
  if (a.bytes <= sizeof a.in_line) {
    a.data = a.in_line;
  } else {
    a.kept = std::make_unique_for_overwrite<std::byte[]>(a.bytes);
    a.data = a.kept.get();
  }
  if (a.bytes != 0) std::memcpy(const_cast<void*>(a.data), data, a.bytes);
}

void Mailbox::forget(Arrival& a) {
  a.kept.reset();
  a.next = free_arrival_;
  free_arrival_ = &a;
}

void Mailbox::end(MessageOp& op, std::exception_ptr error) {
  op.error = std::move(error);
  op.link = nullptr;
  --under_way_;
  op.stage.store(Stage::done, std::memory_order_release);
}

void Mailbox::finish(MessageOp& op) { end(op, nullptr); }

void Mailbox::fail(MessageOp& op, Errc code, const std::string& what, int culprit) {
  end(op, std::make_exception_ptr(Error(code, fmt::format("{}: {}", text_of(op), what), culprit)));
}

std::string Mailbox::text_of(const MessageOp& op) const {
  const std::string whom = op.peer == any_source ? "any rank" : fmt::format("rank {}", op.peer);
  return fmt::format("libcoll: rank {} of {}: {} of {} bytes {} {}, tag {}", setting_.rank, setting_.members.size(), op.sends ? "send" : "recv", op.bytes,
                     op.sends ? "to" : "from", whom, op.tag);
}

bool Mailbox::advance() {
  bool any = false;
  for (std::size_t i = 0; i < used_.size(); ++i) {  // a link that is lost may make others
    Link& link = *used_[i];
    any |= link.advance();
    if (is_wanted(link) && !link.lost) any |= link.poll();
  }
  return any;
}

bool Mailbox::progress() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  return lock && advance();
}

// By the owner: the engine knows of it while anything here can need a call.
void Mailbox::settle() {
  if (closed_) return;
  bool needed = false;
  {
    const std::lock_guard lock(mutex_);
    needed = under_way_ != 0;
    for (const Link* link : used_) needed = needed || link->has_duties();
  }
  if (needed == registered_) return;
  registered_ = needed;
  if (needed) engine_.enter(this);
  else engine_.leave(this);
}

}  // namespace libcoll::exec
