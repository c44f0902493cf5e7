#include "coll_bench/pattern.hpp"

#include <algorithm>
#include <cstring>

namespace bench {

namespace {

using libcoll::DType;
using libcoll::Op;

constexpr std::int64_t rank_step = 37, generation_step = 11;

// A non-negative integer that the format holds exactly.
std::uint32_t encode_small_float(std::int64_t value, int mantissa_bits, int bias) {
  if (value == 0) return 0;
  int exponent = 63 - __builtin_clzll(static_cast<unsigned long long>(value));
  const std::uint64_t fraction = static_cast<std::uint64_t>(value) ^ (std::uint64_t{1} << exponent);
  const int shift = mantissa_bits - exponent;
  const std::uint64_t mantissa = shift >= 0 ? fraction << shift : fraction >> -shift;
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(exponent + bias) << mantissa_bits) |
                                    mantissa);
}

template <class T>
void put(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

void encode(DType dtype, std::int64_t v, std::byte* to) {
  switch (dtype) {
    case DType::f32:
    case DType::c64:
      return put(to, static_cast<float>(v));  // the imaginary part stays zero
    case DType::f64:
    case DType::c128:
      return put(to, static_cast<double>(v));
    case DType::f16:
      return put(to, static_cast<std::uint16_t>(encode_small_float(v, 10, 15)));
    case DType::bf16:
      return put(to, static_cast<std::uint16_t>(encode_small_float(v, 7, 127)));
    case DType::f8e4m3:
      return put(to, static_cast<std::uint8_t>(encode_small_float(v, 3, 7)));
    case DType::f8e5m2:
      return put(to, static_cast<std::uint8_t>(encode_small_float(v, 2, 15)));
    default:
      break;
  }
  const std::size_t bytes = libcoll::size_of(dtype);  // integers: the low bytes, little endian
  std::memcpy(to, &v, std::min(bytes, sizeof v));
}

// Up to here all integers have an exact representation.
std::int64_t largest_exact(DType dtype) {
  switch (dtype) {
    case DType::f8e5m2:
      return 8;
    case DType::f8e4m3:
      return 16;
    case DType::bf16:
      return 256;
    case DType::f16:
      return 2048;
    case DType::boolean:
      return 1;
    case DType::i8:
      return 127;
    case DType::u8:
    case DType::byte:
      return 255;
    case DType::i16:
      return 32767;
    default:
      return 1 << 16;
  }
}

// What rank `rank` contributes at a phase: within what the operation over all ranks keeps exact.
std::int64_t operand(const Shape& s, int rank, std::int64_t phase) {
  const std::int64_t raw = (phase % period * 7 + 3) % period, exact = largest_exact(s.dtype), n = s.ranks;
  const auto below = [raw](std::int64_t limit) { return raw % std::clamp<std::int64_t>(limit, 1, period); };
  if (!info_of(s.coll).reduces) return below(exact + 1);
  switch (s.op) {
    case Op::sum:
      return rank < exact ? below(std::max<std::int64_t>(exact / n + 1, 2)) : 0;
    case Op::prod:
      return rank < 8 ? 1 + raw % 2 : 1;
    case Op::avg:
      return n * below(exact / (n * n) + 1);
    case Op::land:
    case Op::lor:
    case Op::lxor:
      return raw % 2;
    default:
      return below(exact + 1);
  }
}

std::int64_t combine(Op op, std::int64_t a, std::int64_t b) {
  switch (op) {
    case Op::prod:
      return a * b;
    case Op::min:
      return std::min(a, b);
    case Op::max:
      return std::max(a, b);
    case Op::land:
      return a != 0 && b != 0;
    case Op::lor:
      return a != 0 || b != 0;
    case Op::lxor:
      return (a != 0) != (b != 0);
    case Op::band:
      return a & b;
    case Op::bor:
      return a | b;
    case Op::bxor:
      return a ^ b;
    default:
      return a + b;  // sum, avg
  }
}

std::int64_t reduced(const Shape& s, int ranks, std::int64_t phase) {
  std::int64_t result = operand(s, 0, phase);
  for (int r = 1; r < ranks; ++r) result = combine(s.op, result, operand(s, r, phase + rank_step * r));
  return s.op == Op::avg ? result / s.ranks : result;
}

}  // namespace

