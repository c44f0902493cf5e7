// Messages with a rank of the same host, over a pair of lanes (transports/shm/lane.hpp). The sender says where its data is,
// the receiver follows, as in collectives.
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>

#include "libcoll/execution/mailbox.hpp"
#include "libcoll/kernels/copy.hpp"

namespace libcoll::exec {

namespace shm = xport::shm;
using shm::Carried;
using shm::Fate;

namespace {

class LaneLink final : public Link {
 public:
  LaneLink(Mailbox& b, int r)
      : Link(b, r), lanes_(b.lanes()), heap_(lanes_.heap()), place_(b.setting().places[static_cast<std::size_t>(r)]), process_(lanes_.group().peer(place_)) {}

  void send(MessageOp& op) override {
    if (!out_.open(lanes_, place_)) return no_room(op);
    if (queue_.empty() && !out_.full()) push(op);
    else queue_.push_back(&op);
  }

  bool poll() override {
    constexpr int most = 32;  // others want to be looked at, too
    if (!in_.open(lanes_, place_)) return false;
    bool any = false;
    for (int i = 0; i < most; ++i) {
      const shm::Cell* c = in_.next();
      if (c == nullptr) break;
      Arrival a;
      a.source = peer;
      a.tag = c->tag;
      a.link = this;
      a.bytes = c->bytes;
      a.how = static_cast<std::uint8_t>(c->carried);
      a.key = c->fate_at;
      if (c->carried == Carried::in_line) a.data = c->payload;
      else if (c->carried == Carried::copied) a.data = heap_.at(c->at);
      else a.at = c->at;
      box.arrived(a);
      in_.pop();
      any = true;
    }
    return any;
  }

  bool advance() override {
    bool any = false;
    while (!queue_.empty() && !out_.full()) {
      MessageOp& op = *queue_.front();
      queue_.pop_front();
      push(op);
      any = true;
    }
    if (!lent_.empty()) any |= look_at_lent();
    if (!incoming_.empty()) any |= take_chunks();
    return any;
  }

  bool claim(Arrival& a, bool fits) override {
    if (a.key == 0) {
      in_.took_copied();
      return true;
    }
    if (lanes_.change(a.key, Fate::open, fits ? Fate::claimed : Fate::done)) return true;
    lanes_.fate(a.key).store(Fate::dropped, std::memory_order_release);
    return false;
  }

  void take(Arrival& a, MessageOp& op) override {
    const void* data = a.data;
    switch (static_cast<Carried>(a.how)) {
      case Carried::staged:
        if (lost) return box.fail(op, Errc::peer_lost, why, peer);
        return incoming_.push_back({&op, a.key, op.bytes, 0});
      case Carried::remote:
        if (!process_.same_process) return read(a, op);
        data = reinterpret_cast<const void*>(a.at);
        break;
      case Carried::shared: data = heap_.at(a.at); break;
      default: break;
    }
    if (op.bytes != 0) kernels::copy(op.data, data, op.bytes);
    took(a);
    box.finish(op);
  }

  void cancel(MessageOp& op) override {
    if (!op.sends) {
      for (Incoming& i : incoming_)
        if (i.op == &op) i.op = nullptr;  // its chunks still come
      return;
    }
    if (std::erase(queue_, &op) != 0) return;
    const auto at = std::find_if(lent_.begin(), lent_.end(), [&](const Lent& l) { return l.op == &op; });
    if (at == lent_.end()) return;
    if (lanes_.change(at->fate_at, Fate::open, Fate::withdrawn)) {
      withdrawn_.push_back(at->fate_at);
      lent_.erase(at);
      return;
    }
    if (at->carried == Carried::staged && lanes_.fate(at->fate_at).load(std::memory_order_acquire) == Fate::claimed) {
      at->op = nullptr;  // the receiver is told, once there is room
      return;
    }
    const std::uint64_t fate_at = at->fate_at;
    lent_.erase(at);
    if (!wait_for_reader(fate_at)) return;  // it might still write its word
    lanes_.give_fate(fate_at);
    box.finish(op);
  }

  bool has_duties() const override {
    const auto orphaned = [](const auto& x) { return x.op == nullptr; };
    return !lost && (std::any_of(lent_.begin(), lent_.end(), orphaned) || std::any_of(incoming_.begin(), incoming_.end(), orphaned));
  }

  bool is_dead(std::string& text) override {
    if (!lanes_.group().host().lost(process_.local)) return false;
    text = fmt::format("rank {} (pid {}) died", peer, process_.pid);
    return true;
  }

 private:
  struct Lent {
    MessageOp* op;                // null: given up while the receiver waits for chunks
    std::uint64_t fate_at;
    Carried carried;
    std::size_t staged = 0;       // bytes
  };
  struct Incoming {
    MessageOp* op;                // null: given up
    std::uint64_t fate_at;
    std::size_t left, done;       // bytes
  };

  void no_room(MessageOp& op) {
    box.fail(op, Errc::system, "the arena has no room for messages; raise LIBCOLL_ARENA_BYTES", -1);
  }

