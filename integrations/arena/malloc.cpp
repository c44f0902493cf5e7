// Below the threshold a call is one comparison more than the next allocator's, and a free one look at the address.
// C++ new and Fortran's allocate end here too.
#include "integrations/arena/malloc.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "integrations/arena/arena.hpp"

namespace arena = libcoll::arena;

namespace {

// -- The next allocator: libc's, or another that is preloaded. Each pointer first leads to a function that finds them
//    all. The very first call comes from the dynamic loader, before there are threads.
struct Next {
  void* (*malloc)(std::size_t);
  void (*free)(void*);
  void* (*calloc)(std::size_t, std::size_t);
  void* (*realloc)(void*, std::size_t);
  int (*posix_memalign)(void**, std::size_t, std::size_t);
  void* (*aligned_alloc)(std::size_t, std::size_t);
  void* (*memalign)(std::size_t, std::size_t);
  std::size_t (*malloc_usable_size)(void*);
};
void find_next();
extern constinit Next next;

// Old versions of dlsym allocate, and do without where they get nothing.
constexpr Next nothing{
    [](std::size_t) -> void* { return nullptr; },
    [](void*) {},
    [](std::size_t, std::size_t) -> void* { return nullptr; },
    [](void*, std::size_t) -> void* { return nullptr; },
    [](void**, std::size_t, std::size_t) { return ENOMEM; },
    [](std::size_t, std::size_t) -> void* { return nullptr; },
    [](std::size_t, std::size_t) -> void* { return nullptr; },
    [](void*) { return std::size_t{0}; },
};
constinit Next next{
    [](std::size_t n) { return find_next(), next.malloc(n); },
    [](void* p) { find_next(), next.free(p); },
    [](std::size_t n, std::size_t each) { return find_next(), next.calloc(n, each); },
    [](void* p, std::size_t n) { return find_next(), next.realloc(p, n); },
    [](void** p, std::size_t align, std::size_t n) { return find_next(), next.posix_memalign(p, align, n); },
    [](std::size_t align, std::size_t n) { return find_next(), next.aligned_alloc(align, n); },
    [](std::size_t align, std::size_t n) { return find_next(), next.memalign(align, n); },
    [](void* p) { return find_next(), next.malloc_usable_size(p); },
};

template <class F>
void find(F*& f, const char* name) {
  if (void* symbol = dlsym(RTLD_NEXT, name)) f = reinterpret_cast<F*>(symbol);
}

void find_next() {
  Next found = nothing;
  next = nothing;
  find(found.malloc, "malloc");
  find(found.free, "free");
  find(found.calloc, "calloc");
  find(found.realloc, "realloc");
  find(found.posix_memalign, "posix_memalign");
  find(found.aligned_alloc, "aligned_alloc");
  find(found.memalign, "memalign");
  find(found.malloc_usable_size, "malloc_usable_size");
  next = found;
}

// -- What is large: nothing until the arena serves.
constinit std::atomic<std::size_t> least{SIZE_MAX};
bool is_large(std::size_t bytes) { return bytes >= least.load(std::memory_order_relaxed); }

void* aligned(std::size_t align, std::size_t bytes) {
  return is_large(bytes) && std::has_single_bit(align) ? arena::allocate(bytes, align, false) : nullptr;
}

void* moved(void* from, std::size_t have, void* to, std::size_t bytes) {
  if (to == nullptr) return nullptr;
  std::memcpy(to, from, std::min(have, bytes));
  std::free(from);
  return to;
}

}  // namespace

// Definitions of the C library's names, which its headers declare for everybody.
#pragma GCC visibility push(default)
extern "C" {

void* malloc(std::size_t bytes) noexcept {
  if (is_large(bytes)) [[unlikely]]
    if (void* p = arena::allocate(bytes, 1, false)) return p;
  return next.malloc(bytes);
}

void free(void* p) noexcept {
  if (arena::contains(p)) [[unlikely]] return arena::release(p);
  next.free(p);
}

void* calloc(std::size_t n, std::size_t each) noexcept {
  std::size_t bytes;
  if (!__builtin_mul_overflow(n, each, &bytes) && is_large(bytes)) [[unlikely]]
    if (void* p = arena::allocate(bytes, 1, true)) return p;
  return next.calloc(n, each);
}

// The size decides where a block lives. One that was large before the arena served, or found no room there, stays.
void* realloc(void* p, std::size_t bytes) noexcept {
  if (arena::contains(p)) [[unlikely]] {
    if (bytes == 0) return arena::release(p), nullptr;
    if (is_large(bytes) && arena::resize(p, bytes)) return p;
    return moved(p, arena::usable_bytes(p), std::malloc(bytes), bytes);
  }
  if (is_large(bytes)) [[unlikely]] {
    if (p == nullptr) return std::malloc(bytes);
    const std::size_t have = next.malloc_usable_size(p);
    if (!is_large(have))
      if (void* to = arena::allocate(bytes, 1, false)) return moved(p, have, to, bytes);
  }
  return next.realloc(p, bytes);
}

int posix_memalign(void** p, std::size_t align, std::size_t bytes) noexcept {
  if (align >= sizeof(void*))
    if (void* block = aligned(align, bytes)) return *p = block, 0;
  return next.posix_memalign(p, align, bytes);
}

void* aligned_alloc(std::size_t align, std::size_t bytes) noexcept {
  if (void* block = aligned(align, bytes)) return block;
  return next.aligned_alloc(align, bytes);
}

void* memalign(std::size_t align, std::size_t bytes) noexcept {
  if (void* block = aligned(align, bytes)) return block;
  return next.memalign(align, bytes);
}

std::size_t malloc_usable_size(void* p) noexcept {
  return arena::contains(p) ? arena::usable_bytes(p) : next.malloc_usable_size(p);
}

const char* libcoll_malloc_serve(std::size_t least_bytes) noexcept {
  // A block that we hand out must come back to us: all functions have to be ours, or none.
  Dl_info here{};
  if (dladdr(reinterpret_cast<void*>(&find_next), &here) == 0) return "it cannot be told whose functions the program calls";
  for (const char* name : {"malloc", "free", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign", "malloc_usable_size"}) {
    Dl_info first{};
    void* used = dlsym(RTLD_DEFAULT, name);
    if (used == nullptr || dladdr(used, &first) == 0 || first.dli_fbase != here.dli_fbase)
      return "another library in front of libcoll_malloc.so, or the program itself, has allocation functions of its own";
  }
  least.store(std::max(least_bytes, arena::unit_bytes), std::memory_order_relaxed);
  return nullptr;
}

}  // extern "C"
#pragma GCC visibility pop
