// Flow control in the messenger: sends that wait for credit, credit that is owed, and messages that count as consumed
// because nobody will ask for them. Handlers of UCX only note what is due; settle_flows() acts on it.
#include <algorithm>

#include "transports/ucx/ucx_impl.hpp"

namespace libcoll::xport::ucx {

void UcxMessenger::start_data(Flow& f, Entry* e) {
  e->kind = Entry::Kind::sending;
  e->header.consumed = f.tell();
  const std::size_t bytes = e->bytes;
  f.started(e->header.sequence, bytes);
  if (!start_send(e)) f.failed_to_start(bytes);
}

void UcxMessenger::start_or_wait(Flow& f, Entry* e) {
  if (f.may_start(e->header.sequence)) return start_data(f, e);
  e->kind = Entry::Kind::waiting;
  f.wait(e);
}

void UcxMessenger::note(Flow& f) {
  if (f.due) return;
  f.due = true;
  due_.push_back(&f);
}

void UcxMessenger::consumed(Flow& f, std::size_t bytes) {
  f.consumed(bytes);
  if (f.must_tell()) note(f);
}

bool UcxMessenger::is_abandoned(const Header& h) const {
  if (abandoned_.empty()) return false;
  const auto at = abandoned_.find(h.communicator);
  return at != abandoned_.end() && at->second.contains(h.sequence);
}

void UcxMessenger::let_go(int sender, std::uint64_t communicator) {
  const Excuse x{sender, communicator};
  if (excuses_.empty() || excuses_.back() != x) excuses_.push_back(x);
}

// Only to who is there and listens.
void UcxMessenger::tell(int to, Header::Kind kind, const Header& h) {
  Peer& p = peer(to);
  if (std::string why; usable(to, why) && p.failing == UCS_OK && connect(p)) send_control(p, kind, h);
}

bool UcxMessenger::settle_flows() {
  const bool any = !due_.empty() || !excuses_.empty();
  while (!due_.empty()) {
    Flow& f = *due_.back();
    due_.pop_back();
    f.due = false;
    // These carry the word along.
    while (Entry* const e = f.take_startable()) start_data(f, e);
    if (!f.must_tell()) continue;
    Header h;
    h.communicator = f.communicator;
    h.consumed = f.tell();
    tell(f.peer, Header::credit, h);
  }
  while (!excuses_.empty()) {
    const Excuse x = excuses_.back();
    excuses_.pop_back();
    Header h;
    h.communicator = x.communicator;
    tell(x.peer, Header::unlimited, h);
  }
  return any;
}

void UcxMessenger::heard(const Header& h) {
  // Word may come after this rank has forgotten the communicator.
  Flow* const f = peer(static_cast<int>(h.source)).flows.find(h.communicator);
  if (f == nullptr) return;
  if (h.kind == Header::unlimited) f->set_unlimited();
  else f->hear(h.consumed);
  if (f->waiting()) note(*f);
}

void UcxMessenger::end_waiting(Peer& p) {
  p.flows.each([&](Flow& f) {
    while (Entry* const e = f.take()) finish(e, p.why);
  });
}

// Nothing waits any longer: the communicator or the messenger is about to go.
void UcxMessenger::start_waiting(Peer& p, Flow& f) {
  while (Entry* const e = f.take()) {
    if (p.state == Peer::State::connected && p.failing == UCS_OK) start_data(f, e);
    else ended(e, p.failing != UCS_OK ? p.failing : UCS_ERR_NOT_CONNECTED);
  }
}

void UcxMessenger::forget(std::uint64_t communicator) {
  const std::lock_guard lock(mutex_);
  forgotten_.add(communicator);
  abandoned_.erase(communicator);
  table_.extract([&](const Entry& e) { return e.kind == Entry::Kind::arrived && e.header.communicator == communicator; },
                 [&](Entry* e) {
                   let_go(e->peer, communicator);
                   drop(e);
                 });
  std::erase_if(notices_, [&](const Notice& n) { return n.communicator == communicator; });
  for (Peer& p : peers_) {
    Flow* const f = p.flows.find(communicator);
    if (f == nullptr) continue;
    start_waiting(p, *f);
    std::erase(due_, f);
    p.flows.erase(communicator);
  }
  settle_flows();
}

void UcxMessenger::abandon(std::uint64_t communicator, std::uint32_t sequence, std::uint32_t first_live) {
  const std::lock_guard lock(mutex_);
  if (forgotten_.contains(communicator)) return;
  const Abandoned& over = abandoned_[communicator].add(sequence, first_live);
  table_.extract([&](const Entry& e) { return e.kind == Entry::Kind::arrived && e.header.communicator == communicator && over.contains(e.header.sequence); },
                 [&](Entry* e) {
                   consumed(peer(e->peer).flows.of(communicator), e->bytes);
                   drop(e);
                 });
  settle_flows();
}

UcxMessenger::FlowState UcxMessenger::flow_state(int with, std::uint64_t communicator) const {
  const std::lock_guard lock(mutex_);
  FlowState s{.credits_sent = credits_sent_, .kept = table_.count(Entry::Kind::arrived)};
  // Looking one up changes nothing that is seen.
  if (Flow* const f = const_cast<Peer&>(peers_[static_cast<std::size_t>(with)]).flows.find(communicator)) {
    s.known = true;
    s.unconsumed = f->unconsumed();
    s.waiting = f->waiting();
  }
  return s;
}

}  // namespace libcoll::xport::ucx
