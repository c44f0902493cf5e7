// Message: one tagged message between two ranks of a communicator that is under way (Comm::isend, Comm::irecv).
// As with MPI: of the messages from one rank to another on one communicator, a receive gets the first that has its tag;
// receives that could have the same message get them in the order in which they were posted; messages that nobody has asked
// for yet are kept. Messages know no order with collectives, and communicators do not see each other's.
// Belongs to the thread that uses its communicator. Progress: as of started collectives (request.hpp).
#pragma once

#include <cstddef>
#include <utility>

#include "libcoll/types.hpp"

namespace libcoll {

namespace exec { struct MessageOp; }

inline constexpr int any_source = -1;  // of receives: whichever rank's message is first

// Movable. Destroying one that is under way cancels it.
class LIBCOLL_API Message {
 public:
  Message() noexcept = default;  // done
  explicit Message(exec::MessageOp* operation) noexcept : operation_(operation) {}
  Message(Message&& other) noexcept
      : operation_(std::exchange(other.operation_, nullptr)), source_(std::exchange(other.source_, -1)), bytes_(std::exchange(other.bytes_, 0)) {}
  Message& operator=(Message&& other) noexcept {
    Message old(std::move(*this));
    operation_ = std::exchange(other.operation_, nullptr);
    source_ = std::exchange(other.source_, -1);
    bytes_ = std::exchange(other.bytes_, 0);
    return *this;
  }
  ~Message() {
    if (operation_ != nullptr) cancel();
  }

  // Whether it is done; moves things on. Throws, once, the Error that it ended with. A send is done when its buffer may be
  // used again, which need not mean that the message was received.
  bool test();
  // Until it is done. Errc::timeout, naming the peer, if nothing happened to it for that long: it is given up then, and the
  // communicator stays usable.
  void wait();
  // Gives up; afterwards the buffer is free. A receive that no message has met leaves no trace. A send whose receiver has not
  // taken it yet is withdrawn: it meets no receive, or ends one with Errc::mismatch.
  void cancel() noexcept;
  // Of a receive that is done: the sender's rank in the communicator; else -1.
  int source() const noexcept { return source_; }
  // Of the message, once it is done.
  std::size_t bytes() const noexcept { return bytes_; }
  explicit operator bool() const noexcept { return operation_ != nullptr; }  // not waited for yet

 private:
  void collect();
  exec::MessageOp* operation_ = nullptr;  // what it needs of its communicator lives as long
  int source_ = -1;
  std::size_t bytes_ = 0;
};

}  // namespace libcoll
