#include "integrations/arena/arena.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "integrations/arena/fork_copy.hpp"
#include "integrations/arena/units.hpp"

namespace libcoll::arena {

constinit Range range;

namespace {

constexpr std::size_t usual_bytes = std::size_t{64} << 30;
constexpr std::size_t most_bytes = std::size_t{1} << 43;   // units are numbered in 32 bits
constexpr std::size_t alignment = std::size_t{2} << 20;    // of the arena: room for huge pages where the kernel gives them
constexpr std::size_t first_opened = std::size_t{64} << 20;
// Freed blocks up to this keep their pages for the next ones; what is kept in all is halved when it exceeds the
// second. As glibc: it maps larger blocks anew each time (M_MMAP_THRESHOLD_MAX), and trims its top at twice that.
constexpr std::size_t largest_kept = std::size_t{32} << 20;
constexpr std::size_t most_kept = std::size_t{64} << 20;

using Index = Units::Index;

std::size_t round_up(std::size_t n, std::size_t unit) { return (n + unit - 1) / unit * unit; }

// Nothing in here allocates from the heap: malloc itself may be our caller.
struct State {
  std::mutex mutex;
  bool tried = false;
  bool inherited = false;      // this is a child of fork
  int fd = -1;
  std::byte* base = nullptr;
  std::size_t bytes = 0;       // address space
  std::size_t opened = 0;      // of it, from the start: may be touched
  std::size_t allocations = 0;
  Units units;
};
constinit State state;

// Keeps errno as it was: free() does.
class KeepErrno {
 public:
  KeepErrno() : was_(errno) {}
  ~KeepErrno() { errno = was_; }
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;

