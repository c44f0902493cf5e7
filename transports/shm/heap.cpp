#include "transports/shm/heap.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "libcoll/core/log.hpp"
#include "transports/shm/fd_exchange.hpp"
#include "transports/shm/layout.hpp"

namespace libcoll::xport::shm {

using detail::failure;
using detail::Result;

namespace {

constexpr std::uint64_t max_arena = std::uint64_t{64} << 30;
constexpr std::uint64_t min_arena = std::uint64_t{16} << 20;
constexpr std::uint64_t granule = std::uint64_t{2} << 20;  // room for huge pages where the kernel gives them

std::uint64_t round_up(std::uint64_t n, std::uint64_t unit) { return (n + unit - 1) / unit * unit; }

std::uint64_t default_arena() {
  const auto pages = static_cast<std::uint64_t>(std::max(0L, sysconf(_SC_PHYS_PAGES)));
  std::uint64_t bytes = std::min(pages * page_bytes, max_arena);
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) bytes = std::min<std::uint64_t>(bytes, limit.rlim_cur);
  return bytes / granule * granule;  // never beyond the limit: that is a signal
}

}  // namespace

// Finds an amount that fits this process's address space (ulimit -v, valgrind), halving as needed: with what ranks lend
// besides, else without.
Result<void> Heap::reserve(const HeapOptions& options, int size) {
  const auto ranks = static_cast<std::uint64_t>(size);
  const std::uint64_t most = round_up(options.arena_bytes ? options.arena_bytes : default_arena(), granule);
  for (const std::uint64_t lent : {options.lent.bytes, std::uint64_t{0}})
    for (std::uint64_t want = most; ; want = round_up(want / 2, granule)) {
      const std::uint64_t bytes = (want + lent) * ranks;
      void* p = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (p != MAP_FAILED) {
        munmap(p, bytes);
        arena_bytes_ = want;
        return {};
      }
      if (want <= min_arena || options.arena_bytes) break;
    }
  return failure(Errc::system, fmt::format("cannot reserve {} MiB of address space for each of {} ranks ({}); set LIBCOLL_ARENA_BYTES",
                                           (options.arena_bytes ? most : std::min(most, min_arena)) >> 20, size, std::strerror(errno)));
}

bool Heap::map_own(int rank) {
  fd_ = memfd_create("libcoll", MFD_CLOEXEC);
  if (fd_ < 0 || ftruncate(fd_, static_cast<off_t>(arena_bytes_)) != 0) return false;
  rank_ = rank;
  return map_peer(rank, fd_);
}

bool Heap::map_peer(int peer, int fd) {
  std::byte* where = base_ + static_cast<std::uint64_t>(peer) * arena_bytes_;
  return mmap(where, arena_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0) == where;
}

