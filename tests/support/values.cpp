#include "tests/support/values.hpp"

#include <cmath>
#include <complex>
#include <cstdlib>
#include <cstring>
#include <random>

#include "tests/unit/kernels/reference.hpp"

namespace libcoll::test {

std::uint64_t test_seed() {
  static const std::uint64_t seed = [] {
    if (const char* v = std::getenv("LIBCOLL_TEST_SEED"); v != nullptr && *v != 0) return std::strtoull(v, nullptr, 10);
    return static_cast<unsigned long long>(std::random_device{}());
  }();
  return seed;
}

std::string seed_text() { return "LIBCOLL_TEST_SEED=" + std::to_string(test_seed()) + " repeats this run"; }

double test_scale() {
  const char* v = std::getenv("LIBCOLL_TEST_SCALE");
  return v != nullptr && *v != 0 ? std::strtod(v, nullptr) : 1;
}

std::uint64_t mixed(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  std::uint64_t x = a * 0x9e3779b97f4a7c15u ^ (b + 0x632be59bd9b4e019u) * 0xd6e8feb86659fd93u ^ (c + 1) * 0xa0761d6478bd642fu;
  x ^= x >> 32, x *= 0xd6e8feb86659fd93u, x ^= x >> 32, x *= 0xd6e8feb86659fd93u, x ^= x >> 32;
  return x;
}

namespace {

double number(Op op, Values values, std::uint64_t h) {
  if (values == Values::exact) {
    if (op == Op::prod) return static_cast<double>(h % 4 == 0 ? 2 : h % 4 == 1 ? -1 : 1);
    return static_cast<double>(static_cast<int>(h % 9) - 4);
  }
  const double unit = static_cast<double>(h >> 11) * 0x1p-53 * 2 - 1;
  return std::ldexp(unit, static_cast<int>(h % 7) - 3);
}

template <class T>
void put(unsigned char* to, T v) { std::memcpy(to, &v, sizeof v); }

template <class T>
T integer(Op op, std::uint64_t h) {
  switch (op) {
    case Op::sum: return static_cast<T>(static_cast<std::int64_t>(h % 9) - (std::is_signed_v<T> ? 4 : 0));
    case Op::prod: return static_cast<T>(h % 3 + 1);
    case Op::land:
    case Op::lor:
    case Op::lxor: return h % 4 == 0 ? T{0} : static_cast<T>(h >> 8 | 1);
    default: return static_cast<T>(h);
  }
}

// Ties are frequent, in the value and now and then in the index too.
template <class V, class I>
void pair(unsigned char* to, std::uint64_t h, int rank) {
  std::memset(to, 0, sizeof(ValueIndex<V, I>));
  using P = ValueIndex<V, I>;
  put(to + offsetof(P, value), static_cast<V>(static_cast<int>(h % 4) - 1));
  put(to + offsetof(P, index), static_cast<I>((h >> 16) % 3 == 0 ? 1 : rank));
}

void put_element(unsigned char* to, DType dtype, Op op, Values values, std::uint64_t h, int rank) {
  switch (dtype) {
    case DType::i8: return put(to, integer<std::int8_t>(op, h));
    case DType::i16: return put(to, integer<std::int16_t>(op, h));
    case DType::i32: return put(to, integer<std::int32_t>(op, h));
    case DType::i64: return put(to, integer<std::int64_t>(op, h));
    case DType::u8:
    case DType::byte: return put(to, integer<std::uint8_t>(op, h));
    case DType::u16: return put(to, integer<std::uint16_t>(op, h));
    case DType::u32: return put(to, integer<std::uint32_t>(op, h));
    case DType::u64: return put(to, integer<std::uint64_t>(op, h));
    case DType::boolean: return put(to, static_cast<std::uint8_t>(h & 1));
    case DType::f16:
    case DType::bf16:
      return put(to, static_cast<std::uint16_t>(small_format(dtype).encode(static_cast<float>(number(op, values, h)))));
    case DType::f8e4m3:
    case DType::f8e5m2:
      return put(to, static_cast<std::uint8_t>(small_format(dtype).encode(static_cast<float>(number(op, values, h)))));
    case DType::f32: return put(to, static_cast<float>(number(op, values, h)));
    case DType::f64: return put(to, number(op, values, h));
    case DType::c64:
      return put(to, std::complex<float>(static_cast<float>(number(op, values, h)), static_cast<float>(number(op, values, mixed(h)))));
    case DType::c128: return put(to, std::complex<double>(number(op, values, h), number(op, values, mixed(h))));
    case DType::f32_i32: return pair<float, std::int32_t>(to, h, rank);
    case DType::f64_i32: return pair<double, std::int32_t>(to, h, rank);
    case DType::i64_i32: return pair<std::int64_t, std::int32_t>(to, h, rank);
    case DType::i32_i32: return pair<std::int32_t, std::int32_t>(to, h, rank);
    case DType::i16_i32: return pair<std::int16_t, std::int32_t>(to, h, rank);
    case DType::f32_f32: return pair<float, float>(to, h, rank);
    case DType::f64_f64: return pair<double, double>(to, h, rank);
  }
}

}  // namespace

void fill_operand(void* to, std::size_t count, DType dtype, Op op, Values values, std::uint64_t tag, int rank,
                  std::size_t first) {
  auto* p = static_cast<unsigned char*>(to);
  const std::size_t bytes = size_of(dtype);
  const std::uint64_t base = mixed(tag, static_cast<std::uint64_t>(rank));
  for (std::size_t i = 0; i < count; ++i) put_element(p + i * bytes, dtype, op, values, mixed(base, first + i), rank);
}

void fill_block(void* to, std::size_t bytes, std::uint64_t tag, int from, int receiver) {
  auto* p = static_cast<unsigned char*>(to);
  const std::uint64_t base = mixed(tag, static_cast<std::uint64_t>(from), static_cast<std::uint64_t>(receiver + 1));
  std::size_t i = 0;
  for (; i + 8 <= bytes; i += 8) {
    const std::uint64_t v = (base + i) * 0x9e3779b97f4a7c15u;
    std::memcpy(p + i, &v, 8);
  }
  for (; i < bytes; ++i) p[i] = static_cast<unsigned char>((base + i) * 0x9e3779b97f4a7c15u >> 56);
}

}  // namespace libcoll::test
