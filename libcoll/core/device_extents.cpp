#include "libcoll/core/device_extents.hpp"

#include <algorithm>
#include <numeric>

namespace libcoll::detail {

namespace {

// Elements up to the end of the last block.
std::uint64_t end_of(const Count* counts, const Count* displs, int n) {
  Count end = 0;
  for (int r = 0; r < n; ++r)
    if (counts[r] != 0) end = std::max(end, displs[r] + counts[r]);
  return static_cast<std::uint64_t>(end);
}
std::uint64_t sum_of(const Count* counts, int n) { return static_cast<std::uint64_t>(std::accumulate(counts, counts + n, Count{0})); }

// In elements.
Extents elements_of(const Call& c, const Args& a, int rank, int size) {
  const bool root = static_cast<int>(c.root) == rank, in_place = c.in_place != 0;
  const auto n = static_cast<std::uint64_t>(c.count), ranks = static_cast<std::uint64_t>(size), local = static_cast<std::uint64_t>(a.local_count);
  switch (c.coll) {
    case Coll::barrier: return {};
    case Coll::bcast: return {0, n, root, !root};
    case Coll::reduce: return {n, root ? n : 0, root && in_place, root};
    case Coll::allreduce:
    case Coll::scan: return {n, n, in_place, true};
    // In place rank 0's operand lies in a recv that is no result.
    case Coll::exscan: return {n, rank != 0 || in_place ? n : 0, in_place, rank != 0};
    case Coll::reduce_scatter_block: return {n * ranks, in_place ? n * ranks : n, in_place, true};
    case Coll::reduce_scatter: {
      const std::uint64_t all = sum_of(a.recv_counts, size);
      return {all, in_place ? all : local, in_place, true};
    }
    case Coll::allgather: return {n, n * ranks, in_place, true};
    case Coll::alltoall: return {n * ranks, n * ranks, in_place, true};
    case Coll::gather: return {n, root ? n * ranks : 0, root && in_place, root};
    case Coll::scatter: return {root ? n * ranks : 0, n, root && in_place, !(root && in_place)};
    case Coll::allgatherv: return {local, end_of(a.recv_counts, a.recv_displs, size), true, true};
    case Coll::gatherv: return {local, root ? end_of(a.recv_counts, a.recv_displs, size) : 0, root, root};
    case Coll::scatterv: return {root ? end_of(a.send_counts, a.send_displs, size) : 0, local, root, true};
    case Coll::alltoallv: return {end_of(a.send_counts, a.send_displs, size), end_of(a.recv_counts, a.recv_displs, size), true, true};
  }
  return {};
}

}  // namespace

Extents extents_of(const Call& call, const Args& args, int rank, int size) {
  Extents e = elements_of(call, args, rank, size);
  e.send *= call.element_bytes;
  e.recv *= call.element_bytes;
  return e;
}

}  // namespace libcoll::detail
