// What lies in shared memory: the control block of one rank in one communicator, and what its fields
// promise. Every word has a single writer (its owner), but for `sleepers` and `departed`.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "libcoll/core/call.hpp"

namespace libcoll::xport::shm {

// Lines of different writers stay 128 bytes apart: x86 prefetches adjacent lines in pairs.
inline constexpr std::size_t line_bytes = 128;
inline constexpr int slot_count = 4;         // operations a rank may run ahead of the slowest reader
inline constexpr int eager_count = 2;        // eager buffers of a rank
inline constexpr std::size_t inline_bytes = 48;
inline constexpr std::size_t page_bytes = 4096;

// Where a source's data is. The source chooses by itself; the reader follows.
enum class Where : std::uint8_t {
  nowhere,   // this rank offers nothing (or zero bytes)
  inlined,   // in the descriptor line itself: one hop
  eager,     // copied whole into an eager buffer or a span of staging memory: one hop, no acknowledgement
  ring,      // copied piece by piece into a ring, announced by `staged`
  shared,    // in the arena that every rank has mapped: offset, no copy
  remote,    // private memory of the source: process_vm_readv
};

// Descriptor of one operation. The header is stored last with release: {sequence, signature}.
struct alignas(line_bytes) Slot {
  std::atomic<std::uint64_t> header;
  Where source;
  Where result;                     // where this rank's results can be read, or pushed to if shared
  std::uint8_t inlined_bytes;
  std::uint8_t eager_index;         // which eager buffer
  std::uint16_t ring_slots;         // of a ring source, and of a ring result
  std::uint16_t out_slots;
  union {
    std::byte payload[inline_bytes];
    struct {
      std::uint64_t source_at;      // arena offset (eager, ring, shared) or address (remote)
      std::uint64_t result_at;      // likewise
      std::uint64_t table_at;       // arena offset of the BlockRows (v-forms), 0: none
      std::uint64_t bytes;          // whole source
      std::uint64_t largest_block;  // bytes; decides the number of ring rounds
    };
  };
};
static_assert(offsetof(Slot, payload) == 16 && sizeof(Slot) == line_bytes);

// A line of framed payload: valid once its header is the operation's, so that flag and data arrive in
// one hop (NCCL calls the idea LL).
struct alignas(64) Framed {
  std::byte payload[56];
  std::atomic<std::uint64_t> header;
};
inline constexpr std::size_t framed_max = 2048;  // bytes of payload that are framed
inline constexpr std::size_t framed_lines = (framed_max + 55) / 56 + 1;

// Signature of an operation that a rank could not start because it refused its own arguments.
inline constexpr std::uint32_t refused_signature = ~std::uint32_t{0};

// Progress through the operation in flight: (sequence << step_bits) | steps done. Monotonic.
inline constexpr int step_bits = 24;
inline constexpr std::uint64_t step_mask = (std::uint64_t{1} << step_bits) - 1;
inline std::uint64_t at_step(std::uint64_t sequence, std::uint64_t step) { return (sequence << step_bits) | step; }

struct alignas(line_bytes) Progress {
  std::atomic<std::uint64_t> staged;    // ring chunks that may be read
  std::atomic<std::uint64_t> consumed;  // chunks of everybody's that this rank is done with
  std::atomic<std::uint64_t> gathered;  // result chunks that this rank has taken
  std::atomic<std::uint64_t> finished;  // this rank touches nobody's memory of this operation any more
};

// What this rank called: read by others only to explain a mismatch or a timeout.
struct alignas(64) Record { detail::Call call; };

// Block of a source for one reader (v-forms): offset from source_at and bytes.
struct BlockRow { std::uint64_t offset, bytes; };

struct Control {
  Slot slots[slot_count];
  Progress progress;
  alignas(line_bytes) std::atomic<std::uint32_t> sleepers;  // readers asleep on a word of this block
  // 1 + the rank of the communicator that this rank gave up on: whoever waits for us names the same culprit.
  std::atomic<std::uint32_t> gave_up_on;
  std::atomic<std::int32_t> cpu;                            // 1 + the one this rank last waited on, 0: never; a hint
  // Members that will not look at this block any more; written by them, once each, on leaving.
  alignas(line_bytes) std::atomic<std::uint64_t> departed;
  alignas(line_bytes) Record records[slot_count];
  // Arena offset of the lanes on which this rank sends messages (lane.hpp); 0: it has sent none.
  alignas(line_bytes) std::atomic<std::uint64_t> lanes;
};
static_assert(sizeof(Control) <= page_bytes);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

}  // namespace libcoll::xport::shm
