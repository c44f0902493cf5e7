// The arena of this process: memory from a memfd, which other ranks of the host can map (Config::lent), handed out in
// whole pages. One per process, from start() to its end: blocks outlive any world that lends it. Thread-safe.
// A child of fork has a private copy of the blocks that live, and allocates nothing from it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#define LIBCOLL_ARENA_API __attribute__((visibility("default")))

namespace libcoll::arena {

inline constexpr std::size_t unit_bytes = 4096;

struct Region {
  int fd = -1;
  void* base = nullptr;
  std::size_t bytes = 0;
};

// Makes the arena, once; later calls change nothing. bytes: address space; 0: the machine's memory, at most 64 GiB, and
// less under ulimit -v. False if there is none, for good: the kernel lacks or forbids something.
LIBCOLL_ARENA_API bool start(std::size_t bytes) noexcept;
LIBCOLL_ARENA_API Region region() noexcept;

// Null if there is no arena or no room. `align`: a power of two.
LIBCOLL_ARENA_API void* allocate(std::size_t bytes, std::size_t align, bool zeroed) noexcept;
// Of blocks of the arena. What is no block ends the process, as free() does.
LIBCOLL_ARENA_API void release(void* block) noexcept;
LIBCOLL_ARENA_API std::size_t usable_bytes(const void* block) noexcept;
// Makes a block shorter or longer where it is; false if it cannot grow there.
LIBCOLL_ARENA_API bool resize(void* block, std::size_t bytes) noexcept;

struct Usage {
  std::size_t live_bytes = 0;   // in blocks that are in use
  std::size_t kept_bytes = 0;   // pages of freed blocks, kept for the next ones
  std::size_t allocations = 0;  // so far
};
LIBCOLL_ARENA_API Usage usage() noexcept;

// Addresses of the arena. `bytes` is stored last, and read first.
struct Range {
  std::atomic<std::size_t> bytes{0};
  std::atomic<std::uintptr_t> base{0};
};
LIBCOLL_ARENA_API extern constinit Range range;

inline bool contains(const void* p) noexcept {
  const std::size_t bytes = range.bytes.load(std::memory_order_acquire);
  return reinterpret_cast<std::uintptr_t>(p) - range.base.load(std::memory_order_relaxed) < bytes;
}

}  // namespace libcoll::arena
