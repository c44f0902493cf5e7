#include "coll_bench/collectives.hpp"

#include <algorithm>

namespace bench {

std::span<const CollInfo> all_collectives() {
  static constexpr CollInfo table[] = {
      {Coll::barrier, "barrier", "Barrier", false, false},
      {Coll::bcast, "bcast", "Broadcast", false, true},
      {Coll::reduce, "reduce", "Reduce", true, true},
      {Coll::allreduce, "allreduce", "Allreduce", true, false},
      {Coll::reduce_scatter, "reduce_scatter", "Reduce_scatter_block", true, false},
      {Coll::allgather, "allgather", "Allgather", false, false},
      {Coll::gather, "gather", "Gather", false, true},
      {Coll::scatter, "scatter", "Scatter", false, true},
      {Coll::alltoall, "alltoall", "All-to-All Personalized Exchange", false, false},
      {Coll::scan, "scan", "Scan", true, false},
      {Coll::exscan, "exscan", "Exscan", true, false},
      {Coll::allgatherv, "allgatherv", "Allgatherv", false, false},
      {Coll::gatherv, "gatherv", "Gatherv", false, true},
      {Coll::scatterv, "scatterv", "Scatterv", false, true},
      {Coll::alltoallv, "alltoallv", "All-to-Allv Personalized Exchange", false, false},
  };
  return table;
}

const CollInfo& info_of(Coll coll) { return all_collectives()[static_cast<std::size_t>(coll)]; }

const char* library_name(Coll coll) { return coll == Coll::reduce_scatter ? "reduce_scatter_block" : info_of(coll).name; }

const CollInfo* find_collective(std::string_view name) {
  if (name == "reduce_scatter_block") name = "reduce_scatter";
  for (const CollInfo& c : all_collectives())
    if (name == c.name) return &c;
  return nullptr;
}

Shape make_shape(Coll coll, std::uint64_t bytes, libcoll::DType dtype, libcoll::Op op, int root, int rank,
                 int ranks) {
  Shape s{.coll = coll, .dtype = dtype, .op = op, .root = root, .rank = rank, .ranks = ranks};
  if (coll == Coll::barrier) return s;
  const std::uint64_t element = s.element_bytes(), n = static_cast<std::uint64_t>(ranks);
  const std::uint64_t parts = coll == Coll::reduce_scatter ? n : 1;
  s.count = static_cast<Count>(std::max<std::uint64_t>(bytes / element / parts, 1));
  s.bytes = static_cast<std::uint64_t>(s.count) * element * parts;
  s.send_count = s.recv_count = s.count;
  const Count all = s.count * ranks;
  switch (coll) {
    case Coll::reduce_scatter:
      s.send_count = all;
      break;
    case Coll::allgather:
    case Coll::allgatherv:
      s.recv_count = all;
      break;
    case Coll::gather:
    case Coll::gatherv:
      s.recv_count = rank == root ? all : 0;
      break;
    case Coll::scatter:
    case Coll::scatterv:
      s.send_count = rank == root ? all : 0;
      break;
    case Coll::alltoall:
    case Coll::alltoallv:
      s.send_count = s.recv_count = all;
      break;
    case Coll::bcast:
      s.send_count = 0;
      break;
    case Coll::reduce:
      if (rank != root) s.recv_count = 0;
      break;
    default:
      break;
  }
  for (int r = 0; r < ranks; ++r) {
    s.counts.push_back(s.count);
    s.displs.push_back(s.count * r);
  }
  return s;
}

std::vector<std::uint64_t> sizes_for(Coll coll, std::uint64_t min, std::uint64_t max,
                                     std::size_t element_bytes, int ranks) {
  if (coll == Coll::barrier) return {0};
  const std::uint64_t unit =
      element_bytes * (coll == Coll::reduce_scatter ? static_cast<std::uint64_t>(ranks) : 1);
  std::vector<std::uint64_t> sizes;
  for (std::uint64_t bytes = std::max<std::uint64_t>(min, 1); bytes <= max; bytes *= 2) {
    const std::uint64_t whole = bytes / unit * unit;
    if (whole > 0 && (sizes.empty() || sizes.back() != whole)) sizes.push_back(whole);
  }
  if (sizes.empty()) sizes.push_back(unit);
  return sizes;
}

}  // namespace bench
