// Memory: the process's arena, whose buffers the ranks of a host read and write in place. Behind MPI_Alloc_mem always, and
// behind the program's own large allocations where LIBCOLL_MPI_ARENA asks for it.
#pragma once

#include "flavour.hpp"
#include "libcoll/config.hpp"

namespace libcoll::pmpi {

// After MPI_Init: of what MPI itself allocated nothing is in the arena.
void start_arena() noexcept;
// What Comm::from_callback is to lend.
LentMemory lent_memory() noexcept;

// False: the MPI below is to do it.
bool allocate_memory(MPI_Aint bytes, MPI_Info info, void* result) noexcept;
bool free_memory(void* memory) noexcept;

}  // namespace libcoll::pmpi
