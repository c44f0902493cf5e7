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
#include <string>

#include "libcoll/bootstrap.hpp"
#include "libcoll/core/result.hpp"

namespace libcoll::xport::shm {

struct HeapOptions {
  std::uint64_t arena_bytes = 0;  // per rank; 0: machine memory, at most 64 GiB
  std::string fd_passing = "auto";
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
  bool contains(const void* p, std::size_t bytes) const {
    const auto d = static_cast<std::uint64_t>(static_cast<const std::byte*>(p) - base_);
    return d < total_bytes_ && bytes <= total_bytes_ - d;
  }
  std::uint64_t offset_of(const void* p) const {
    return static_cast<std::uint64_t>(static_cast<const std::byte*>(p) - base_);
  }
  std::size_t touched_bytes() const;  // of this rank's own part
  std::uint64_t arena_bytes() const { return arena_bytes_; }

 private:
  Heap() = default;
  detail::Result<void> reserve(const HeapOptions&, int size);
  bool map_own(int rank);
  bool map_peer(int peer, int fd);

  std::byte* base_ = nullptr;       // size * arena_bytes_, in rank order
  std::uint64_t arena_bytes_ = 0;   // per rank, equal on all
  std::uint64_t total_bytes_ = 0;
  int rank_ = 0;
  int fd_ = -1;
  std::mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> free_;  // offset within own part -> bytes, coalesced
  std::map<std::uint64_t, std::uint64_t> used_;
};

}  // namespace libcoll::xport::shm
