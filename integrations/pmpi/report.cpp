#include "report.hpp"

#include <chrono>
#include <cstdio>
#include <mutex>

#include "flavour.hpp"

namespace libcoll::pmpi {

namespace {

std::mutex mutex;
Tallies tallies;

constexpr std::array<const char*, coll_count> names{
    "MPI_Barrier", "MPI_Bcast", "MPI_Reduce", "MPI_Allreduce", "MPI_Reduce_scatter_block", "MPI_Reduce_scatter", "MPI_Scan", "MPI_Exscan",
    "MPI_Allgather", "MPI_Allgatherv", "MPI_Gather", "MPI_Gatherv", "MPI_Scatter", "MPI_Scatterv", "MPI_Alltoall", "MPI_Alltoallv", "MPI_Alltoallw"};

constexpr std::array<const char*, reason_count> reasons{
    "libcoll", "LIBCOLL_MPI=off", "outside Init .. Finalize", "one rank", "intercommunicator", "ranks of several MPI_COMM_WORLDs", "ranks on several hosts",
    "no collective on all ranks yet", "libcoll could not make it", "finalizing", "arguments for MPI to judge", "type and operation", "form not supported"};

}  // namespace

const char* name_of(Coll c) noexcept { return names[static_cast<std::size_t>(c)]; }
const char* text_of(Reason r) noexcept { return reasons[static_cast<std::size_t>(r)]; }

std::uint64_t clock_ns() noexcept {
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
}

void count(Coll c, Reason r, std::uint64_t bytes, std::uint64_t nanoseconds, std::uint64_t lent) noexcept {
  const std::lock_guard lock(mutex);
  Tally& t = tallies[static_cast<std::size_t>(c)][static_cast<std::size_t>(r)];
  ++t.calls;
  t.bytes += bytes;
  t.nanoseconds += nanoseconds;
  t.lent += lent;
}

void print_report() noexcept {
  Tallies sums;
  constexpr int words = coll_count * reason_count * 4;
  static_assert(sizeof(Tallies) == words * sizeof(std::uint64_t));
  int rank = 0, size = 1;
  PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
  PMPI_Comm_size(MPI_COMM_WORLD, &size);
  {
    const std::lock_guard lock(mutex);
    PMPI_Reduce(&tallies, &sums, words, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
  }
  if (rank != 0) return;
  std::fprintf(stderr, "libcoll report (%s): sums over %d ranks; ran in libcoll, or passed down and why\n%-26s %-34s %12s %14s %12s %12s\n", flavour, size, "collective", "where",
               "calls", "bytes", "us per call", "lent");
  for (int c = 0; c < coll_count; ++c)
    for (int r = 0; r < reason_count; ++r) {
      const Tally& t = sums[static_cast<std::size_t>(c)][static_cast<std::size_t>(r)];
      if (t.calls == 0) continue;
      std::fprintf(stderr, "%-26s %-34s %12llu %14llu %12.2f %12llu\n", names[static_cast<std::size_t>(c)], reasons[static_cast<std::size_t>(r)],
                   static_cast<unsigned long long>(t.calls), static_cast<unsigned long long>(t.bytes),
                   static_cast<double>(t.nanoseconds) / 1e3 / static_cast<double>(t.calls), static_cast<unsigned long long>(t.lent));
    }
}

}  // namespace libcoll::pmpi
