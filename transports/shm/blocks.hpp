// Plain values that describe who reads which bytes of whom.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "transports/shm/layout.hpp"

namespace libcoll::xport::shm {

// The k-th rank after `rank`, 0 < k < size. Ranks begin with different peers, so that they do not all
// read the same one at once.
inline int after(int rank, int k, int size) { return rank + k < size ? rank + k : rank + k - size; }

struct Block {
  const std::byte* data = nullptr;
  std::uint64_t bytes = 0;
};

// Where the block of one peer lands here, and how long it must be.
struct Wanted {
  std::byte* to = nullptr;
  std::uint64_t bytes = 0;
};

// Cuts blocks into pieces, one per ring round.
struct Pieces {
  std::uint64_t piece = 0;          // bytes of a block that travel in one round
  std::uint64_t stride = 0;         // distance of the pieces of two readers in a ring slot
  std::uint64_t slot = 0;           // distance of two ring slots
  std::uint64_t rounds(std::uint64_t block_bytes) const { return (block_bytes + piece - 1) / piece; }
  std::uint64_t begin(std::uint64_t round) const { return round * piece; }
  std::uint64_t length(std::uint64_t round, std::uint64_t block_bytes) const {
    const std::uint64_t at = round * piece;
    return at >= block_bytes ? 0 : std::min(piece, block_bytes - at);
  }
};
inline constexpr std::uint64_t unknown_bytes = ~std::uint64_t{0};

// A peer's offer as this rank reads it.
struct Source {
  Where where = Where::nowhere;
  bool direct = false;               // `at` is an address of ours
  const std::byte* at = nullptr;     // of my block (not for ring)
  std::uint64_t address = 0;         // of my block in the peer's process (remote)
  std::uint64_t bytes = 0;           // of my block if known from the descriptor, else unknown_bytes
  std::uint64_t largest_block = 0;
  Pieces pieces;                     // of a ring source, whose first slot is at `at`
  std::uint64_t ring_slots = 0;
};

}  // namespace libcoll::xport::shm
