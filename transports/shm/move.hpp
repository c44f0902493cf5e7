// The movement engine: every collective that only moves data (bcast, all(v)gather, gather(v),
// scatter(v), alltoall(v)) is a set of blocks that peers pull from each other.
#pragma once

#include "transports/shm/source.hpp"

namespace libcoll::xport::shm {

struct Transfer {
  Offer offer = {};                   // what this rank offers (no blocks: nothing)
  bool reads = true;               // whether this rank reads; g.wanted[r] says what from r
  int only_source = -1;            // -1: every rank offers
  int only_reader = -1;            // -1: every rank reads
  bool one_for_all = false;        // sources offer one block that all readers read
  std::uint64_t offset = 0;        // of this rank's block in a source's blocks, where no table says
  bool streaming = false;
};

// Runs operation q (already begun) to its end. The rank's own block is copied too.
void move(Group&, std::uint64_t q, const Plan&, const Transfer&);

}  // namespace libcoll::xport::shm
