// Whether one more small message surely finds room in the kernel's buffer to a peer. Not thread-safe; knows nothing of UCX.
#pragma once

#include <cstddef>
#include <cstdint>

namespace libcoll::xport::ucx {

// Every message carries how many of the other side's have arrived. Over TCP they arrive in order, so that is a proof of what has
// left the kernel. So many small ones, and one more, take less than Linux's smallest buffer for sending (16 KiB; each up to 2.3).
class Room {
 public:
  static constexpr std::size_t small_max = 1024;  // bytes
  static constexpr std::uint16_t most_unproved = 3;

  bool surely() const { return asked_for_ == 0 && !large_unproved_ && unproved() <= most_unproved; }
  // `asked_for`: its data may follow only when the receiver asks for it, behind other messages.
  void started(std::size_t bytes, bool asked_for) {
    ++sent_;
    if (bytes > small_max) await_proof(sent_);
    if (asked_for) ++asked_for_;
  }
  // UCX has nothing of its data any more, but the kernel may: the next message is behind it.
  void ended_asked_for() {
    --asked_for_;
    await_proof(static_cast<std::uint16_t>(sent_ + 1));
  }
  // Modulo 2^16. Words may overtake each other.
  void hear(std::uint16_t arrived) {
    if (later(arrived, arrived_)) arrived_ = arrived;
    if (large_unproved_ && !later(proof_, arrived_)) large_unproved_ = false;
  }

 private:
  static bool later(std::uint16_t a, std::uint16_t b) { return static_cast<std::int16_t>(a - b) > 0; }
  std::uint16_t unproved() const { return static_cast<std::uint16_t>(sent_ - arrived_); }
  void await_proof(std::uint16_t message) {
    large_unproved_ = true;
    proof_ = message;
  }

  std::uint16_t sent_ = 0, arrived_ = 0;
  std::uint16_t proof_ = 0;  // the message whose arrival says that nothing large is left
  bool large_unproved_ = false;
  int asked_for_ = 0;
};

}  // namespace libcoll::xport::ucx