  // There is room for an envelope.
  void push(MessageOp& op) {
    if (out_.copy(op.tag, op.data, op.bytes)) return box.finish(op);
    reclaim();
    const std::uint64_t fate_at = lanes_.take_fate();
    if (fate_at == 0) return no_room(op);
    Carried carried = Carried::in_line;
    std::uint64_t at = 0;
    if (op.bytes > shm::lane_in_line) {
      const shm::Shape& shape = lanes_.group().shape();
      if ((at = heap_.shared_at(op.data, op.bytes)) != 0) {
        carried = Carried::shared;
      } else if (op.bytes >= shape.remote_from.message) {
        carried = Carried::remote;
        at = reinterpret_cast<std::uint64_t>(op.data);
      } else {
        carried = Carried::staged;
        if (!out_.prepare_chunks(lanes_)) {
          lanes_.give_fate(fate_at);
          return no_room(op);
        }
      }
    }
    box.step(op);
    lent_.push_back({&op, fate_at, carried});
    out_.announce(op.tag, op.data, op.bytes, carried, at, fate_at);
  }

  bool look_at_lent() {
    bool any = false;
    for (std::size_t i = 0; i < lent_.size();) {
      Lent& l = lent_[i];
      const Fate fate = lanes_.fate(l.fate_at).load(std::memory_order_acquire);
      const bool over = fate == Fate::done || (fate == Fate::claimed && l.carried == Carried::staged && stage(l, any));
      if (!over) {
        ++i;
        continue;
      }
      lanes_.give_fate(l.fate_at);
      MessageOp* op = l.op;
      lent_.erase(lent_.begin() + static_cast<std::ptrdiff_t>(i));
      if (op != nullptr) box.finish(*op);
      any = true;
    }
    return any;
  }

  // Chunks, as long as there is room. True if the message is over for this rank.
  bool stage(Lent& l, bool& any) {
    while (out_.has_room_for_chunk()) {
      any = true;
      if (l.op == nullptr) {
        out_.put_chunk(heap_, l.fate_at, nullptr, 0, true);
        return true;
      }
      const std::size_t n = std::min(shm::chunk_bytes, l.op->bytes - l.staged);
      out_.put_chunk(heap_, l.fate_at, static_cast<const std::byte*>(l.op->data) + l.staged, n, false);
      box.step(*l.op);
      l.staged += n;
      if (l.staged == l.op->bytes) return true;
    }
    return false;
  }

  bool take_chunks() {
    bool any = false;
    while (!incoming_.empty()) {
      const shm::Chunk* c = in_.next_chunk();
      if (c == nullptr) break;
      any = true;
      // A fate serves again while chunks of its last message are still here: those come first.
      const auto i = std::find_if(incoming_.begin(), incoming_.end(), [&](const Incoming& x) { return x.fate_at == c->fate_at; });
      if (i == incoming_.end()) {
        in_.pop_chunk();
        continue;
      }
      if (i->op != nullptr && c->bytes != 0) {
        kernels::copy(static_cast<std::byte*>(i->op->data) + i->done, in_.chunk_data(heap_), c->bytes);
        box.step(*i->op);
      }
      i->done += c->bytes;
      i->left -= c->bytes;
      const bool withdrawn = c->withdrawn != 0;
      in_.pop_chunk();
      if (i->left != 0 && !withdrawn) continue;
      MessageOp* op = i->op;
      incoming_.erase(i);
      if (op == nullptr) continue;
      if (withdrawn) box.fail(*op, Errc::mismatch, fmt::format("rank {} withdrew the message", peer), peer);
      else box.finish(*op);
    }
    return any;
  }

  void read(Arrival& a, MessageOp& op) {
    const bool good = shm::read_remote(process_.pid, op.data, a.at, op.bytes);
    const int error = errno;
    took(a);
    if (good) return box.finish(op);
    std::string what;
    if (!is_dead(what)) what = fmt::format("memory of rank {} (pid {}) cannot be read: {}", peer, process_.pid, std::strerror(error));
    box.fail(op, Errc::peer_lost, what, peer);
  }

  void took(Arrival& a) {
    if (a.key != 0) lanes_.fate(a.key).store(Fate::done, std::memory_order_release);
  }

  // It reads this rank's buffer; that ends by itself, unless it is stopped or dead.
  bool wait_for_reader(std::uint64_t fate_at) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point limit = Clock::now() + std::chrono::seconds(2);
    std::string text;
    while (lanes_.fate(fate_at).load(std::memory_order_acquire) != Fate::done) {
      if (Clock::now() > limit || is_dead(text)) return false;
      sched_yield();
    }
    return true;
  }

  // Fates of messages that were withdrawn, once the receiver has seen that.
  void reclaim() {
    std::erase_if(withdrawn_, [&](std::uint64_t at) {
      if (lanes_.fate(at).load(std::memory_order_acquire) != Fate::dropped) return false;
      lanes_.give_fate(at);
      return true;
    });
  }

  shm::Lanes& lanes_;
  shm::Heap& heap_;
  const int place_;  // in the group of this host
  const shm::Group::Peer& process_;
  shm::LaneOut out_;
  shm::LaneIn in_;
  std::deque<MessageOp*> queue_;     // sends without an envelope
  std::vector<Lent> lent_;           // sends that the receiver is not done with
  std::vector<Incoming> incoming_;   // receives whose chunks are coming
  std::vector<std::uint64_t> withdrawn_;
};

}  // namespace

std::unique_ptr<Link> make_lane_link(Mailbox& box, int peer) { return std::make_unique<LaneLink>(box, peer); }

}  // namespace libcoll::exec
