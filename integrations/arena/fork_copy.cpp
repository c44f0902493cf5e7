#include "integrations/arena/fork_copy.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "integrations/arena/arena.hpp"

namespace libcoll::arena {

namespace {

// By the system calls themselves: MPI's registration caches watch the library's functions, and may not run between fork
// and its return.
std::byte* map_private(void* where, std::size_t bytes, long protection, long flags) {
  const long p = syscall(SYS_mmap, where, bytes, protection, flags | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1L, 0L);
  return p == -1 ? nullptr : reinterpret_cast<std::byte*>(p);
}

// Calls take(from, to) for the parts of the live blocks that were ever touched, as offsets; false if it cannot tell.
template <class Take>
bool for_touched(int fd, std::size_t opened, const Units& units, const Take& take) {
  for (Units::Index i = 1; std::size_t{i} * unit_bytes < opened; i = units.after(i)) {
    if (units.kind(i) != Units::Kind::used) continue;
    const auto end = static_cast<off_t>(std::min(opened, std::size_t{units.after(i)} * unit_bytes));
    for (auto at = static_cast<off_t>(std::size_t{i} * unit_bytes); at < end;) {
      const off_t from = lseek(fd, at, SEEK_DATA);
      if (from < 0 && errno != ENXIO) return false;
      if (from < 0 || from >= end) break;
      const off_t to = lseek(fd, from, SEEK_HOLE);
      if (to < 0) return false;
      at = std::min(to, end);
      take(static_cast<std::size_t>(from), static_cast<std::size_t>(at));
    }
  }
  return true;
}

// What the machine can still give without swapping, or no limit if it does not say.
std::size_t available_bytes() {
  char text[4096] = {};
  const int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::numeric_limits<std::size_t>::max();
  const ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  const char* line = n > 0 ? std::strstr(text, "MemAvailable:") : nullptr;
  if (line == nullptr) return std::numeric_limits<std::size_t>::max();
  return std::strtoul(line + std::strlen("MemAvailable:"), nullptr, 10) * 1024;
}

}  // namespace

void ForkCopy::make(int fd, const std::byte* base, std::size_t opened, const Units& units) {
  const int was = errno;
  bytes_ = opened;
  std::size_t need = 0;
  const bool known = for_touched(fd, opened, units, [&](std::size_t from, std::size_t to) { need += to - from; });
  const std::size_t spare = available_bytes() / 8 * 7;
  at_ = opened != 0 && known && need <= spare ? map_private(nullptr, opened, PROT_READ | PROT_WRITE, 0) : nullptr;
  if (at_ != nullptr) for_touched(fd, opened, units, [&](std::size_t from, std::size_t to) { std::memcpy(at_ + from, base + from, to - from); });
  errno = was;
}

void ForkCopy::drop() {
  if (at_ != nullptr) syscall(SYS_munmap, at_, bytes_);
  at_ = nullptr;
}

void ForkCopy::install(std::byte* base) {
  if (bytes_ == 0) return;
  const bool moved = at_ != nullptr && syscall(SYS_mremap, at_, bytes_, bytes_, long{MREMAP_MAYMOVE | MREMAP_FIXED}, base) != -1;
  at_ = nullptr;
  if (moved) return;
  map_private(base, bytes_, PROT_NONE, MAP_FIXED);  // so that nothing else is found there
  constexpr char text[] = "libcoll: fork: there is no memory for a copy of the parent's large allocations (LIBCOLL_MPI_ARENA): "
                          "this child can only run another program or exit\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
}

}  // namespace libcoll::arena
