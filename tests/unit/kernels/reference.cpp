#include "tests/unit/kernels/reference.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <complex>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace libcoll::test {

SmallFormat::SmallFormat(int bits, int mantissa_bits, int bias, bool has_infinity, unsigned nan_code)
    : bits_(bits), mantissa_bits_(mantissa_bits), bias_(bias), has_infinity_(has_infinity), nan_(nan_code) {
  const unsigned magnitude = codes() / 2 - 1;
  const unsigned first_special = has_infinity ? magnitude - ((1u << mantissa_bits) - 1) : magnitude;
  for (unsigned c = 0; c <= first_special; ++c) {
    const int exponent = static_cast<int>(c >> mantissa_bits_);
    const int mantissa = static_cast<int>(c & ((1u << mantissa_bits_) - 1));
    values_.push_back(exponent == 0
                          ? std::ldexp(mantissa, 1 - bias_ - mantissa_bits_)
                          : std::ldexp(mantissa + (1 << mantissa_bits_), exponent - bias_ - mantissa_bits_));
  }
}

float SmallFormat::decode(unsigned code) const {
  const unsigned half = codes() / 2, magnitude = code % half;
  double v;
  if (magnitude + 1 < values_.size())
    v = values_[magnitude];
  else if (has_infinity_ && magnitude + 1 == values_.size())
    v = std::numeric_limits<double>::infinity();
  else
    return std::numeric_limits<float>::quiet_NaN();
  return static_cast<float>(code >= half ? -v : v);
}

unsigned SmallFormat::encode(float value) const {
  if (std::isnan(value)) return nan_;
  const double v = std::fabs(static_cast<double>(value));
  const unsigned last = static_cast<unsigned>(values_.size()) - 1;
  unsigned code = last;
  if (v < values_[last]) {
    code = static_cast<unsigned>(std::upper_bound(values_.begin(), values_.end(), v) - values_.begin()) - 1;
    const double below = v - values_[code], above = values_[code + 1] - v;
    if (above < below || (above == below && code % 2 == 1)) ++code;
  }
  if (code == last && !has_infinity_) return nan_;
  return code + (std::signbit(value) ? codes() / 2 : 0);
}

const SmallFormat& small_format(DType dtype) {
  static const SmallFormat f16(16, 10, 15, true, 0x7E00), bf16(16, 7, 127, true, 0x7FC0);
  static const SmallFormat e4m3(8, 3, 7, false, 0x7F), e5m2(8, 2, 15, true, 0x7F);
  switch (dtype) {
    case DType::f16: return f16;
    case DType::bf16: return bf16;
    case DType::f8e4m3: return e4m3;
    default: return e5m2;
  }
}

