// Messages between ranks that live in one process: a Messenger over queues under one mutex. Delays are random but
// counted in calls of progress(), so that a single thread that takes ranks by turns sees any order of events.
#pragma once

#include <cstring>
#include <list>
#include <mutex>
#include <random>
#include <vector>

#include "transports/messenger.hpp"

namespace libcoll::test {

// What the ranks of a world share; must outlive their messengers.
class InprocNetwork {
 public:
  // A message is seen after up to so many calls of its receiver's progress(); 0: at once.
  InprocNetwork(int ranks, unsigned most_delay, std::uint64_t seed) : boxes(static_cast<std::size_t>(ranks)), most_delay_(most_delay), random_(seed) {}

  struct Message {
    int from;
    xport::MessageKey key;
    const void* data;
    std::size_t bytes;
    std::vector<std::byte> copy;  // if the send was done at once
    xport::Transfer* sender;      // else
    unsigned delay;
  };
  struct Posted {
    int from;
    xport::MessageKey key;
    void* data;
    std::size_t bytes;
    xport::Transfer* transfer;
  };
  struct Box {
    std::list<Message> messages;
    std::list<Posted> posted;
    std::list<xport::Notice> notices;
  };
  unsigned draw_delay() { return most_delay_ == 0 ? 0 : static_cast<unsigned>(random_() % (most_delay_ + 1)); }
  bool draw_half() { return random_() % 2 == 0; }
  Box& box(int rank) { return boxes[static_cast<std::size_t>(rank)]; }

  std::mutex mutex;
  std::vector<Box> boxes;

 private:
  unsigned most_delay_;
  std::mt19937_64 random_;
};

class InprocMessenger final : public xport::Messenger {
 public:
  InprocMessenger(InprocNetwork& network, int rank) : net_(network), rank_(rank) {}

  // Half of the sends are done at once, half only when they have been received.
  void send(int peer, const xport::MessageKey& key, const void* data, std::size_t bytes, xport::Transfer& t) override {
    const std::lock_guard lock(net_.mutex);
    InprocNetwork::Message m{rank_, key, data, bytes, {}, nullptr, net_.draw_delay()};
    if (net_.draw_half()) {
      m.copy.resize(bytes);
      if (bytes != 0) std::memcpy(m.copy.data(), data, bytes);
      end(t, nullptr, false);
    } else {
      m.sender = &t;
      t.state.store(State::pending, std::memory_order_relaxed);
    }
    net_.box(peer).messages.push_back(std::move(m));
    ++sent_;
  }
  void recv(int peer, const xport::MessageKey& key, void* data, std::size_t bytes, xport::Transfer& t) override {
    const std::lock_guard lock(net_.mutex);
    t.state.store(State::pending, std::memory_order_relaxed);
    net_.box(rank_).posted.push_back({peer, key, data, bytes, &t});
  }
  bool progress() override {
    const std::lock_guard lock(net_.mutex);
    InprocNetwork::Box& box = net_.box(rank_);
    bool any = false;
    for (auto m = box.messages.begin(); m != box.messages.end();) {
      const bool arrived = m->delay == 0 || --m->delay == 0;
      if (arrived && deliver(box, *m)) any = true, m = box.messages.erase(m);
      else ++m;
    }
    return any;
  }
  void cancel(xport::Transfer& t) override {
    const std::lock_guard lock(net_.mutex);
    net_.box(rank_).posted.remove_if([&](const InprocNetwork::Posted& p) { return p.transfer == &t; });
    for (InprocNetwork::Box& box : net_.boxes) box.messages.remove_if([&](const InprocNetwork::Message& m) { return m.sender == &t; });
    if (!t.finished()) end(t, "cancelled", false);
  }
  void notify(int peer, const xport::Notice& n) override {
    const std::lock_guard lock(net_.mutex);
    net_.box(peer).notices.push_back({n.communicator, n.sequence, n.word, rank_});
  }
  bool take_notice(std::uint64_t communicator, xport::Notice& out) override {
    const std::lock_guard lock(net_.mutex);
    auto& notices = net_.box(rank_).notices;
    for (auto n = notices.begin(); n != notices.end(); ++n) {
      if (n->communicator != communicator) continue;
      out = *n;
      notices.erase(n);
      return true;
    }
    return false;
  }
  void forget(std::uint64_t communicator) override {
    const std::lock_guard lock(net_.mutex);
    net_.box(rank_).messages.remove_if([&](const InprocNetwork::Message& m) { return m.key.communicator == communicator; });
  }
  int lost_peer(std::string*) const override { return -1; }
  int event_fd() const override { return -1; }
  bool arm() override { return false; }
  xport::Traffic traffic(int) const override { return {.messages_sent = sent_}; }
  std::string text() const override { return "queues within a process"; }

 private:
  using State = xport::Transfer::State;
  static void end(xport::Transfer& t, const char* error, bool mismatch) {
    if (error != nullptr) t.error = error;
    t.mismatch = mismatch;
    t.state.store(error != nullptr ? State::failed : State::done, std::memory_order_release);
  }

  bool deliver(InprocNetwork::Box& box, InprocNetwork::Message& m) {
    for (auto p = box.posted.begin(); p != box.posted.end(); ++p) {
      const bool same = p->from == m.from && p->key.communicator == m.key.communicator && p->key.sequence == m.key.sequence && p->key.message == m.key.message;
      if (!same) continue;
      const bool fits = p->key.signature == m.key.signature && p->bytes == m.bytes;
      if (fits && m.bytes != 0) std::memcpy(p->data, m.sender != nullptr ? m.data : m.copy.data(), m.bytes);
      end(*p->transfer, fits ? nullptr : "another call or length", !fits);
      if (m.sender != nullptr) end(*m.sender, nullptr, false);
      box.posted.erase(p);
      return true;
    }
    return false;
  }

  InprocNetwork& net_;
  const int rank_;
  std::uint64_t sent_ = 0;
};

}  // namespace libcoll::test
