// Feeder: the buffers of one cell, and what happens to them between calls (hot, dirty, cold).
#pragma once

#include <memory>

#include "coll_bench/options.hpp"
#include "coll_bench/pattern.hpp"

namespace bench {

class Feeder {
 public:
  // `cache_bytes`: the last cache's size, equal on all ranks.
  Feeder(const Shape&, Buffers, Memory, std::size_t cache_bytes, libcoll::Comm&);
  ~Feeder();

  void* send() const { return send_; }
  void* recv() const { return recv_; }
  // Before every call, equally often on all ranks.
  void next();
  // Overwrites the receive buffer, so that what a call does not write is seen.
  void wipe();
  // The result of the last call, and that nothing was written behind it.
  bool is_right() const;

 private:
  struct Region;
  static constexpr std::size_t guard_bytes = 64;
  void select(std::size_t slot);
  std::byte* source() const { return shape_.coll == Coll::bcast ? recv_ : send_; }
  bool source_is_recv() const { return shape_.coll == Coll::bcast && pattern_.source_count() > 0; }

  Shape shape_;
  Buffers mode_;
  Pattern pattern_;
  std::size_t send_bytes_, recv_bytes_, send_stride_, recv_stride_, slots_ = 1, slot_ = 0;
  bool flush_ = false;
  std::int64_t generation_ = 0;
  std::unique_ptr<Region> sends_, recvs_;
  std::byte* send_ = nullptr;
  std::byte* recv_ = nullptr;
};

}  // namespace bench