namespace {

// Folds element by element: load and store convert between memory (Mem) and values.
template <class Mem, class Load, class Combine, class Store>
Bytes fold(const std::vector<Bytes>& srcs, std::size_t count, Load load, Combine combine, Store store) {
  Bytes out(count * sizeof(Mem));
  const auto at = [&](const Bytes& src, std::size_t i) {
    Mem m;
    std::memcpy(&m, src.data() + i * sizeof(Mem), sizeof(Mem));
    return load(m);
  };
  for (std::size_t i = 0; i < count; ++i) {
    auto acc = at(srcs[0], i);
    for (std::size_t k = 1; k < srcs.size(); ++k) acc = combine(acc, at(srcs[k], i));
    const Mem m = store(acc);
    std::memcpy(out.data() + i * sizeof(Mem), &m, sizeof(Mem));
  }
  return out;
}

template <class F>
F float_op(Op op, F a, F b) {
  switch (op) {
    case Op::sum:
    case Op::avg: return a + b;
    case Op::prod: return a * b;
    default: break;
  }
  if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<F>::quiet_NaN();
  const bool a_smaller = a < b || (a == b && std::signbit(a));
  return a_smaller == (op == Op::min) ? a : b;
}

template <class F>
F one_nan(F v) {
  return std::isnan(v) ? std::numeric_limits<F>::quiet_NaN() : v;
}

template <class T>
Bytes integers(Op op, const std::vector<Bytes>& srcs, std::size_t count) {
  const bool logical = op == Op::land || op == Op::lor || op == Op::lxor;
  const auto load = [=](T v) { return logical ? static_cast<T>(v != 0) : v; };
  const auto combine = [=](T a, T b) -> T {
    const auto ua = static_cast<std::uint64_t>(a), ub = static_cast<std::uint64_t>(b);
    switch (op) {
      case Op::sum: return static_cast<T>(ua + ub);
      case Op::prod: return static_cast<T>(ua * ub);
      case Op::min: return std::min(a, b);
      case Op::max: return std::max(a, b);
      case Op::land: return static_cast<T>(a && b);
      case Op::lor: return static_cast<T>(a || b);
      case Op::lxor: return static_cast<T>(!a != !b);
      case Op::band: return static_cast<T>(ua & ub);
      case Op::bor: return static_cast<T>(ua | ub);
      case Op::bxor: return static_cast<T>(ua ^ ub);
      default: throw std::logic_error("operation");
    }
  };
  return fold<T>(srcs, count, load, combine, [](T v) { return v; });
}

template <class F>
Bytes floats(Op op, const std::vector<Bytes>& srcs, std::size_t count, int divisor) {
  return fold<F>(
      srcs, count, [](F v) { return v; }, [=](F a, F b) { return float_op(op, a, b); },
      [=](F v) { return one_nan(op == Op::avg ? v / static_cast<F>(divisor) : v); });
}

template <class Mem>
Bytes small_floats(DType dtype, Op op, const std::vector<Bytes>& srcs, std::size_t count, int divisor) {
  const SmallFormat& format = small_format(dtype);
  return fold<Mem>(
      srcs, count, [&](Mem v) { return format.decode(v); },
      [=](float a, float b) { return float_op(op, a, b); },
      [&](float v) {
        return static_cast<Mem>(format.encode(op == Op::avg ? v / static_cast<float>(divisor) : v));
      });
}

template <class F>
Bytes complexes(Op op, const std::vector<Bytes>& srcs, std::size_t count, int divisor) {
  using C = std::complex<F>;
  return fold<C>(
      srcs, count, [](C v) { return v; },
      [=](C a, C b) -> C {
        if (op != Op::prod) return {a.real() + b.real(), a.imag() + b.imag()};
        const F ac = a.real() * b.real(), bd = a.imag() * b.imag();
        const F ad = a.real() * b.imag(), bc = a.imag() * b.real();
        return {ac - bd, ad + bc};
      },
      [=](C v) -> C {
        const F by = op == Op::avg ? static_cast<F>(divisor) : F{1};
        return {one_nan(v.real() / by), one_nan(v.imag() / by)};
      });
}

template <class V, class I>
Bytes pairs(Op op, const std::vector<Bytes>& srcs, std::size_t count) {
  using P = ValueIndex<V, I>;
  using Raw = std::array<unsigned char, sizeof(P)>;  // a struct would lose its padding in copies
  const auto beats = [=](V a, V b) { return op == Op::minloc ? a < b : b < a; };
  return fold<Raw>(
      srcs, count, [](const Raw& raw) { return std::bit_cast<P>(raw); },
      [=](const P& a, const P& b) {
        const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
        if (a_nan != b_nan) return a_nan ? a : b;
        if (beats(a.value, b.value)) return a;
        if (beats(b.value, a.value)) return b;
        return b.index < a.index ? b : a;
      },
      [](const P& v) {
        const V value = v.value != v.value ? std::numeric_limits<V>::quiet_NaN() : v.value;
        const I index = v.index != v.index ? std::numeric_limits<I>::quiet_NaN() : v.index;
        Raw raw{};
        std::memcpy(raw.data() + offsetof(P, value), &value, sizeof value);
        std::memcpy(raw.data() + offsetof(P, index), &index, sizeof index);
        return raw;
      });
}

Bytes booleans(Op op, std::vector<Bytes> srcs, std::size_t count) {
  for (auto& src : srcs)
    for (auto& b : src) b = b != 0;
  return integers<std::uint8_t>(op, srcs, count);
}

}  // namespace

Bytes reference_reduce(DType dtype, Op op, const std::vector<Bytes>& srcs, std::size_t count, int divisor) {
  switch (dtype) {
    case DType::i8: return integers<std::int8_t>(op, srcs, count);
    case DType::i16: return integers<std::int16_t>(op, srcs, count);
    case DType::i32: return integers<std::int32_t>(op, srcs, count);
    case DType::i64: return integers<std::int64_t>(op, srcs, count);
    case DType::byte:
    case DType::u8: return integers<std::uint8_t>(op, srcs, count);
    case DType::u16: return integers<std::uint16_t>(op, srcs, count);
    case DType::u32: return integers<std::uint32_t>(op, srcs, count);
    case DType::u64: return integers<std::uint64_t>(op, srcs, count);
    case DType::boolean: return booleans(op, srcs, count);
    case DType::f32: return floats<float>(op, srcs, count, divisor);
    case DType::f64: return floats<double>(op, srcs, count, divisor);
    case DType::f16:
    case DType::bf16: return small_floats<std::uint16_t>(dtype, op, srcs, count, divisor);
    case DType::f8e4m3:
    case DType::f8e5m2: return small_floats<std::uint8_t>(dtype, op, srcs, count, divisor);
    case DType::c64: return complexes<float>(op, srcs, count, divisor);
    case DType::c128: return complexes<double>(op, srcs, count, divisor);
    case DType::f32_i32: return pairs<float, std::int32_t>(op, srcs, count);
    case DType::f64_i32: return pairs<double, std::int32_t>(op, srcs, count);
    case DType::i64_i32: return pairs<std::int64_t, std::int32_t>(op, srcs, count);
    case DType::i32_i32: return pairs<std::int32_t, std::int32_t>(op, srcs, count);
    case DType::i16_i32: return pairs<std::int16_t, std::int32_t>(op, srcs, count);
    case DType::f32_f32: return pairs<float, float>(op, srcs, count);
    case DType::f64_f64: return pairs<double, double>(op, srcs, count);
  }
  return {};
}

}  // namespace libcoll::test
