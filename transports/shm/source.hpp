// How a rank offers data to its peers, and how a peer's offer is read. The two halves of
// "the source says where its data is, the reader follows".
#pragma once

#include <span>

#include "transports/shm/group.hpp"

namespace libcoll::xport::shm {

// What a rank offers: one block that every reader reads (blocks.size() == 1), or one per reader.
struct Offer {
  std::span<const Block> blocks;
  const std::byte* base = nullptr;  // lowest address of the user's buffer, and
  std::uint64_t extent = 0;         // bytes to its end: what must lie in the arena to be lent
  bool tabled = false;              // readers cannot compute their block's place: publish a table
  bool keep = false;                // the buffer is overwritten meanwhile (in place): never lend it
  bool whole(std::size_t ranks) const { return blocks.size() == 1 && ranks != 1; }
};

// For blocks per reader, or one for all; a piece is a whole number of elements.
Pieces cut(const Shape&, bool one_for_all, int ranks, std::uint32_t element_bytes, std::uint64_t largest_block);

// Fills this rank's descriptor (not yet published) and copies what is copied at once. Returns where.
Where offer(Group&, std::uint64_t q, const Offer&);
// Waits for r's descriptor and resolves the block for this rank. `offset`: where that block lies in
// r's packed blocks or buffer; a table in the descriptor overrides it.
Source follow(Group&, std::uint64_t q, int r, bool one_for_all, bool tabled, std::uint64_t offset);
// Copies bytes [from, from+bytes) of the block; throws peer_lost if the peer is gone.
void fetch(Group&, int r, const Source&, void* to, std::uint64_t from, std::uint64_t bytes, bool streaming);
inline bool lent(Where w) { return w == Where::shared || w == Where::remote; }

}  // namespace libcoll::xport::shm
