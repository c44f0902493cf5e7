// Element types, reduction operations and small value types of the public API.
// Values only: everything here is trivially copyable and thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <complex>
#include <type_traits>

#define LIBCOLL_API __attribute__((visibility("default")))

namespace libcoll {

// One element in memory. Pair types have C's struct layout (MPI_FLOAT_INT and so on).
enum class DType : std::uint8_t {
  i8, i16, i32, i64,
  u8, u16, u32, u64,
  f16, bf16, f32, f64,
  f8e4m3, f8e5m2,          // OCP FP8: e4m3 is the finite-only "fn" form, e5m2 has infinities
  c64, c128,               // complex<float>, complex<double>
  boolean,                 // one byte, 0 or 1
  byte,                    // uninterpreted
  f32_i32, f64_i32, i64_i32, i32_i32, i16_i32,  // {value, index} pairs for minloc and maxloc
  f32_f32, f64_f64,                             // Fortran's MPI_2REAL, MPI_2DOUBLE_PRECISION
};
inline constexpr int dtype_count = 25;

enum class Op : std::uint8_t {
  sum, prod, min, max,
  avg,                     // sum divided once by the number of ranks
  land, lor, lxor, band, bor, bxor,
  minloc, maxloc,
  custom,                  // a CustomOp; never passed by hand
};
inline constexpr int op_count = 13;  // without custom

// Storage-only representations of the small floats (arithmetic happens in f32).
struct float16 { std::uint16_t bits; };
struct bfloat16 { std::uint16_t bits; };
struct float8_e4m3 { std::uint8_t bits; };
struct float8_e5m2 { std::uint8_t bits; };

// {value, index}, the operand of minloc and maxloc.
template <class V, class I>
struct ValueIndex { V value; I index; };

// Bytes of one element, padding of pair types included.
LIBCOLL_API std::size_t size_of(DType) noexcept;
LIBCOLL_API const char* name_of(DType) noexcept;
LIBCOLL_API const char* name_of(Op) noexcept;
// Whether a built-in operation is defined on a type (band on f32 is not, for example).
LIBCOLL_API bool is_defined(Op, DType) noexcept;

// A user's reduction: inout[i] = in[i] (op) inout[i], where `in` holds the operand of the lower
// ranks. It must be associative; ranks are combined in rank order, so it need not commute.
// Called on the thread that called the collective. Borrowed for the duration of the call.
struct CustomOp {
  using Function = void (*)(const void* in, void* inout, std::size_t count, DType dtype, void* context);
  Function function = nullptr;
  void* context = nullptr;
  bool commutative = false;
  // Non-zero: elements are opaque records of this many bytes (the call's DType is `byte`, and its
  // counts are in records).
  std::uint32_t element_bytes = 0;
};

// What the collectives take: a built-in operation or a reference to a CustomOp.
class ReduceOp {
 public:
  constexpr ReduceOp(Op op) noexcept : op_(op) {}                                // NOLINT: implicit
  constexpr ReduceOp(const CustomOp& c) noexcept : op_(Op::custom), custom_(&c) {}  // NOLINT
  constexpr Op op() const noexcept { return op_; }
  constexpr const CustomOp* custom() const noexcept { return custom_; }

 private:
  Op op_;
  const CustomOp* custom_ = nullptr;
};

// `comm.allreduce(in_place, recv, ...)`: the operand is already in the receive buffer.
struct InPlace {
  operator const void*() const noexcept { return reinterpret_cast<const void*>(~std::uintptr_t{0}); }  // NOLINT
};
inline constexpr InPlace in_place{};
inline bool is_in_place(const void* p) noexcept { return p == static_cast<const void*>(in_place); }

// Levels at which Comm::split(Level) groups ranks: those that share the named thing. A group is of hosts
// that share a switch; where the network's shape is unknown it is the world.
enum class Level : std::uint8_t { core, l3, numa, package, host, group, world };
inline constexpr int level_count = 7;
LIBCOLL_API const char* name_of(Level) noexcept;

// DType of a C++ type; no definition for types that the library does not know.
template <class T> struct DTypeOf;
#define LIBCOLL_DTYPE_OF(T, V) \
  template <> struct DTypeOf<T> { static constexpr DType value = DType::V; }
LIBCOLL_DTYPE_OF(float, f32);
LIBCOLL_DTYPE_OF(double, f64);
LIBCOLL_DTYPE_OF(float16, f16);
LIBCOLL_DTYPE_OF(bfloat16, bf16);
LIBCOLL_DTYPE_OF(float8_e4m3, f8e4m3);
LIBCOLL_DTYPE_OF(float8_e5m2, f8e5m2);
LIBCOLL_DTYPE_OF(std::complex<float>, c64);
LIBCOLL_DTYPE_OF(std::complex<double>, c128);
LIBCOLL_DTYPE_OF(bool, boolean);
LIBCOLL_DTYPE_OF(std::byte, byte);
using Pair_f32_i32 = ValueIndex<float, std::int32_t>;
using Pair_f64_i32 = ValueIndex<double, std::int32_t>;
using Pair_i64_i32 = ValueIndex<std::int64_t, std::int32_t>;
using Pair_i32_i32 = ValueIndex<std::int32_t, std::int32_t>;
using Pair_i16_i32 = ValueIndex<std::int16_t, std::int32_t>;
using Pair_f32_f32 = ValueIndex<float, float>;
using Pair_f64_f64 = ValueIndex<double, double>;
LIBCOLL_DTYPE_OF(Pair_f32_i32, f32_i32);
LIBCOLL_DTYPE_OF(Pair_f64_i32, f64_i32);
LIBCOLL_DTYPE_OF(Pair_i64_i32, i64_i32);
LIBCOLL_DTYPE_OF(Pair_i32_i32, i32_i32);
LIBCOLL_DTYPE_OF(Pair_i16_i32, i16_i32);
LIBCOLL_DTYPE_OF(Pair_f32_f32, f32_f32);
LIBCOLL_DTYPE_OF(Pair_f64_f64, f64_f64);
#undef LIBCOLL_DTYPE_OF

namespace detail {
template <class T>
constexpr DType integer_dtype() {
  constexpr bool s = std::is_signed_v<T>;
  if constexpr (sizeof(T) == 1) return s ? DType::i8 : DType::u8;
  else if constexpr (sizeof(T) == 2) return s ? DType::i16 : DType::u16;
  else if constexpr (sizeof(T) == 4) return s ? DType::i32 : DType::u32;
  else return s ? DType::i64 : DType::u64;
}
}  // namespace detail

// DType deduced from a C++ element type: all integers by width, floats, complex, pairs.
template <class T>
constexpr DType dtype_of() {
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_integral_v<U> && !std::is_same_v<U, bool>) return detail::integer_dtype<U>();
  else return DTypeOf<U>::value;
}

}  // namespace libcoll
