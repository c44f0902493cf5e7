// The memory that the ranks of one host share: every rank owns one memfd, and everybody maps all of
// them side by side, so that an address in it has the same offset for all. A memfd has no name, so
// nothing can stay behind in /dev/shm, and a small or missing /dev/shm does not matter.
// Thread-safe: allocate and release.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "libcoll/bootstrap.hpp"
#include "libcoll/config.hpp"
#include "libcoll/core/result.hpp"

namespace libcoll::xport::shm {

struct HeapOptions {
  std::uint64_t arena_bytes = 0;  // per rank; 0: machine memory, at most 64 GiB
  std::string fd_passing = "auto";
  LentMemory lent{};              // mapped by everybody besides the heap: see shared_at
};

class Heap {
 public:
  // Collective over the ranks of one host. Agrees on success: fails on all ranks or on none.
  static detail::Result<std::unique_ptr<Heap>> create(Bootstrap& host, const HeapOptions&);
  ~Heap();
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // From this rank's own part; page-aligned, zero-filled. 0 when there is no room.
  std::uint64_t allocate(std::size_t bytes);
  void release(std::uint64_t offset);
  // Makes the pages real now, so that a lack of memory is an error and not a SIGBUS later.
  bool populate(std::uint64_t offset, std::size_t bytes);

  std::byte* at(std::uint64_t offset) const { return base_ + offset; }
  // Whether [p, p+bytes) lies in the arena (of any rank of the host).
  bool contains(const void* p, std::size_t bytes) const { return within(base_, total_bytes_, p, bytes); }
  // The offset at which every rank finds [p, p+bytes): in the arena, or in what this rank lends. Else 0.
  std::uint64_t shared_at(const void* p, std::size_t bytes) const {
    if (contains(p, bytes)) return offset_of(p);
    if (!within(lent_base_, lent_bytes_, p, bytes)) return 0;
    return lent_at_ + static_cast<std::uint64_t>(static_cast<const std::byte*>(p) - lent_base_);
  }
  std::uint64_t offset_of(const void* p) const {
    return static_cast<std::uint64_t>(static_cast<const std::byte*>(p) - base_);
  }
  std::size_t touched_bytes() const;  // of this rank's own part
  std::uint64_t arena_bytes() const { return arena_bytes_; }

 private:
  static bool within(const std::byte* base, std::uint64_t length, const void* p, std::size_t bytes) {
    const auto d = static_cast<std::uint64_t>(static_cast<const std::byte*>(p) - base);
    return d < length && bytes <= length - d;
  }
  Heap() = default;
  detail::Result<void> reserve(const HeapOptions&, int size);
  bool reserve_all(std::uint64_t lent_total);
  void map_lent(Bootstrap&, const HeapOptions&, std::span<const std::uint64_t> lent_bytes, bool room);
  bool map_own(int rank);
  bool map_peer(int peer, int fd);

  std::byte* base_ = nullptr;       // size * arena_bytes_ in rank order, then what each rank lends
  std::uint64_t arena_bytes_ = 0;   // per rank, equal on all
  std::uint64_t total_bytes_ = 0;   // of the arenas
  std::uint64_t mapped_bytes_ = 0;  // and with what is lent
  const std::byte* lent_base_ = nullptr;  // this rank's, where it has mapped it itself
  std::uint64_t lent_bytes_ = 0;          // 0: nobody lends
  std::uint64_t lent_at_ = 0;             // where everybody has
  int rank_ = 0;
  int fd_ = -1;
  std::mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> free_;  // offset within own part -> bytes, coalesced
  std::map<std::uint64_t, std::uint64_t> used_;
};

}  // namespace libcoll::xport::shm
