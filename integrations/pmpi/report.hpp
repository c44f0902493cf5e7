// What became of each call: counted where LIBCOLL_MPI asks for it, printed when MPI is finalized.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace libcoll::pmpi {

enum class Coll : std::uint8_t {
  barrier, bcast, reduce, allreduce, reduce_scatter_block, reduce_scatter, scan, exscan,
  allgather, allgatherv, gather, gatherv, scatter, scatterv, alltoall, alltoallv, alltoallw, reduce_local,
};
inline constexpr int coll_count = 18;
const char* name_of(Coll) noexcept;  // as MPI spells it

// Why a call was passed down; `handled`: it was not.
enum class Reason : std::uint8_t {
  handled, off, outside_mpi, one_rank, intercommunicator, several_worlds, no_world_yet, creation_failed, finalizing,
  bad_arguments, type_and_operation,
};
inline constexpr int reason_count = 11;
const char* text_of(Reason) noexcept;

struct Tally {
  std::uint64_t calls = 0, bytes = 0, nanoseconds = 0, lent = 0;
};
using Tallies = std::array<std::array<Tally, reason_count>, coll_count>;

// Thread-safe. Of a call that libcoll handled, `way`: its algorithm; `lent`: the caller's buffers that others read or wrote in place.
void count(Coll, Reason, std::uint64_t bytes, std::uint64_t nanoseconds, std::string_view way = {}, std::uint64_t lent = 0) noexcept;
std::uint64_t clock_ns() noexcept;
// Collective over MPI_COMM_WORLD: rank 0 prints the sums over all ranks to stderr.
void print_report() noexcept;

}  // namespace libcoll::pmpi
