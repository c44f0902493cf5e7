// What one element of each type means: how it is loaded, combined and stored, in plain C++.
// A "codec" turns memory into an accumulator and back; a "combiner" folds two accumulators.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "libcoll/kernels/small_float.hpp"
#include "libcoll/types.hpp"

namespace libcoll::kernels::scalar {

template <class T>
inline T load(const void* base, std::size_t i) noexcept {
  T v;
  std::memcpy(&v, static_cast<const char*>(base) + i * sizeof(T), sizeof(T));
  return v;
}

template <class T>
inline void store(void* base, std::size_t i, const T& v) noexcept {
  std::memcpy(static_cast<char*>(base) + i * sizeof(T), &v, sizeof(T));
}

// One NaN, so that no result depends on which operand's payload the hardware keeps.
template <class T>
inline T canonical(T v) noexcept {
  return v == v ? v : std::numeric_limits<T>::quiet_NaN();
}

template <class T> using BitsOf = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

// ---- codecs

template <class T>
struct Direct {
  using Mem = T;
  using Acc = T;
  static Acc decode(Mem v) noexcept { return v; }
  static Mem encode(Acc v) noexcept {
    if constexpr (std::is_floating_point_v<T>) return canonical(v);
    else return v;
  }
  static Acc divide(Acc v, int by) noexcept { return v / static_cast<T>(by); }
};

template <class F>
struct Small {
  using Mem = typename F::Bits;
  using Acc = float;
  static Acc decode(Mem v) noexcept { return kernels::decode<F>(v); }
  static Mem encode(Acc v) noexcept { return kernels::encode<F>(v); }
  static Acc divide(Acc v, int by) noexcept { return v / static_cast<float>(by); }
};

// Logical operations: any non-zero value is true, results are 1 or 0.
template <class T>
struct Truth {
  using Mem = T;
  using Acc = T;
  static Acc decode(Mem v) noexcept { return static_cast<T>(v != 0); }
  static Mem encode(Acc v) noexcept { return v; }
};

template <class T>
struct Complex {
  struct Mem { T re, im; };
  using Acc = Mem;
  static Acc decode(Mem v) noexcept { return v; }
  static Mem encode(Acc v) noexcept { return {canonical(v.re), canonical(v.im)}; }
  static Acc divide(Acc v, int by) noexcept { return {v.re / static_cast<T>(by), v.im / static_cast<T>(by)}; }
};

// Memory is seen as bytes: copying a struct need not keep its padding, which the result zeroes.
template <class V, class I>
struct Pair {
  using Acc = ValueIndex<V, I>;
  struct Mem { unsigned char bytes[sizeof(Acc)]; };
  static Acc decode(const Mem& m) noexcept { return std::bit_cast<Acc>(m); }
  static Mem encode(Acc v) noexcept {
    if constexpr (std::is_floating_point_v<V>) v.value = canonical(v.value);
    if constexpr (std::is_floating_point_v<I>) v.index = canonical(v.index);
    Mem m{};
    std::memcpy(m.bytes + offsetof(Acc, value), &v.value, sizeof(V));
    std::memcpy(m.bytes + offsetof(Acc, index), &v.index, sizeof(I));
    return m;
  }
};

// ---- combiners; `chunkable` ones also work on GNU vectors of the integer types

struct Sum {
  static constexpr bool chunkable = true;
  template <class A> A operator()(A a, A b) const noexcept {
    if constexpr (requires { a.re; }) return {a.re + b.re, a.im + b.im};
    else return static_cast<A>(a + b);
  }
};

struct Prod {
  static constexpr bool chunkable = true;
  template <class A> A operator()(A a, A b) const noexcept {
    if constexpr (requires { a.re; }) return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
    else if constexpr (std::is_same_v<A, std::uint16_t>) return static_cast<A>(1u * a * b);  // int overflows
    else return static_cast<A>(a * b);
  }
};

// NaN if either is NaN, and -0 < +0.
struct Min {
  static constexpr bool chunkable = false;
  template <class A> A operator()(A a, A b) const noexcept {
    if constexpr (std::is_floating_point_v<A>) {
      if (a < b) return a;
      if (b < a) return b;
      return std::bit_cast<A>(std::bit_cast<BitsOf<A>>(a) | std::bit_cast<BitsOf<A>>(b));  // NaN stays NaN
    } else {
      return b < a ? b : a;
    }
  }
};

struct Max {
  static constexpr bool chunkable = false;
  template <class A> A operator()(A a, A b) const noexcept {
    if constexpr (std::is_floating_point_v<A>) {
      if (a > b) return a;
      if (b > a) return b;
      if (a != a) return a;
      if (b != b) return b;
      return std::bit_cast<A>(std::bit_cast<BitsOf<A>>(a) & std::bit_cast<BitsOf<A>>(b));
    } else {
      return b > a ? b : a;
    }
  }
};

struct And {
  static constexpr bool chunkable = true;
  template <class A> A operator()(A a, A b) const noexcept { return static_cast<A>(a & b); }
};
struct Or {
  static constexpr bool chunkable = true;
  template <class A> A operator()(A a, A b) const noexcept { return static_cast<A>(a | b); }
};
struct Xor {
  static constexpr bool chunkable = true;
  template <class A> A operator()(A a, A b) const noexcept { return static_cast<A>(a ^ b); }
};

// Equal values: the smaller index, the earlier source if those are equal too. -0 equals +0. A NaN
// value beats every number, and ties with a NaN.
template <bool kMax>
struct Loc {
  static constexpr bool chunkable = false;
  template <class A> A operator()(const A& a, const A& b) const noexcept {
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    if (a_nan != b_nan) return a_nan ? a : b;
    if (!a_nan && a.value != b.value) return (kMax ? a.value > b.value : a.value < b.value) ? a : b;
    return b.index < a.index ? b : a;
  }
};

}  // namespace libcoll::kernels::scalar