Tile::Tile(DType dtype, const std::function<std::int64_t(int)>& value)
    : element_bytes_(libcoll::size_of(dtype)) {
  const auto repeats = static_cast<int>(std::max<std::size_t>(1, 4096 / (period * element_bytes_)));
  chunk_ = Count{period} * repeats;
  bytes_.resize(static_cast<std::size_t>(chunk_ + period) * element_bytes_);
  for (Count i = 0; i < chunk_ + period; ++i)
    encode(dtype, value(static_cast<int>(i % period)),
           bytes_.data() + static_cast<std::size_t>(i) * element_bytes_);
}

const std::byte* Tile::at(std::int64_t phase) const {
  return bytes_.data() + static_cast<std::size_t>(phase % period) * element_bytes_;
}

void Tile::fill(std::byte* to, Count count, std::int64_t phase) const {
  const std::byte* from = at(phase);
  for (; count > 0; count -= chunk_) {
    const std::size_t bytes = static_cast<std::size_t>(std::min(count, chunk_)) * element_bytes_;
    std::memcpy(to, from, bytes);
    to += bytes;
  }
}

bool Tile::equals(const std::byte* data, Count count, std::int64_t phase) const {
  const std::byte* want = at(phase);
  for (; count > 0; count -= chunk_) {
    const std::size_t bytes = static_cast<std::size_t>(std::min(count, chunk_)) * element_bytes_;
    if (std::memcmp(data, want, bytes) != 0) return false;
    data += bytes;
  }
  return true;
}

Pattern::Pattern(const Shape& shape)
    : shape_(shape), source_(shape.dtype, [&shape](int phase) { return operand(shape, shape.rank, phase); }) {
  if (shape.coll == Coll::barrier) return;
  source_count_ = shape.coll == Coll::bcast ? (shape.rank == shape.root ? shape.count : 0) : shape.send_count;
  if (info_of(shape.coll).reduces)
    expect_reduced();
  else
    expect_moved();
}

void Pattern::expect_reduced() {
  const Shape& s = shape_;
  const int ranks = s.coll == Coll::scan ? s.rank + 1 : s.coll == Coll::exscan ? s.rank : s.ranks;
  if (ranks == 0 || (s.coll == Coll::reduce && s.rank != s.root)) return;
  const auto tile =
      std::make_shared<const Tile>(s.dtype, [&](int phase) { return reduced(s, ranks, phase); });
  segments_.push_back({tile, 0, s.count, s.coll == Coll::reduce_scatter ? s.count * s.rank : 0});
}

void Pattern::expect_moved() {
  const Shape& s = shape_;
  const auto tile = std::make_shared<const Tile>(s.dtype, [&](int phase) { return operand(s, 0, phase); });
  const auto from_all = [&](Count skipped) {
    for (int r = 0; r < s.ranks; ++r)
      segments_.push_back({tile, s.count * r, s.count, rank_step * r + skipped});
  };
  switch (s.coll) {
    case Coll::bcast:
      segments_.push_back({tile, 0, s.count, rank_step * s.root});
      break;
    case Coll::scatter:
    case Coll::scatterv:
      segments_.push_back({tile, 0, s.count, rank_step * s.root + s.count * s.rank});
      break;
    case Coll::gather:
    case Coll::gatherv:
      if (s.rank == s.root) from_all(0);
      break;
    case Coll::alltoall:
    case Coll::alltoallv:
      from_all(s.count * s.rank);
      break;
    default:
      from_all(0);
      break;
  }
}

void Pattern::fill_source(std::byte* to, std::int64_t generation) const {
  source_.fill(to, source_count_, rank_step * shape_.rank + generation_step * generation);
}

bool Pattern::is_right(const std::byte* recv, std::int64_t generation) const {
  for (const Segment& s : segments_)
    if (!s.tile->equals(recv + static_cast<std::size_t>(s.offset) * shape_.element_bytes(), s.count,
                        s.phase + generation_step * generation))
      return false;
  return true;
}

}  // namespace bench
