// libcoll_malloc.so, preloaded: the C library's allocation functions, which let the arena have what is large. They are
// the next library's until serve() is called, and for ever in processes that never call it (shells, helpers).
#pragma once

#include <cstddef>

namespace libcoll::arena {

// From now on allocations of at least so many bytes come from the arena while it has room. Null, or why they will
// not: another library's functions are what the program calls.
extern "C" __attribute__((visibility("default"))) const char* libcoll_malloc_serve(std::size_t least_bytes) noexcept;

}  // namespace libcoll::arena
