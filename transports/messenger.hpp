// Messenger: messages between ranks of a world, whatever carries them (UCX between hosts; queues between
// threads in tests). One messenger per rank and world. Thread-safe; progress happens inside the calls
// below and nowhere else: there is no hidden thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace libcoll::xport {

// Which message: equal on both sides, and used once per (sender, receiver).
struct MessageKey {
  std::uint64_t communicator = 0;  // unique in the world
  std::uint32_t sequence = 0;      // of the operation in the communicator
  std::uint32_t message = 0;       // of the pair and direction within the operation
  std::uint32_t signature = 0;     // of the call; no part of the match: ranks that differ in it are told
  friend bool operator==(const MessageKey&, const MessageKey&) = default;
};

// A word about an operation, outside its messages: somebody gave it up.
struct Notice {
  std::uint64_t communicator = 0;
  std::uint32_t sequence = 0;
  std::uint32_t word = 0;
  int from = -1;
};

// One send or receive in flight. Owned by the caller, who must not move or free it, nor touch the buffer
// of a receive or overwrite that of a send, until it is done or failed.
struct Transfer {
  enum class State : std::uint8_t { idle, pending, done, failed };
  std::atomic<State> state{State::idle};
  int peer = -1;
  std::string error;               // of a failed one: names the peer
  bool mismatch = false;           // it failed because the peer made another call, not because it is lost
  void* request = nullptr;         // the messenger's own
  bool finished() const { return state.load(std::memory_order_acquire) >= State::done; }
};

// What was sent to the ranks of one host: payload bytes, messages (signals without payload included).
struct Traffic {
  std::uint64_t messages_sent = 0, bytes_sent = 0, messages_received = 0, bytes_received = 0;
};

class Messenger {
 public:
  virtual ~Messenger() = default;
  // Never block. Small ones may be done on return. A receive whose message is of another length fails.
  // What is done needs no more calls of its rank: the receiver gets it even if this rank makes none for long.
  // A send may wait until the peer has asked for messages of earlier operations of the communicator, never for others.
  virtual void send(int peer, const MessageKey&, const void* data, std::size_t bytes, Transfer&) = 0;
  virtual void recv(int peer, const MessageKey&, void* data, std::size_t bytes, Transfer&) = 0;
  // Moves things on. True if anything happened.
  virtual bool progress() = 0;
  // Gives up on transfers that are pending: afterwards each is done or failed, and its buffer free.
  virtual void cancel(Transfer&) = 0;
  // Best effort, to peers that may be gone.
  virtual void notify(int peer, const Notice&) = 0;
  // Ranks give up on each other: some will leave while others have still to tell them something.
  virtual void set_broken() {}
  // Whether a notice is still here, and leaves only by progress(): a connection is being made for it.
  virtual bool has_unsent() const { return false; }
  // The oldest notice of the communicator that was not taken yet. Costs one load while there is none.
  virtual bool take_notice(std::uint64_t communicator, Notice&) = 0;
  // Forgets messages of this communicator that arrived and were never asked for (it was closed or broke).
  virtual void forget(std::uint64_t communicator) = 0;
  // The operation ended badly on this rank, or on another after it had ended here: nobody will ask for its messages, nor
  // for any of those before `first_live`, the first that runs or will. What came or comes of them is dropped.
  virtual void abandon(std::uint64_t communicator, std::uint32_t sequence, std::uint32_t first_live) {
    (void)communicator, (void)sequence, (void)first_live;
  }
  // The first peer known to be lost (connection error or keepalive), or -1; and why.
  virtual int lost_peer(std::string* why) const = 0;
  // A descriptor that becomes readable when progress() has something to do; -1: none. Call arm() before
  // sleeping on it: false means that there is something to do already.
  virtual int event_fd() const = 0;
  virtual bool arm() = 0;
  // By world rank of the peer.
  virtual Traffic traffic(int peer) const = 0;
  // For describe(): "UCX 1.13.1 over tcp".
  virtual std::string text() const = 0;
};

}  // namespace libcoll::xport
