// The reduction engine: allreduce, reduce, reduce_scatter(v) and the scans are one pattern. Every rank
// reduces its slice of everybody's vector, in rank order; where a result is gathered, slices are then
// pulled from (or pushed by) the ranks that reduced them.
#pragma once

#include "transports/shm/source.hpp"

namespace libcoll::xport::shm {

struct Fold {
  Offer offer = {};                  // blocks: slice d of this rank's vector for rank d, or the whole vector
  bool one_for_all = false;       // every rank reduces the whole vector itself (one hop)
  int first = 0, last = 0;        // ranks whose vectors this rank reduces; last < first: none
  bool ordered = false;           // a scan: ranks read only lower ranks
  int only_reader = -1;           // >= 0: a direct reduce, only the root reads
  std::uint64_t my_offset = 0;    // of this rank's slice in everybody's vector
  std::uint64_t my_bytes = 0;     // of that slice; 0: none
  const std::byte* own = nullptr; // this rank's operand for its own slice
  std::byte* result = nullptr;    // where the reduced slice goes here (nullptr: nowhere)
  std::uint64_t largest = 0;      // bytes of the largest slice of any rank
  // Gathering of the slices into one vector:
  enum class Gather { none, all, root } gather = Gather::none;
  int root = -1;
  std::byte* gathered = nullptr;  // the whole result vector, on ranks that gather
  std::uint64_t total_bytes = 0;
  std::uint64_t slice_stride = 0; // slice r covers [r*stride, min((r+1)*stride, total))
  bool streaming = false;
};

void fold(Group&, std::uint64_t q, const Plan&, const Args&, const Fold&);

// dsts[k][i] = operands in rank order; built-in kernels or the caller's function.
void reduce_piece(Group&, const Plan&, const Args&, int dst_count, int operand_count, std::uint64_t bytes, bool streaming);

}  // namespace libcoll::xport::shm
