// LIBCOLL_MPI, read once: what the interposer does in this process.
#pragma once

#include <cstddef>

namespace libcoll::pmpi {

enum class Mode { on, off, report, check, compare };

// Unknown values end the program with a clear message: a misspelt `off` must not go unnoticed.
Mode mode() noexcept;

// LIBCOLL_MPI_ARENA: whether the program's large allocations come from the arena; LIBCOLL_MPI_ARENA_FROM: from so many bytes.
bool arena_wanted() noexcept;
std::size_t arena_from() noexcept;

}  // namespace libcoll::pmpi
