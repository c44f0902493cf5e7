// Which MPI this is compiled against, and all in which MPIs differ for us. The only file with an #if.
#pragma once

// Our definitions of MPI's names are the library's interface: they inherit the visibility of the declarations.
#pragma GCC visibility push(default)
#include <mpi.h>
#pragma GCC visibility pop

#include <cstdint>
#include <string_view>
#include <type_traits>

namespace libcoll::pmpi {

#if defined(MPI_ABI_VERSION)
inline constexpr const char* flavour = "MPI ABI";
#elif defined(MPICH_VERSION)
inline constexpr const char* flavour = "mpich";
inline constexpr bool is_mpich = true;
#else
inline constexpr const char* flavour = "openmpi";
inline constexpr bool is_mpich = false;
#endif

// Whether this MPI reports equal buffers as an error, before it looks at anything else: MPICH does.
#if defined(MPI_ABI_VERSION)
inline bool refuses_aliases() noexcept {
  static const bool is_mpich = [] {
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
    int length = 0;
    PMPI_Get_library_version(text, &length);
    return std::string_view(text).starts_with("MPICH");
  }();
  return is_mpich;
}
#else
constexpr bool refuses_aliases() noexcept { return is_mpich; }
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