 private:
  int was_;
};

// Where the kernel promises no more memory than it has, malloc returns null when there is none; a page of a memfd would
// be refused by SIGBUS when it is touched.
bool overcommit_is_off() {
  char text[8] = {};
  const int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  return n > 0 && text[0] == '2';
}

// Under `ulimit -v` an eighth: the program needs the rest, and the ranks map each other's arenas.
std::size_t default_bytes() {
  const auto pages = static_cast<std::size_t>(std::max(0L, sysconf(_SC_PHYS_PAGES)));
  std::size_t bytes = std::min(pages * unit_bytes, usual_bytes);
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) bytes = std::min<std::size_t>(bytes, limit.rlim_cur / 8);
  return bytes;
}

std::byte* as_bytes(void* p) { return p == MAP_FAILED ? nullptr : static_cast<std::byte*>(p); }

// All of it mapped, nothing of it usable yet: core dumps and mlockall would fill what was never touched.
bool map_arena(State& s, std::size_t bytes) {
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < bytes) return false;  // exceeding it is a signal
  s.fd = memfd_create("libcoll-arena", MFD_CLOEXEC);
  if (s.fd < 0 || ftruncate(s.fd, static_cast<off_t>(bytes)) != 0) return false;
  std::byte* room = as_bytes(mmap(nullptr, bytes + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (room == nullptr) return false;
  const std::size_t skip = round_up(reinterpret_cast<std::uintptr_t>(room), alignment) - reinterpret_cast<std::uintptr_t>(room);
  if (skip != 0) munmap(room, skip);
  if (skip != alignment) munmap(room + skip + bytes, alignment - skip);
  s.base = room + skip;
  s.bytes = bytes;
  if (mmap(s.base, bytes, PROT_NONE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, s.fd, 0) == MAP_FAILED) return false;
  if (madvise(s.base, bytes, MADV_DONTFORK) != 0 || madvise(s.base, bytes, MADV_DONTDUMP) != 0) return false;
  madvise(s.base, bytes, MADV_HUGEPAGE);  // where the administrator allows it for shared memory (shmem_enabled=advise)
  const std::size_t units = bytes / unit_bytes;
  std::byte* tags = as_bytes(mmap(nullptr, units * sizeof(Units::Tag), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (tags == nullptr) return false;
  s.units.reset(reinterpret_cast<Units::Tag*>(tags), static_cast<Index>(units), reinterpret_cast<std::uintptr_t>(s.base) / unit_bytes);
  return true;
}

void unmap_arena(State& s) {
  if (s.base != nullptr) munmap(s.base, s.bytes);
  if (s.fd >= 0) close(s.fd);
  s.base = nullptr;
  s.bytes = 0;
  s.fd = -1;
}

// Opens more of the arena: ever larger parts, so that it happens seldom.
bool open_up_to(State& s, std::size_t end) {
  if (end <= s.opened) return true;
  const std::size_t upto = std::min(s.bytes, std::max({end, 2 * s.opened, first_opened}));
  std::byte* from = s.base + s.opened;
  if (mprotect(from, upto - s.opened, PROT_READ | PROT_WRITE) != 0) return false;
  madvise(from, upto - s.opened, MADV_DODUMP);
  s.opened = upto;
  return true;
}

std::byte* address(const State& s, Index first) { return s.base + std::size_t{first} * unit_bytes; }

// The block that begins at p; ends the process if there is none.
Index block_at(const State& s, const void* p, const char* caller) {
  const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(p) - s.base);
  const auto first = static_cast<Index>(offset / unit_bytes);
  if (offset < s.bytes && offset % unit_bytes == 0 && s.units.is_block(first)) return first;
  std::fprintf(stderr, "libcoll: %s: %p is not a block of the arena (freed twice?)\n", caller, p);
  std::abort();
}

// Gives a used block's pages back. By madvise, which MPI's registration caches watch, and not by fallocate: they must
// learn that other pages will be there. Without the lock: large blocks take long, and those caches call us.
bool empty(const State& s, const Units::Block& b) {
  return madvise(address(s, b.first), std::size_t{b.length} * unit_bytes, s.inherited ? MADV_DONTNEED : MADV_REMOVE) == 0;
}

// Gives pages of free blocks back until `most` bytes are left.
void trim(State& s, std::unique_lock<std::mutex>& lock, std::size_t most) {
  while (std::size_t{s.units.dirty()} * unit_bytes > most) {
    const Units::Block b = s.units.take_dirty();
    lock.unlock();
    const bool emptied = empty(s, b);
    lock.lock();
    s.units.put(b.first, emptied ? Units::Kind::clean : Units::Kind::dirty);
    if (!emptied) return;  // pages that are locked in memory stay
  }
}

// -- fork. The lock is held across it, so that the child finds the books in order.
constinit ForkCopy copy;

void before_fork() {
  state.mutex.lock();
  if (state.base != nullptr && !state.inherited) copy.make(state.fd, state.base, state.opened, state.units);
}
void after_fork_here() {
  copy.drop();
  state.mutex.unlock();
}
void after_fork_in_child() {
  if (state.base != nullptr && !state.inherited) {
    close(state.fd);
    state.fd = -1;
    state.inherited = true;
    copy.install(state.base);
    state.bytes = state.opened;
    range.bytes.store(state.opened, std::memory_order_release);
  }
  state.mutex.unlock();
}

}  // namespace

bool start(std::size_t bytes) noexcept {
  const KeepErrno keep;
  State& s = state;
  const std::lock_guard lock(s.mutex);
  if (s.tried) return s.base != nullptr;
  s.tried = true;
  const std::size_t want = round_up(bytes != 0 ? std::min(bytes, most_bytes) : default_bytes(), alignment);
  if (overcommit_is_off() || !map_arena(s, want) || pthread_atfork(before_fork, after_fork_here, after_fork_in_child) != 0) {
    unmap_arena(s);
    return false;
  }
  range.base.store(reinterpret_cast<std::uintptr_t>(s.base), std::memory_order_relaxed);
  range.bytes.store(s.bytes, std::memory_order_release);
  return true;
}

Region region() noexcept {
  const std::lock_guard lock(state.mutex);
  if (state.fd < 0) return {};
  return {state.fd, state.base, state.bytes};
}

void* allocate(std::size_t bytes, std::size_t align, bool zeroed) noexcept {
  const KeepErrno keep;
  State& s = state;
  Units::Block b;
  std::byte* block = nullptr;
  {
    std::unique_lock lock(s.mutex);
    if (s.base == nullptr || s.inherited || bytes == 0 || bytes > s.bytes) return nullptr;
    const auto length = static_cast<Index>(round_up(bytes, unit_bytes) / unit_bytes);
    const std::uint64_t units = std::max<std::size_t>(align / unit_bytes, 1);
    b = s.units.take(length, units);
    // Two kinds of free blocks do not join: a large one may need both.
    if (b.length == 0 && s.units.dirty() != 0) {
      trim(s, lock, 0);
      b = s.units.take(length, units);
    }
    if (b.length == 0) return nullptr;
    if (!open_up_to(s, (std::size_t{b.first} + b.length) * unit_bytes)) {
      s.units.put(b.first, b.was);
      return nullptr;
    }
    ++s.allocations;
    block = address(s, b.first);
  }
  if (zeroed && b.was == Units::Kind::dirty) std::memset(block, 0, bytes);
  return block;
}

void release(void* p) noexcept {
  const KeepErrno keep;
  State& s = state;
  std::unique_lock lock(s.mutex);
  const Index first = block_at(s, p, "free");
  const std::size_t bytes = std::size_t{s.units.length(first)} * unit_bytes;
  if (bytes > largest_kept || s.inherited) {
    const Units::Block b{first, s.units.length(first), Units::Kind::used};
    lock.unlock();
    const bool emptied = empty(s, b);
    lock.lock();
    s.units.put(first, emptied ? Units::Kind::clean : Units::Kind::dirty);
    return;
  }
  s.units.put(first, Units::Kind::dirty);
  if (std::size_t{s.units.dirty()} * unit_bytes > most_kept) trim(s, lock, most_kept / 2);
}

std::size_t usable_bytes(const void* p) noexcept {
  const std::lock_guard lock(state.mutex);
  return std::size_t{state.units.length(block_at(state, p, "malloc_usable_size"))} * unit_bytes;
}

bool resize(void* p, std::size_t bytes) noexcept {
  State& s = state;
  std::unique_lock lock(s.mutex);
  const Index first = block_at(s, p, "realloc");
  if (bytes == 0 || bytes > s.bytes) return false;
  const auto length = static_cast<Index>(round_up(bytes, unit_bytes) / unit_bytes);
  if (length <= s.units.length(first)) {
    s.units.shrink(first, length);
    if (std::size_t{s.units.dirty()} * unit_bytes > most_kept) trim(s, lock, most_kept / 2);
    return true;
  }
  const Index was = s.units.length(first);
  if (s.inherited || !s.units.grow(first, length)) return false;
  if (open_up_to(s, (std::size_t{first} + length) * unit_bytes)) return true;
  s.units.shrink(first, was);
  return false;
}

Usage usage() noexcept {
  const std::lock_guard lock(state.mutex);
  return {std::size_t{state.units.used()} * unit_bytes, std::size_t{state.units.dirty()} * unit_bytes, state.allocations};
}

}  // namespace libcoll::arena
