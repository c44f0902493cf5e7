// Messages with a rank of another host. Envelope number k of a pair has a fixed length, and carries a small payload with it; a
// larger one follows as a message of its own: at once if few enough of them wait at the receiver, else when the receiver
// asks for it. Envelopes count as operations of the messenger, so that one waits while many are not looked at
// (docs/adr/0008); the rest is of one operation and never waits there (docs/adr/0011).
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <deque>

#include "libcoll/execution/mailbox.hpp"
#include "libcoll/kernels/copy.hpp"

namespace libcoll::exec {

namespace {

using xport::MessageKey;
using xport::Transfer;

// A payload that goes unasked: 64 of the largest are 4 MiB, what docs/adr/0008 lets a rank keep of a sender.
constexpr std::size_t unasked_max = 64u << 10;
constexpr std::uint64_t credit = 64, credit_step = credit / 2;  // messages; word of so many comes back at once

struct Envelope {
  enum How : std::uint32_t { in_line, follows, on_request };
  std::uint64_t bytes;
  std::int32_t tag;
  std::uint32_t how;
  std::byte payload[112];
};
static_assert(sizeof(Envelope) == 128 && sizeof(Envelope::payload) <= sizeof(Arrival::in_line));

enum Kind : std::uint32_t { payload, request, credits };  // the low bits of a key's message number

bool pending(const Transfer& t) { return t.state.load(std::memory_order_acquire) == Transfer::State::pending; }
bool failed(const Transfer& t) { return t.state.load(std::memory_order_acquire) == Transfer::State::failed; }
bool done(const Transfer& t) { return t.state.load(std::memory_order_acquire) == Transfer::State::done; }

class NetworkLink final : public Link {
 public:
  NetworkLink(Mailbox& b, int r) : Link(b, r), messenger_(*b.engine().messenger()), world_rank_(b.setting().members[static_cast<std::size_t>(r)]) {}

  bool over_network() const override { return true; }

  void send(MessageOp& op) override {
    Sending& s = *sending_.emplace_back(std::make_unique<Sending>());
    s.op = &op;
    s.number = sent_++;
    s.bytes = op.bytes;
    s.data = op.data;
    s.envelope.bytes = op.bytes;
    s.envelope.tag = op.tag;
    if (unasked_ - credited_ >= credit) {  // word may have come since the last call
      messenger_.progress();
      hear_credit();
    }
    const bool unasked = op.bytes <= unasked_max && unasked_ - credited_ < credit;
    s.envelope.how = !unasked ? Envelope::on_request : op.bytes <= sizeof s.envelope.payload ? Envelope::in_line : Envelope::follows;
    if (unasked) ++unasked_;
    if (s.envelope.how == Envelope::in_line && op.bytes != 0) std::memcpy(s.envelope.payload, op.data, op.bytes);
    // The answer is expected before it can come.
    if (s.envelope.how == Envelope::on_request) messenger_.recv(world_rank_, key_of(request, s.number), &s.answer, sizeof s.answer, s.asked);
    messenger_.send(world_rank_, {envelopes_of(box.setting().communicator), s.number, 0, 0}, &s.envelope, sizeof s.envelope, s.enveloped);
    if (s.envelope.how == Envelope::follows) send_payload(s, op.bytes);
    expect_credit();
    advance();
  }

  bool poll() override {
    bool any = false;
    for (int i = 0; i < 32; ++i) {
      if (!expecting_) {
        expecting_ = true;
        messenger_.recv(world_rank_, {envelopes_of(box.setting().communicator), received_, 0, 0}, &envelope_, sizeof envelope_, expected_);
      }
      if (pending(expected_)) break;
      if (failed(expected_)) {
        box.lose(*this, why_of(expected_));
        break;
      }
      expecting_ = false;
      Arrival a;
      a.source = peer;
      a.tag = envelope_.tag;
      a.link = this;
      a.bytes = envelope_.bytes;
      a.how = static_cast<std::uint8_t>(envelope_.how);
      a.key = received_++;
      if (envelope_.how == Envelope::in_line) a.data = envelope_.payload;
      box.arrived(a);
      any = true;
    }
    return any;
  }

