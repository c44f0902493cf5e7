// The data that is sent, and what must arrive. Every buffer repeats with a prime period, so blocks
// that end up in a wrong place are seen, and filling and comparing run at the speed of memcpy.
// Values are small integers that every type holds exactly, sums over all ranks included.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "coll_bench/collectives.hpp"

namespace bench {

inline constexpr int period = 251;

// One period of encoded elements, repeated often enough that copies are not tiny.
class Tile {
 public:
  Tile(libcoll::DType, const std::function<std::int64_t(int phase)>& value);
  void fill(std::byte* to, Count count, std::int64_t phase) const;
  bool equals(const std::byte* data, Count count, std::int64_t phase) const;

 private:
  const std::byte* at(std::int64_t phase) const;
  std::size_t element_bytes_;
  Count chunk_;  // elements copied at once: a multiple of the period
  std::vector<std::byte> bytes_;
};

// What this rank sends in generation g, and what it must then receive.
class Pattern {
 public:
  explicit Pattern(const Shape&);
  // Elements of the buffer that this rank sends from; 0: it sends nothing.
  Count source_count() const { return source_count_; }
  void fill_source(std::byte* to, std::int64_t generation) const;
  // Whether the receive buffer holds the result of that generation.
  bool is_right(const std::byte* recv, std::int64_t generation) const;

 private:
  struct Segment {
    std::shared_ptr<const Tile> tile;
    Count offset, count;  // in the receive buffer, elements
    std::int64_t phase;
  };
  void expect_reduced();
  void expect_moved();

  Shape shape_;
  Count source_count_ = 0;
  Tile source_;
  std::vector<Segment> segments_;
};

}  // namespace bench
