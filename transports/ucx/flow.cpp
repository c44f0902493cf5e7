#include "transports/ucx/flow.hpp"

namespace libcoll::xport::ucx {

void Flow::wait(Entry* e) {
  e->next = nullptr;
  if (first_ == nullptr) {
    first_ = last_ = e;
    return;
  }
  if (!later(last_->header.sequence, e->header.sequence)) {
    last_->next = e;
    last_ = e;
    return;
  }
  Entry** at = &first_;
  while (!later((*at)->header.sequence, e->header.sequence)) at = &(*at)->next;
  e->next = *at;
  *at = e;
}

Entry* Flow::pop() {
  Entry* const e = first_;
  first_ = e->next;
  if (first_ == nullptr) last_ = nullptr;
  e->next = nullptr;
  return e;
}

void Flow::remove(Entry* e) {
  Entry* before = nullptr;
  for (Entry* at = first_; at != nullptr; before = at, at = at->next) {
    if (at != e) continue;
    (before == nullptr ? first_ : before->next) = e->next;
    if (last_ == e) last_ = before;
    e->next = nullptr;
    return;
  }
}

Flow* Flows::find(std::uint64_t communicator) {
  const auto at = all_.find(communicator);
  return at == all_.end() ? nullptr : &at->second;
}

Flow& Flows::look_up(std::uint64_t communicator) {
  last_ = &all_.try_emplace(communicator, peer_, communicator).first->second;
  return *last_;
}

void Flows::erase(std::uint64_t communicator) {
  last_ = nullptr;
  all_.erase(communicator);
}

}  // namespace libcoll::xport::ucx