bool Heap::reserve_all(std::uint64_t lent_total) {
  void* p = mmap(nullptr, total_bytes_ + lent_total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return false;
  base_ = static_cast<std::byte*>(p);
  mapped_bytes_ = total_bytes_ + lent_total;
  return true;
}

// Collective. `room`: whether this rank reserved address space for it.
void Heap::map_lent(Bootstrap& host, const HeapOptions& options, std::span<const std::uint64_t> lent_bytes, bool room) {
  const auto mine = static_cast<std::size_t>(host.rank());
  std::vector<std::uint64_t> at(lent_bytes.size());
  std::uint64_t next = total_bytes_;
  for (std::size_t r = 0; r < at.size(); ++r) {
    at[r] = next;
    next += lent_bytes[r];
  }
  // Children of fork get no view of others' memory.
  const auto map = [&](int peer, int fd) {
    const auto r = static_cast<std::size_t>(peer);
    if (lent_bytes[r] == 0) return true;
    if (!room) return false;
    void* where = base_ + at[r];
    return mmap(where, lent_bytes[r], PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0) == where &&
           madvise(where, lent_bytes[r], MADV_DONTFORK) == 0 && madvise(where, lent_bytes[r], MADV_DONTDUMP) == 0;
  };
  // A rank that lends nothing shows its heap instead: the exchange wants a descriptor of everybody.
  const int fd = lent_bytes[mine] != 0 ? options.lent.fd : fd_;
  const bool own = map(host.rank(), fd);
  const auto all = exchange_fds(host, fd, options.fd_passing, [&](int peer, int theirs) { return own && map(peer, theirs); });
  if (!all) {
    detail::log().info("libcoll: lent memory is copied, not shared: {}", all.error().text);
    return;
  }
  lent_base_ = static_cast<const std::byte*>(options.lent.base);
  lent_bytes_ = lent_bytes[mine] != 0 ? options.lent.bytes : 0;
  lent_at_ = at[mine];
}

Result<std::unique_ptr<Heap>> Heap::create(Bootstrap& host, const HeapOptions& options) {
  std::unique_ptr<Heap> heap(new Heap);
  const int size = host.size();
  const auto reserved = heap->reserve(options, size);
  // Offsets must mean the same everywhere, so all take the smallest amount that anybody can have.
  const std::uint64_t mine[2] = {reserved ? heap->arena_bytes_ : 0, options.lent.fd >= 0 ? round_up(options.lent.bytes, page_bytes) : 0};
  std::vector<std::uint64_t> everyones(2 * static_cast<std::size_t>(size)), all, lent_bytes;
  host.allgather(mine, everyones.data(), sizeof mine);
  std::uint64_t lent_total = 0;
  for (std::size_t r = 0; r < everyones.size(); r += 2) {
    all.push_back(everyones[r]);
    lent_bytes.push_back(everyones[r + 1]);
    lent_total += everyones[r + 1];
  }
  const auto least = std::min_element(all.begin(), all.end());
  if (*least == 0)
    return reserved ? failure(Errc::system, fmt::format("rank {} of this host cannot reserve shared memory", least - all.begin()))
                    : tl::unexpected(reserved.error());
  heap->arena_bytes_ = *least;
  heap->total_bytes_ = *least * static_cast<std::uint64_t>(size);
  const bool room = heap->reserve_all(lent_total);
  const bool own = (room || heap->reserve_all(0)) && heap->map_own(host.rank());
  const std::string own_error = own ? "" : std::strerror(errno);
  // Offset 0 of each part is never handed out: 0 means "none".
  heap->free_[page_bytes] = heap->arena_bytes_ - page_bytes;

  const auto mapped = exchange_fds(host, own ? heap->fd_ : -1, options.fd_passing,
                                   [&](int peer, int fd) { return heap->map_peer(peer, fd); });
  if (!own) return failure(Errc::system, fmt::format("cannot create shared memory: {}", own_error));
  if (!mapped) return tl::unexpected(mapped.error());
  if (lent_total != 0) heap->map_lent(host, options, lent_bytes, room);
  return heap;
}

Heap::~Heap() {
  if (base_) munmap(base_, mapped_bytes_);
  if (fd_ >= 0) close(fd_);
}

std::uint64_t Heap::allocate(std::size_t bytes) {
  const std::uint64_t need = round_up(std::max<std::size_t>(bytes, 1), page_bytes);
  std::lock_guard lock(mutex_);
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->second < need) continue;
    const std::uint64_t offset = it->first, rest = it->second - need;
    free_.erase(it);
    if (rest) free_[offset + need] = rest;
    used_[offset] = need;
    return static_cast<std::uint64_t>(rank_) * arena_bytes_ + offset;
  }
  return 0;
}

void Heap::release(std::uint64_t offset) {
  if (offset == 0) return;
  const std::uint64_t local = offset - static_cast<std::uint64_t>(rank_) * arena_bytes_;
  std::lock_guard lock(mutex_);
  const auto used = used_.find(local);
  if (used == used_.end()) return;
  std::uint64_t start = local, bytes = used->second;
  used_.erase(used);
  // Gives the pages back and makes the range read as zeros for its next owner.
  if (fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(start), static_cast<off_t>(bytes)) != 0)
    std::memset(base_ + offset, 0, bytes);
  auto next = free_.lower_bound(start);
  if (next != free_.end() && next->first == start + bytes) {
    bytes += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    auto previous = std::prev(next);
    if (previous->first + previous->second == start) {
      previous->second += bytes;
      return;
    }
  }
  free_[start] = bytes;
}

bool Heap::populate(std::uint64_t offset, std::size_t bytes) {
  const std::uint64_t local = offset - static_cast<std::uint64_t>(rank_) * arena_bytes_;
  int rc;
  do rc = fallocate(fd_, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(local), static_cast<off_t>(bytes));
  while (rc != 0 && errno == EINTR);
  return rc == 0;
}

std::size_t Heap::touched_bytes() const {
  struct stat st{};
  return fstat(fd_, &st) == 0 ? static_cast<std::size_t>(st.st_blocks) * 512 : 0;
}

}  // namespace libcoll::xport::shm
