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
  bool in_line = true;              // may travel in the descriptor (not where that has to tell more)
  bool alone = false;               // nobody else offers anything
  bool combined = false;            // readers reduce it
  bool keep = false;                // the buffer is overwritten meanwhile (in place): never lend it
  bool symmetric = false;           // all ranks stage and read alike: pieces would not overlap anything
  bool cut_alike = false;           // pieces of one size on all ranks, whatever their largest blocks
  std::uint64_t cut_for(std::uint64_t largest) const { return cut_alike ? unknown_bytes : largest; }
  bool whole(std::size_t ranks) const { return blocks.size() == 1 && ranks != 1; }
};

// Also the largest element that can travel.
std::uint64_t largest_piece(const Shape&, int readers);
// For blocks per reader, or one for all; a piece is a whole number of elements.
Pieces cut(const Shape&, bool one_for_all, int ranks, std::uint32_t element_bytes, std::uint64_t largest_block);

// Where in a ring slot of source `source` the piece for `reader` lies; a source stages none for itself.
inline std::uint64_t place_in_slot(const Pieces& p, bool one_for_all, int source, int reader) {
  return one_for_all ? 0 : static_cast<std::uint64_t>(reader < source ? reader : reader - 1) * p.stride;
}

// Fills this rank's descriptor (not yet published) and copies what is copied at once. Returns where.
Where offer(Group&, std::uint64_t q, const Offer&, std::uint32_t element_bytes);
// Slots of `slot` bytes, as many as `rounds` needs or there is room for: in staging memory, else in
// the communicator's own ring or out slots. Returns the arena offset of the first.
std::uint64_t claim_slots(Group&, std::uint64_t q, std::uint64_t slot, std::uint64_t rounds, bool out, std::uint16_t& count);

// Holds the lease on staging memory while an operation runs, however it ends.
class StagingLease {
 public:
  explicit StagingLease(Group& g) : g_(g) {}
  ~StagingLease() { g_.release_staging(); }
  StagingLease(const StagingLease&) = delete;
  StagingLease& operator=(const StagingLease&) = delete;

 private:
  Group& g_;
};
// Waits for r's descriptor and resolves the block for this rank. `offset`: where that block lies in
// r's packed blocks or buffer; a table in the descriptor overrides it.
Source follow(Group&, std::uint64_t q, int r, bool one_for_all, bool tabled, std::uint64_t offset);
// Copies bytes [from, from+bytes) of the block; throws peer_lost if the peer is gone.
void fetch(Group&, int r, const Source&, void* to, std::uint64_t from, std::uint64_t bytes, bool streaming);
inline bool lent(Where w) { return w == Where::shared || w == Where::remote; }

}  // namespace libcoll::xport::shm
