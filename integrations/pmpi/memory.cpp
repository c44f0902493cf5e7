#include "memory.hpp"

#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <exception>

#include "integrations/arena/arena.hpp"
#include "integrations/arena/malloc.hpp"
#include "settings.hpp"

namespace libcoll::pmpi {

namespace {

// Smaller ones would waste most of their page, and are never lent.
constexpr MPI_Aint least_bytes = arena::unit_bytes;

void complain(const char* why) noexcept {
  int rank = 0;
  PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 0) std::fprintf(stderr, "libcoll: LIBCOLL_MPI_ARENA: allocations are left to the usual allocator: %s\n", why);
}

}  // namespace

void start_arena() noexcept {
  std::size_t bytes = 0;
  try {
    bytes = Config::from_environment().arena_bytes;
  } catch (const std::exception&) {
    return;  // said when the world is made
  }
  const bool made = arena::start(bytes);
  if (!arena_wanted()) return;
  if (!made) return complain("this system gives no memory that processes can share (memfd, limits, vm.overcommit_memory=2)");
  using Serve = decltype(&arena::libcoll_malloc_serve);
  const auto serve = reinterpret_cast<Serve>(dlsym(RTLD_DEFAULT, "libcoll_malloc_serve"));
  if (serve == nullptr) return complain("libcoll_malloc.so is not preloaded (coll-preload does that)");
  if (const char* why = serve(arena_from())) complain(why);
}

LentMemory lent_memory() noexcept {
  const arena::Region r = arena::region();
  return {.fd = r.fd, .base = r.base, .bytes = r.bytes};
}

// Hints are for the MPI below.
bool allocate_memory(MPI_Aint bytes, MPI_Info info, void* result) noexcept {
  if (bytes < least_bytes || info != MPI_INFO_NULL || result == nullptr) return false;
  void* p = arena::allocate(static_cast<std::size_t>(bytes), 1, false);
  if (p != nullptr) std::memcpy(result, &p, sizeof p);
  return p != nullptr;
}

bool free_memory(void* memory) noexcept {
  if (!arena::contains(memory)) return false;
  arena::release(memory);
  return true;
}

}  // namespace libcoll::pmpi
