// Pairs arrived messages with posted receives, and pools the nodes and payloads that this takes: nothing is allocated
// once a program's pattern repeats. Not thread-safe; knows nothing of UCX.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_set>
#include <vector>

#include "transports/messenger.hpp"

namespace libcoll::xport::ucx {

// What precedes every message. Ranks of a job share the byte order.
struct Header {
  enum Kind : std::uint8_t { data, goodbye, goodbye_seen, withdrawn, notice, credit, unlimited, linked };
  std::uint64_t communicator = 0;  // goodbye: the number of data messages sent before it
  std::uint32_t sequence = 0;
  std::uint32_t message = 0;       // notice: its word
  std::uint32_t source = 0;  // rank
  std::uint32_t signature = 0;
  std::uint8_t kind = data;
  std::uint8_t padding = 0;    // bytes of the payload before the data
  std::uint16_t arrived = 0;   // messages from the receiver, modulo 2^16 (room.hpp)
  std::uint32_t consumed = 0;  // data and credit: of what the receiver sent in this communicator (flow.hpp)
};
static_assert(sizeof(Header) == 32);

// A transfer that waits, a message that waits, or both once they have met.
struct Entry {
  enum class Kind : std::uint8_t { posted, arrived, waiting, sending, receiving, control };  // waiting: for credit
  enum class Payload : std::uint8_t { none, pooled, held, rendezvous };  // of an arrived one; held: in UCX's memory
  Header header;                  // as sent, or as expected
  Kind kind = Kind::posted;
  Payload payload = Payload::none;
  bool starting = false;          // inside the call that starts it
  bool ended_early = false;       // its callback came inside that call
  int status = 0;                 // ucs_status_t of that callback
  int peer = -1;
  Transfer* transfer = nullptr;
  void* owner = nullptr;          // the messenger
  void* data = nullptr;           // user's buffer; payload, or UCX's descriptor, of an arrived one
  std::size_t bytes = 0;
  struct Piece {
    const void* data;
    std::size_t bytes;
  };
  std::array<Piece, 2> pieces;    // padding and data, while both are sent
  void* piece = nullptr;          // header and data, while UCX has them
  Entry* next = nullptr;          // in its bucket, in the free list, or among those that wait
  Entry* left = nullptr;          // in the list of those in flight
  Entry* right = nullptr;
};

class EntryPool {
 public:
  Entry* take();
  void give(Entry*);

 private:
  std::vector<std::unique_ptr<Entry[]>> slabs_;
  Entry* free_ = nullptr;
};

// Payloads of early messages. Powers of two from 64 bytes to 64 KiB are kept for the next one.
class PayloadPool {
 public:
  ~PayloadPool();
  void* take(std::size_t bytes);
  void give(void*, std::size_t bytes);

 private:
  static constexpr int smallest = 6, largest = 16;
  static int class_of(std::size_t bytes);
  std::array<std::vector<void*>, largest + 1> free_;
};

class MatchTable {
 public:
  MatchTable() : buckets_(64) {}
  void insert(Entry*);
  // The oldest of this kind from this peer, taken out; or null.
  Entry* take(Entry::Kind, const Header& key, int peer);
  bool remove(Entry*);
  std::size_t count(Entry::Kind) const;
  // Takes out all for which `which` holds and hands them to `to`.
  template <class Which, class To>
  void extract(const Which& which, const To& to) {
    for (Entry*& bucket : buckets_) {
      for (Entry** at = &bucket; *at != nullptr;) {
        Entry* const e = *at;
        if (!which(*e)) {
          at = &e->next;
          continue;
        }
        *at = e->next;
        --entries_;
        to(e);
      }
    }
  }

 private:
  std::size_t bucket_of(const Header& key, int peer) const;
  void grow();
  std::vector<Entry*> buckets_;
  std::size_t entries_ = 0;
};

// Communicators whose late messages are to be dropped. The last few thousand are remembered.
class Forgotten {
 public:
  void add(std::uint64_t communicator);
  bool contains(std::uint64_t communicator) const { return !ids_.empty() && ids_.contains(communicator); }

 private:
  static constexpr std::size_t limit = 3 * 4096;  // each goes by three ids
  std::unordered_set<std::uint64_t> ids_;
  std::deque<std::uint64_t> order_;
};

// Operations of one communicator that are over on this rank although messages of them may still come: those that ended
// badly, and all before the first that still runs.
class Abandoned {
 public:
  // `first_live`: of the operations that run or will.
  Abandoned& add(std::uint32_t sequence, std::uint32_t first_live);
  bool contains(std::uint32_t sequence) const;

 private:
  bool before_live(std::uint32_t sequence) const { return static_cast<std::int32_t>(sequence - first_live_) < 0; }
  std::uint32_t first_live_ = 0;
  std::vector<std::uint32_t> later_;
};

}  // namespace libcoll::xport::ucx