  bool claim(Arrival& a, bool fits) override {
    if (a.how == Envelope::on_request) {
      answer(static_cast<std::uint32_t>(a.key), fits);
    } else {
      if (++taken_ % credit_step == 0) grant();
      // What nobody wants has to go somewhere.
      if (!fits && a.how == Envelope::follows) receive(nullptr, static_cast<std::uint32_t>(a.key), a.bytes);
    }
    return true;
  }

  void take(Arrival& a, MessageOp& op) override {
    if (a.how != Envelope::in_line && op.bytes != 0) return receive(&op, static_cast<std::uint32_t>(a.key), op.bytes);
    if (op.bytes != 0) std::memcpy(op.data, a.data, op.bytes);
    box.finish(op);
  }

  bool advance() override {
    bool any = false;
    std::string trouble;
    for (std::size_t i = 0; i < sending_.size();) {
      Sending& s = *sending_[i];
      const Transfer* bad = nullptr;
      for (const Transfer* t : {&s.enveloped, &s.asked, &s.carried})
        if (failed(*t) && !(t == &s.carried && s.op == nullptr)) bad = t;
      if (bad != nullptr && trouble.empty()) trouble = why_of(*bad);
      if (bad == nullptr && !move_on(s, any)) {
        ++i;
        continue;
      }
      if (MessageOp* const op = std::exchange(s.op, nullptr); op != nullptr) {
        any = true;
        if (bad != nullptr) box.fail(*op, Errc::peer_lost, why_of(*bad), peer);
        else box.finish(*op);
      }
      if (s.pending()) {
        ++i;
        continue;
      }
      sending_.erase(sending_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    any |= end_receives(trouble);
    any |= std::erase_if(answers_, [](const auto& a) { return !pending(a->transfer); }) != 0;
    any |= hear_credit();
    if (!trouble.empty()) box.lose(*this, trouble);
    return any;
  }

  void cancel(MessageOp& op) override {
    for (auto& s : sending_) {
      if (s->op != &op) continue;
      s->op = nullptr;
      s->data = nullptr;
      if (s->carried.state.load() == Transfer::State::idle) return;  // nothing of the buffer is under way
      messenger_.cancel(s->carried);
      if (lost || s->bytes == 0 || done(s->carried)) return;
      // The receiver waits for a payload, or will: another length tells it.
      s->carried.state.store(Transfer::State::idle);
      return send_payload(*s, 0);
    }
    for (auto& r : receiving_) {
      if (r->op != &op) continue;
      messenger_.cancel(r->transfer);
      r->op = nullptr;
      if (done(r->transfer)) return box.finish(op);
      if (lost) return;
      // It still comes, and must go somewhere.
      r->scratch = std::make_unique_for_overwrite<std::byte[]>(op.bytes);
      messenger_.recv(world_rank_, key_of(payload, r->number), r->scratch.get(), op.bytes, r->transfer);
      return;
    }
  }

  bool has_duties() const override { return !lost && (!sending_.empty() || !receiving_.empty() || !answers_.empty()); }

  void close() override {
    for (auto& s : sending_)
      for (Transfer* t : {&s->enveloped, &s->asked, &s->carried}) drop(*t);
    for (auto& r : receiving_) drop(r->transfer);
    for (auto& a : answers_) drop(a->transfer);
    drop(expected_);
    drop(granted_);
  }

 private:
  struct Sending {
    MessageOp* op = nullptr;      // null: it was given up, or has ended already
    std::uint32_t number = 0;
    std::size_t bytes = 0;
    const void* data = nullptr;
    Envelope envelope{};
    std::uint32_t answer = 0;     // 1: send it; 2: nobody wants it
    Transfer enveloped, asked, carried;
    bool pending() const { return exec::pending(enveloped) || exec::pending(asked) || exec::pending(carried); }
  };
  struct Receiving {
    MessageOp* op = nullptr;      // null: nobody wants it any more
    std::uint32_t number = 0;
    std::unique_ptr<std::byte[]> scratch;
    Transfer transfer;
  };
  struct Answer {
    std::uint32_t word = 0;
    Transfer transfer;
  };

  // True once it is over.
  bool move_on(Sending& s, bool& any) {
    if (done(s.asked) && s.answer != 0 && s.carried.state.load() == Transfer::State::idle) {
      if (s.answer == 1 && s.bytes != 0) {
        send_payload(s, s.op != nullptr ? s.bytes : 0);
        if (s.op != nullptr) box.step(*s.op);
        any = true;
      }
      s.answer = 0;
    }
    return !s.pending();
  }

  bool end_receives(std::string& trouble) {
    bool any = false;
    for (std::size_t i = 0; i < receiving_.size();) {
      Receiving& r = *receiving_[i];
      if (pending(r.transfer)) {
        ++i;
        continue;
      }
      any = true;
      if (r.op != nullptr && done(r.transfer)) box.finish(*r.op);
      else if (r.op != nullptr && r.transfer.mismatch) box.fail(*r.op, Errc::mismatch, fmt::format("rank {} withdrew the message", peer), peer);
      else if (r.op != nullptr) box.fail(*r.op, Errc::peer_lost, why_of(r.transfer), peer);
      if (failed(r.transfer) && !r.transfer.mismatch && trouble.empty()) trouble = why_of(r.transfer);
      receiving_.erase(receiving_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    return any;
  }

  MessageKey key_of(Kind kind, std::uint32_t number) const { return {payloads_of(box.setting().communicator), 0, number << 2 | kind, 0}; }

  void send_payload(Sending& s, std::size_t bytes) { messenger_.send(world_rank_, key_of(payload, s.number), s.data, bytes, s.carried); }

  void receive(MessageOp* op, std::uint32_t number, std::size_t bytes) {
    Receiving& r = *receiving_.emplace_back(std::make_unique<Receiving>());
    r.op = op;
    r.number = number;
    if (op == nullptr) r.scratch = std::make_unique_for_overwrite<std::byte[]>(bytes);
    messenger_.recv(world_rank_, key_of(payload, number), op != nullptr ? op->data : r.scratch.get(), bytes, r.transfer);
  }

  void answer(std::uint32_t number, bool send_it) {
    Answer& a = *answers_.emplace_back(std::make_unique<Answer>());
    a.word = send_it ? 1 : 2;
    messenger_.send(world_rank_, key_of(request, number), &a.word, sizeof a.word, a.transfer);
  }
  void grant() {
    Answer& a = *answers_.emplace_back(std::make_unique<Answer>());
    messenger_.send(world_rank_, key_of(credits, credits_told_++), &a.word, sizeof a.word, a.transfer);
  }
  bool hear_credit() {
    bool any = false;
    for (; granting_ && done(granted_); any = true) {
      granting_ = false;
      credited_ += credit_step;
      ++credits_heard_;
      expect_credit();
    }
    return any;
  }
  void expect_credit() {
    if (granting_ || unasked_ == credited_) return;
    granting_ = true;
    messenger_.recv(world_rank_, key_of(credits, credits_heard_), &granted_word_, sizeof granted_word_, granted_);
  }

  std::string why_of(const Transfer& t) const { return fmt::format("rank {} was lost: {}", peer, t.error); }
  void drop(Transfer& t) {
    if (exec::pending(t)) messenger_.cancel(t);
  }

  xport::Messenger& messenger_;
  const int world_rank_;
  // As sender:
  std::uint32_t sent_ = 0, credits_heard_ = 0;
  std::uint64_t unasked_ = 0, credited_ = 0;  // messages that went unasked; of these, how many are known to have met a receive
  std::vector<std::unique_ptr<Sending>> sending_;
  bool granting_ = false;
  std::uint32_t granted_word_ = 0;
  Transfer granted_;
  // As receiver:
  std::uint32_t received_ = 0, credits_told_ = 0;
  std::uint64_t taken_ = 0;
  bool expecting_ = false;
  Envelope envelope_{};
  Transfer expected_;
  std::vector<std::unique_ptr<Receiving>> receiving_;
  std::vector<std::unique_ptr<Answer>> answers_;
};

}  // namespace

std::unique_ptr<Link> make_network_link(Mailbox& box, int peer) { return std::make_unique<NetworkLink>(box, peer); }

// Communicators have ids of a rank and a count: their highest two bits are free.
std::uint64_t envelopes_of(std::uint64_t communicator) { return communicator | std::uint64_t{1} << 63; }
std::uint64_t payloads_of(std::uint64_t communicator) { return communicator | std::uint64_t{1} << 62; }

}  // namespace libcoll::exec
