#include "coll_bench/feeder.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bench {

namespace {

constexpr std::size_t page = 4096, line = 64;
constexpr int wiped = 0xA5;

#if defined(__x86_64__)
constexpr bool can_flush = true;
void flush_lines(const std::byte* data, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += line) _mm_clflush(data + i);
  _mm_mfence();
}
#else
constexpr bool can_flush = false;
void flush_lines(const std::byte*, std::size_t) {}
#endif

}  // namespace

struct Feeder::Region {
  Region(Memory memory, std::size_t bytes, libcoll::Comm& comm) {
    if (memory == Memory::shared) {
      shared = comm.allocate(bytes);
      data = static_cast<std::byte*>(shared.data());
    } else {
      owned.reset(static_cast<std::byte*>(std::aligned_alloc(page, bytes)));
      if (!owned) throw std::bad_alloc();
      data = owned.get();
    }
    std::memset(data, wiped, bytes);
  }
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  libcoll::Buffer shared;
  std::unique_ptr<std::byte, Free> owned;
  std::byte* data = nullptr;
};

Feeder::Feeder(const Shape& shape, Buffers mode, Memory memory, std::size_t cache_bytes, libcoll::Comm& comm)
    : shape_(shape),
      mode_(mode),
      pattern_(shape),
      send_bytes_(static_cast<std::size_t>(shape.send_count) * shape.element_bytes()),
      recv_bytes_(static_cast<std::size_t>(shape.recv_count) * shape.element_bytes()) {
  const auto stride = [](std::size_t bytes) { return (bytes + guard_bytes + page - 1) / page * page; };
  send_stride_ = stride(send_bytes_);
  recv_stride_ = stride(recv_bytes_);
  if (mode == Buffers::cold) {
    // Slots start at pages, so all used lines of small messages together would stay in the cache:
    // those are flushed instead. All ranks must agree on the number of slots, or their generations
    // would differ: it follows from the reported size alone.
    flush_ = can_flush && shape.bytes < page;
    slots_ = flush_ ? 64 : std::max<std::size_t>(cache_bytes / std::max<std::size_t>(shape.bytes, page), 2);
  }
  sends_ = std::make_unique<Region>(memory, slots_ * send_stride_, comm);
  recvs_ = std::make_unique<Region>(memory, slots_ * recv_stride_, comm);
  for (std::size_t i = slots_; i-- > 0;) {
    select(i);
    if (pattern_.source_count() > 0) pattern_.fill_source(source(), static_cast<std::int64_t>(i));
  }
}

Feeder::~Feeder() = default;

void Feeder::select(std::size_t slot) {
  slot_ = slot;
  send_ = sends_->data + slot * send_stride_;
  recv_ = recvs_->data + slot * recv_stride_;
}

void Feeder::next() {
  if (mode_ == Buffers::hot) return;
  if (mode_ == Buffers::dirty) {
    ++generation_;
    if (pattern_.source_count() > 0) pattern_.fill_source(source(), generation_);
    return;
  }
  if (flush_) {
    flush_lines(send_, send_bytes_);
    flush_lines(recv_, recv_bytes_);
  }
  select((slot_ + 1) % slots_);
  generation_ = static_cast<std::int64_t>(slot_);
}

void Feeder::wipe() {
  if (!source_is_recv()) std::memset(recv_, wiped, recv_bytes_);
}

bool Feeder::is_right() const {
  const auto untouched = [](const std::byte* p) {
    return std::all_of(p, p + guard_bytes, [](std::byte b) { return b == std::byte{wiped}; });
  };
  return pattern_.is_right(recv_, generation_) && untouched(send_ + send_bytes_) &&
         untouched(recv_ + recv_bytes_);
}

}  // namespace bench
