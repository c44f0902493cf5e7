// Lanes: how messages (Comm::send) travel between two ranks of a host. A lane goes from one rank to one other, lies in the
// sender's part of the heap and is made at the first message: a ring of envelopes in the order of the sends, room for
// payloads that are copied whole, and a ring of chunks for what is copied piece by piece.
// A message that was copied is over for its sender. Of any other the envelope names a word, its Fate, by which the two
// agree on who has it. Every word has a single writer, but for fates.
// Not thread-safe: one thread at a time on each side.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "transports/shm/group.hpp"
#include "transports/shm/layout.hpp"

namespace libcoll::xport::shm {

inline constexpr std::size_t lane_cells = 64;          // envelopes that the receiver has not looked at
inline constexpr std::size_t lane_in_line = 96;        // bytes of payload in an envelope
inline constexpr std::size_t lane_copied_max = 8192;   // bytes up to which a message is copied whole
inline constexpr std::size_t lane_payload_bytes = 32768;
inline constexpr std::uint64_t lane_credit = 64;       // copied messages that no receive has taken yet
inline constexpr std::size_t chunk_count = 4;
inline constexpr std::size_t chunk_bytes = 64u << 10;

enum class Carried : std::uint8_t {
  in_line,  // in the envelope
  copied,   // in the lane
  shared,   // at an offset of the arena
  remote,   // at an address of the sender: process_vm_readv, or as it is in the same process
  staged,   // as chunks, once the receiver has claimed it
};

// Sender: open -> withdrawn. Receiver: open -> claimed (it reads, or waits for chunks) -> done; open -> done (it does not
// want the data); withdrawn -> dropped (it has seen that).
enum class Fate : std::uint64_t { open, claimed, done, withdrawn, dropped };

struct alignas(line_bytes) Cell {
  std::atomic<std::uint64_t> header;  // number of the message, from 1: stored last
  std::uint64_t bytes;
  std::uint64_t fate_at;              // arena offset; 0: its sender is done
  std::int32_t tag;
  Carried carried;
  union {
    std::uint64_t at;                 // offset or address
    std::byte payload[lane_in_line];
  };
};
static_assert(sizeof(Cell) == line_bytes);

struct alignas(64) Chunk {
  std::atomic<std::uint64_t> header;  // number of the chunk, from 1: stored last
  std::uint64_t fate_at;              // of its message
  std::uint32_t bytes;
  std::uint32_t withdrawn;            // no more of this message will come
};

struct Lane {
  struct alignas(line_bytes) {        // the receiver's
    std::atomic<std::uint64_t> seen;          // envelopes that may be written again
    std::atomic<std::uint64_t> taken;         // copied messages that have met a receive
    std::atomic<std::uint64_t> chunks_taken;
  } reader;
  alignas(line_bytes) std::uint64_t chunks_at;  // the sender's, before the first staged message; 0: none
  Chunk chunks[chunk_count];
  Cell cells[lane_cells];
  alignas(64) std::byte payload[lane_payload_bytes];
};

// One rank's lanes in a communicator, and the fates of its messages.
class Lanes {
 public:
  explicit Lanes(Group& g) : group_(g) {}
  // Gives nothing back by itself: others may still look (release).
  Heap& heap() { return group_.host().heap(); }
  Group& group() { return group_; }
  // To a member; null if the heap has no room.
  Lane* open(int reader);
  // From a member; null if it has sent nothing yet.
  Lane* find(int writer);
  std::uint64_t allocate(std::size_t bytes);  // until release; 0: no room
  std::uint64_t take_fate();                  // open; 0: no room
  void give_fate(std::uint64_t at) { free_.push_back(at); }
  std::atomic<Fate>& fate(std::uint64_t at) { return *reinterpret_cast<std::atomic<Fate>*>(heap().at(at)); }
  bool change(std::uint64_t at, Fate from, Fate to) {
    return fate(at).compare_exchange_strong(from, to, std::memory_order_acq_rel, std::memory_order_acquire);
  }
  // Once no member will look any more.
  void release();

 private:
  Group& group_;
  std::uint64_t table_ = 0;
  std::vector<std::uint64_t> blocks_, free_;
};

// The sender's end.
class LaneOut {
 public:
  bool open(Lanes&, int reader);  // false: no room in the heap
  bool is_open() const { return lane_ != nullptr; }
  bool full() { return sent_ - seen_ == lane_cells && sent_ - (seen_ = lane_->reader.seen.load(std::memory_order_acquire)) == lane_cells; }
  // Not while it is full. False if the message is too large, or the receiver has too many.
  bool copy(int tag, const void* data, std::size_t bytes);
  // Announces one whose data is `at`, or in the envelope.
  void announce(int tag, const void* data, std::size_t bytes, Carried, std::uint64_t at, std::uint64_t fate_at);
  bool prepare_chunks(Lanes&);    // false: no room in the heap
  bool has_room_for_chunk() { return chunks_ - lane_->reader.chunks_taken.load(std::memory_order_acquire) < chunk_count; }
  void put_chunk(Heap&, std::uint64_t fate_at, const void* data, std::size_t bytes, bool withdrawn);

 private:
  Cell& next_cell() { return lane_->cells[sent_ % lane_cells]; }
  void publish(Cell& c) {
    ends_[sent_ % lane_cells] = written_;
    c.header.store(++sent_, std::memory_order_release);
  }
  Lane* lane_ = nullptr;
  Heap* heap_ = nullptr;
  std::uint64_t sent_ = 0, seen_ = 0;  // envelopes
  std::uint64_t copied_ = 0;           // messages
  std::uint64_t written_ = 0;          // bytes of payload, counting what is skipped
  std::uint64_t chunks_ = 0;
  std::array<std::uint64_t, lane_cells> ends_{};  // `written_` after each envelope
};

// The receiver's end.
class LaneIn {
 public:
  bool open(Lanes& lanes, int writer) { return lane_ != nullptr || (lane_ = lanes.find(writer)) != nullptr; }
  bool is_open() const { return lane_ != nullptr; }
  // The next envelope, or null; pop() gives its place, and payload, back.
  const Cell* next() const {
    const Cell& c = lane_->cells[seen_ % lane_cells];
    return c.header.load(std::memory_order_acquire) == seen_ + 1 ? &c : nullptr;
  }
  void pop() { lane_->reader.seen.store(++seen_, std::memory_order_release); }
  void took_copied() { lane_->reader.taken.store(++taken_, std::memory_order_release); }
  const Chunk* next_chunk() const {
    const Chunk& c = lane_->chunks[chunks_ % chunk_count];
    return c.header.load(std::memory_order_acquire) == chunks_ + 1 ? &c : nullptr;
  }
  const std::byte* chunk_data(Heap& heap) const { return heap.at(lane_->chunks_at + (chunks_ % chunk_count) * chunk_bytes); }
  void pop_chunk() { lane_->reader.chunks_taken.store(++chunks_, std::memory_order_release); }

 private:
  Lane* lane_ = nullptr;
  std::uint64_t seen_ = 0, taken_ = 0, chunks_ = 0;
};

}  // namespace libcoll::xport::shm
