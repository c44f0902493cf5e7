// Transfers: a message meets its receive in matching.hpp's table, whichever comes first. A receive that is there first gets
// the data straight from UCX; an early small message is kept (in UCX's buffer where UCX lends it, else in a pooled one), an
// early large one stays with its sender until it is asked for.
#include "transports/ucx/ucx_messenger.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "libcoll/core/log.hpp"
#include "transports/ucx/ucx_impl.hpp"

namespace libcoll::xport::ucx {

namespace {
// One round: over TCP each is a system call, and the caller looks at what the last one brought first.
constexpr int rounds_per_progress = 1;
constexpr auto cancel_patience = std::chrono::seconds(2);
}  // namespace

ucs_status_t UcxMessenger::listen() {
  ucp_am_handler_param_t param{};
  param.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG |
                     UCP_AM_HANDLER_PARAM_FIELD_FLAGS;
  param.id = message_id;
  param.flags = UCP_AM_FLAG_WHOLE_MSG;
  param.cb = on_message;
  param.arg = this;
  return ucp_worker_set_am_recv_handler(worker_.get(), &param);
}

Entry* UcxMessenger::new_entry(Entry::Kind kind, int peer, const Header& header, void* data, std::size_t bytes, Transfer* transfer) {
  Entry* const e = entries_.take();
  e->owner = this;
  e->kind = kind;
  e->peer = peer;
  e->header = header;
  e->data = data;
  e->bytes = bytes;
  e->transfer = transfer;
  if (transfer != nullptr) {
    transfer->peer = peer;
    transfer->error.clear();
    transfer->mismatch = false;
    transfer->request = e;
    transfer->state.store(Transfer::State::pending, std::memory_order_release);
  }
  return e;
}

Header UcxMessenger::header_of(const MessageKey& key, Header::Kind kind) const {
  return {key.communicator, key.sequence, key.message, static_cast<std::uint32_t>(rank_), key.signature, kind};
}

// The last that is done with an entry, and with its transfer, which its owner may free from then on.
void UcxMessenger::finish(Entry* e, const std::string& error) {
  Transfer* const t = e->transfer;
  if (t != nullptr && error.empty() && e->kind != Entry::Kind::control) {
    Traffic& traffic = peer(e->peer).traffic;
    if (e->kind == Entry::Kind::sending) {
      ++traffic.messages_sent;
      traffic.bytes_sent += e->bytes;
    } else {
      ++traffic.messages_received;
      traffic.bytes_received += e->bytes;
    }
  }
  if (e->piece != nullptr) payloads_.give(std::exchange(e->piece, nullptr), piece_bytes);
  entries_.give(e);
  if (t == nullptr) return;
  t->request = nullptr;
  t->error = error;
  t->state.store(error.empty() ? Transfer::State::done : Transfer::State::failed, std::memory_order_release);
}

// It is over, but the peer may need this rank's help to make the connection.
void UcxMessenger::complete(Entry* e) {
  Peer& p = peer(e->peer);
  if (p.linked() || p.ep == nullptr || e->transfer == nullptr) return finish(e);
  e->next = p.held;
  p.held = e;
}

void UcxMessenger::release_held(Peer& p) {
  while (Entry* const e = p.held) {
    p.held = e->next;
    finish(e);
  }
}

// -- Arrivals. Handlers may be called by UCX in the middle of anything; they start nothing but receives.

ucs_status_t UcxMessenger::on_message(void* self, const void* header, std::size_t header_bytes, void* data, std::size_t bytes,
                                      const ucp_am_recv_param_t* param) {
  auto& m = *static_cast<UcxMessenger*>(self);
  Header h;
  if (header_bytes >= sizeof h) std::memcpy(&h, header, sizeof h);
  if (header_bytes < sizeof h || (header_bytes > sizeof h && bytes != 0) || h.source >= m.peers_.size()) {
    detail::log().warn("UCX: dropped a message that is not from a rank of this world");
    return UCS_OK;
  }
  if (h.padding > bytes) {
    detail::log().warn("UCX: dropped a message of {} bytes that says that {} are padding", bytes, h.padding);
    return UCS_OK;
  }
  Peer& p = m.peer(static_cast<int>(h.source));
  ++p.messages_arrived;
  p.room.hear(h.arrived);
  if (header_bytes > sizeof h) return m.arrived(h, static_cast<std::byte*>(const_cast<void*>(header)) + sizeof h, header_bytes - sizeof h, 0);
  if ((param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) == 0) data = static_cast<std::byte*>(data) + h.padding;
  return h.kind == Header::data ? m.arrived(h, data, bytes - h.padding, param->recv_attr) : m.control_arrived(h);
}

bool UcxMessenger::same_call(Entry* posted, const Header& h, std::size_t bytes) {
  if (posted->header.signature == h.signature && posted->bytes == bytes) return true;
  if (posted->transfer != nullptr) posted->transfer->mismatch = true;
  finish(posted, posted->bytes == bytes ? fmt::format("rank {} made another call than this rank", posted->peer)
                                        : fmt::format("rank {} sent {} bytes where {} were expected", posted->peer, bytes, posted->bytes));
  return false;
}

ucs_status_t UcxMessenger::arrived(const Header& h, void* data, std::size_t bytes, std::uint64_t attributes) {
  Peer& p = peer(static_cast<int>(h.source));
  ++p.arrived;
  look_for_end(p);
  Entry* const posted = table_.take(Entry::Kind::posted, h, p.rank);
  if (posted == nullptr && forgotten_.contains(h.communicator)) {
    let_go(p.rank, h.communicator);
    return UCS_OK;
  }
  Flow& f = p.flows.of(h.communicator);
  f.hear(h.consumed);
  if (f.waiting()) note(f);
  if (posted == nullptr && !is_abandoned(h)) return keep(h, data, bytes, attributes);
  consumed(f, bytes);
  if (posted == nullptr) return UCS_OK;
  if (!same_call(posted, h, bytes)) return UCS_OK;
  if ((attributes & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0) {
    start_rendezvous(posted, data);
    return UCS_INPROGRESS;
  }
  if (bytes != 0) std::memcpy(posted->data, data, bytes);
  complete(posted);
  return UCS_OK;
}

ucs_status_t UcxMessenger::keep(const Header& h, void* data, std::size_t bytes, std::uint64_t attributes) {
  Entry* const e = new_entry(Entry::Kind::arrived, static_cast<int>(h.source), h, data, bytes, nullptr);
  table_.insert(e);
  e->payload = (attributes & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0   ? Entry::Payload::rendezvous
               : bytes == 0                                     ? Entry::Payload::none
               : (attributes & UCP_AM_RECV_ATTR_FLAG_DATA) != 0 ? Entry::Payload::held
                                                                : Entry::Payload::pooled;
  if (e->payload == Entry::Payload::none) return UCS_OK;
  if (e->payload != Entry::Payload::pooled) return UCS_INPROGRESS;
  e->data = payloads_.take(bytes);
  std::memcpy(e->data, data, bytes);
  return UCS_OK;
}

void UcxMessenger::drop(Entry* e) {
  if (e->payload == Entry::Payload::pooled) payloads_.give(e->data, e->bytes);
  if (e->payload == Entry::Payload::rendezvous) ucp_am_data_release(worker_.get(), e->data);
  if (e->payload == Entry::Payload::held) ucp_am_data_release(worker_.get(), static_cast<std::byte*>(e->data) - e->header.padding);
  entries_.give(e);
}

void UcxMessenger::deliver(Entry* posted, Entry* arrived) {
  consumed(peer(arrived->peer).flows.of(arrived->header.communicator), arrived->bytes);
  if (!same_call(posted, arrived->header, arrived->bytes)) return drop(arrived);
  if (arrived->payload == Entry::Payload::rendezvous) {
    void* const descriptor = arrived->data;
    entries_.give(arrived);
    return start_rendezvous(posted, descriptor);
  }
  if (posted->bytes != 0) std::memcpy(posted->data, arrived->data, posted->bytes);
  drop(arrived);
  complete(posted);
}

ucs_status_t UcxMessenger::control_arrived(const Header& h) {
  Peer& p = peer(static_cast<int>(h.source));
  if (h.kind == Header::goodbye) {
    p.said_goodbye = true;
    p.goodbye_count = h.communicator;
    look_for_end(p);
  } else if (h.kind == Header::linked) {
    p.heard = true;
    if (p.state == Peer::State::unused) linking_.push_back(p.rank);
    look_for_link(p);
  } else if (h.kind == Header::goodbye_seen) {
    p.knows_we_leave = true;
  } else if (h.kind == Header::notice && !forgotten_.contains(h.communicator)) {
    notices_.push_back({h.communicator, h.sequence, h.message, p.rank});
    any_notice_.store(true, std::memory_order_release);
  } else if (h.kind == Header::withdrawn) {
    // Its sender gave up; if it is being received already, that ends by itself.
    if (Entry* const e = table_.take(Entry::Kind::arrived, h, p.rank); e != nullptr) {
      consumed(p.flows.of(h.communicator), e->bytes);
      drop(e);
    }
  } else if (h.kind == Header::credit || h.kind == Header::unlimited) {
    heard(h);
  }
  return UCS_OK;
}

// -- The interface

void UcxMessenger::send(int to, const MessageKey& key, const void* data, std::size_t bytes, Transfer& t) {
  const std::lock_guard lock(mutex_);
  Entry* const e = new_entry(Entry::Kind::sending, to, header_of(key, Header::data), const_cast<void*>(data), bytes, &t);
  if (std::string why; !usable(to, why)) return finish(e, why);
  if (!connect(peer(to))) return finish(e, peer(to).why);
  start_or_wait(peer(to).flows.of(key.communicator), e);
}

void UcxMessenger::recv(int from, const MessageKey& key, void* data, std::size_t bytes, Transfer& t) {
  const std::lock_guard lock(mutex_);
  Entry* const e = new_entry(Entry::Kind::posted, from, header_of(key, Header::data), data, bytes, &t);
  std::string why;
  // An endpoint, although nothing is sent: without one nobody would tell that the peer died.
  const bool connected = usable(from, why) && connect(peer(from));
  // What arrived before its sender left or died is as good as any.
  if (Entry* const early = from >= 0 && from < static_cast<int>(peers_.size()) ? table_.take(Entry::Kind::arrived, e->header, from) : nullptr) {
    deliver(e, early);
    settle_flows();
    return;
  }
  if (!connected) return finish(e, why.empty() ? peer(from).why : why);
  table_.insert(e);
}

bool UcxMessenger::advance(int limit) {
  bool any = false;
  for (int i = 0; i < limit && ucp_worker_progress(worker_.get()) != 0; ++i) any = true;
  return settle() || any;
}

bool UcxMessenger::progress() {
  const std::lock_guard lock(mutex_);
  return advance(rounds_per_progress);
}

void UcxMessenger::cancel(Transfer& t) {
  const std::lock_guard lock(mutex_);
  if (t.state.load(std::memory_order_acquire) != Transfer::State::pending) return;
  auto* const e = static_cast<Entry*>(t.request);
  const std::string text = fmt::format("the transfer with rank {} was cancelled", e->peer);
  if (e->kind == Entry::Kind::posted) {
    table_.remove(e);
    return finish(e, text);
  }
  if (e->kind == Entry::Kind::waiting) {
    peer(e->peer).flows.of(e->header.communicator).remove(e);
    return finish(e, text);
  }
  release_held(peer(e->peer));
  if (t.finished()) return;
  // UCX cannot stop an active message. One that nobody asks for is let go by the receiver; one that moves will end.
  Peer& p = peer(e->peer);
  if (e->kind == Entry::Kind::sending && p.state == Peer::State::connected) send_control(p, Header::withdrawn, e->header);
  if (progress_until(Clock::now() + cancel_patience, [&] { return t.finished(); })) return;
  break_connection(p, fmt::format("rank {}: the connection was closed because {}", p.rank, text));
  progress_until(Clock::now() + cancel_patience, [&] { return t.finished(); });
  if (t.finished()) return;
  detail::log().error("UCX: {} but UCX does not let go of its buffer", text);
  e->transfer = nullptr;
  t.request = nullptr;
  t.error = text;
  t.state.store(Transfer::State::failed, std::memory_order_release);
}

void UcxMessenger::notify(int to, const Notice& n) {
  const std::lock_guard lock(mutex_);
  if (std::string why; !usable(to, why) || !connect(peer(to))) return;
  Header h = header_of({n.communicator, n.sequence, n.word, 0}, Header::notice);
  send_control(peer(to), Header::notice, h);
}

bool UcxMessenger::has_unsent() const {
  const std::lock_guard lock(mutex_);
  for (const Entry* e = in_flight_; e != nullptr; e = e->right)
    if (e->kind == Entry::Kind::control) return true;
  return false;
}

bool UcxMessenger::take_notice(std::uint64_t communicator, Notice& out) {
  if (!any_notice_.load(std::memory_order_acquire)) return false;
  const std::lock_guard lock(mutex_);
  const auto at = std::find_if(notices_.begin(), notices_.end(), [&](const Notice& n) { return n.communicator == communicator; });
  if (at == notices_.end()) return false;
  out = *at;
  notices_.erase(at);
  any_notice_.store(!notices_.empty(), std::memory_order_release);
  return true;
}

int UcxMessenger::lost_peer(std::string* why) const {
  const std::lock_guard lock(mutex_);
  if (why != nullptr && lost_ >= 0) *why = peers_[static_cast<std::size_t>(lost_)].why;
  return lost_;
}

bool UcxMessenger::arm() {
  const std::lock_guard lock(mutex_);
  return worker_.event_fd() >= 0 && failing_.empty() && acknowledge_.empty() && due_.empty() && linking_.empty() && excuses_.empty() && ucp_worker_arm(worker_.get()) == UCS_OK;
}

Traffic UcxMessenger::traffic(int of) const {
  const std::lock_guard lock(mutex_);
  return peers_[static_cast<std::size_t>(of)].traffic;
}

}  // namespace libcoll::xport::ucx
