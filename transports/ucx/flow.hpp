// Flow control of a pair of ranks in one communicator (docs/adr/0008): how far the sender may run ahead, which of its
// messages wait for that, and what the receiver has to tell it. Not thread-safe; knows nothing of UCX.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "transports/ucx/matching.hpp"

namespace libcoll::xport::ucx {

// One rank's side, as sender to a peer and as receiver from it. Counts are in units and wrap around.
class Flow {
 public:
  Flow(int with, std::uint64_t in) : peer(with), communicator(in) {}
  const int peer;
  const std::uint64_t communicator;
  bool due = false;  // in the messenger's list of those to look after

  // 256 small messages, or 4 MiB: a sender at full speed takes longer for half of it than word of the other half takes to
  // come back, and a receiver can hold it for every rank that sends to it.
  static constexpr std::uint32_t window = 256;
  static constexpr std::uint32_t tell_after = window / 2;  // units consumed without a message back
  static constexpr std::size_t bytes_per_unit = 16 << 10;
  // What goes unasked over TCP, and more than what UCX sends so elsewhere. Only the sender knows, and both must count alike.
  static constexpr std::size_t most_bytes = 1 << 20;
  static constexpr std::uint32_t first_count = 0u - 2 * window;  // wraps around early in every program, not in some after days

  static constexpr std::uint32_t units(std::size_t bytes) { return 1 + static_cast<std::uint32_t>(std::min(bytes, most_bytes) / bytes_per_unit); }

  // -- As sender. A message waits only while a window full of messages of *earlier* operations is unconsumed.
  bool may_start(std::uint32_t sequence) const { return sent_ - known_ < window || !later(sequence, newest_) || unlimited_; }
  void started(std::uint32_t sequence, std::size_t bytes) {
    if (sent_ == known_ || later(sequence, newest_)) newest_ = sequence;
    sent_ += units(bytes);
  }
  void failed_to_start(std::size_t bytes) { sent_ -= units(bytes); }
  // The peer has consumed so much. Words may overtake each other.
  void hear(std::uint32_t count) {
    if (later(count, known_)) known_ = count;
  }
  // The peer drops whatever comes.
  void set_unlimited() { unlimited_ = true; }
  std::uint32_t unconsumed() const { return sent_ - known_; }

  // -- Sends that wait, by operation and then in order
  bool waiting() const { return first_ != nullptr; }
  void wait(Entry*);
  // The first of them, taken out; or null.
  Entry* take() { return first_ == nullptr ? nullptr : pop(); }
  Entry* take_startable() { return first_ == nullptr || !may_start(first_->header.sequence) ? nullptr : pop(); }
  void remove(Entry*);

  // -- As receiver. `consumed`: asked for or dropped.
  void consumed(std::size_t bytes) { consumed_ += units(bytes); }
  bool must_tell() const { return consumed_ - told_ >= tell_after; }
  // For the header of a message that leaves now.
  std::uint32_t tell() { return told_ = consumed_; }

 private:
  static bool later(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) > 0; }
  Entry* pop();

  std::uint32_t sent_ = first_count, known_ = first_count;     // by this rank; of that, what the peer is known to have consumed
  std::uint32_t newest_ = 0;                                   // no unconsumed message is of a later operation
  std::uint32_t consumed_ = first_count, told_ = first_count;  // by this rank; of that, what the peer has been told
  bool unlimited_ = false;
  Entry *first_ = nullptr, *last_ = nullptr;
};

// Those with one peer.
class Flows {
 public:
  explicit Flows(int peer) : peer_(peer) {}
  Flow& of(std::uint64_t communicator) { return last_ != nullptr && last_->communicator == communicator ? *last_ : look_up(communicator); }
  // Null if there is none.
  Flow* find(std::uint64_t communicator);
  void erase(std::uint64_t communicator);
  template <class To>
  void each(const To& to) {
    for (auto& [communicator, flow] : all_) to(flow);
  }

 private:
  Flow& look_up(std::uint64_t communicator);
  int peer_;
  Flow* last_ = nullptr;
  std::unordered_map<std::uint64_t, Flow> all_;
};

}  // namespace libcoll::xport::ucx
