// The MPI below: the next library that defines a name (another tool, or the MPI itself).
#pragma once

#include <dlfcn.h>

#include "flavour.hpp"

namespace libcoll::pmpi {

template <class F>
F* next_of(const char* name, F* otherwise) noexcept {
  void* f = dlsym(RTLD_NEXT, name);
  return f != nullptr ? reinterpret_cast<F*>(f) : otherwise;
}

}  // namespace libcoll::pmpi

// LIBCOLL_BELOW(Bcast)(buffer, ...): other tools preloaded behind us see the call; without any it is PMPI_Bcast's code.
#define LIBCOLL_BELOW(name)                                                                  \
  ([]() noexcept {                                                                           \
    static const auto libcoll_next = ::libcoll::pmpi::next_of("MPI_" #name, &PMPI_##name);          \
    return libcoll_next;                                                                         \
  }())

// The same for names that an MPI of the same ABI may lack (older than the headers): nobody calls them there.
#define LIBCOLL_BELOW_IF_THERE(name)                                                                          \
  ([]() noexcept {                                                                                            \
    static const auto libcoll_next = ::libcoll::pmpi::next_of<decltype(PMPI_##name)>("MPI_" #name, nullptr); \
    return libcoll_next;                                                                                      \
  }())
