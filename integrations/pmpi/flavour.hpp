// Which MPI this is compiled against, and all in which MPIs differ for us. The only file with an #if.
#pragma once

// Our definitions of MPI's names are the library's interface: they inherit the visibility of the declarations.
#pragma GCC visibility push(default)
#include <mpi.h>
#pragma GCC visibility pop

#include <cstdint>
#include <type_traits>

namespace libcoll::pmpi {

#ifdef MPICH_VERSION
inline constexpr const char* flavour = "mpich";
inline constexpr bool is_mpich = true;
#else
inline constexpr const char* flavour = "openmpi";
inline constexpr bool is_mpich = false;
#endif

// The functions with MPI_Count arguments came with MPI 4.
#if MPI_VERSION >= 4
#define LIBCOLL_MPI_HAS_LARGE_COUNTS 1
#else
#define LIBCOLL_MPI_HAS_LARGE_COUNTS 0
#endif

// Handles are pointers in one MPI and integers in the other.
template <class Handle>
std::uintptr_t bits_of(Handle h) noexcept {
  if constexpr (std::is_pointer_v<Handle>) return reinterpret_cast<std::uintptr_t>(h);
  else return static_cast<std::uintptr_t>(static_cast<unsigned>(h));
}

inline bool is_in_place_here(const void* p) noexcept { return p == MPI_IN_PLACE; }

}  // namespace libcoll::pmpi
