// find_reduce_small: the hot path of tiny collectives. No dispatch, no vectors wider than the
// baseline: what matters here is the number of instructions before the first load.
#include "libcoll/kernels/reduce.hpp"
#include "libcoll/kernels/scalar_ops.hpp"

namespace libcoll::kernels {
namespace {

using namespace scalar;

// Elements [begin, end) of the fold. Element is a codec's memory type or a vector of eight bytes.
template <class Codec, class Combine, bool kDivide>
inline void fold_elements(void* dst, const void* const* srcs, int source_count, std::size_t begin,
                          std::size_t end, int divisor) noexcept {
  using Mem = typename Codec::Mem;
  for (std::size_t i = begin; i < end; ++i) {
    auto acc = Codec::decode(load<Mem>(srcs[0], i));
    for (int k = 1; k < source_count; ++k) acc = Combine{}(acc, Codec::decode(load<Mem>(srcs[k], i)));
    if constexpr (kDivide) acc = Codec::divide(acc, divisor);
    store<Mem>(dst, i, Codec::encode(acc));
  }
}

// Eight bytes at a time, so that eight MPI_CHARs cost what one double costs.
template <class T>
struct Chunk {
  typedef T Vector __attribute__((vector_size(8)));
  using Mem = Vector;
  using Acc = Vector;
  static Acc decode(Mem v) noexcept { return v; }
  static Mem encode(Acc v) noexcept { return v; }
};

template <class Codec, class Combine, bool kDivide = false>
void fold(void* dst, const void* const* srcs, int source_count, std::size_t count, int divisor) noexcept {
  using Mem = typename Codec::Mem;
  std::size_t done = 0;
  if constexpr (std::is_same_v<Codec, Direct<Mem>> && std::is_integral_v<Mem> && sizeof(Mem) < 8 &&
                Combine::chunkable) {
    constexpr std::size_t per_chunk = 8 / sizeof(Mem);
    const std::size_t chunks = count / per_chunk;
    fold_elements<Chunk<Mem>, Combine, false>(dst, srcs, source_count, 0, chunks, 0);
    done = chunks * per_chunk;
  }
  fold_elements<Codec, Combine, kDivide>(dst, srcs, source_count, done, count, divisor);
}

template <class T>
ReduceSmallFn bitwise(Op op) noexcept {
  switch (op) {
    case Op::band: return fold<Direct<T>, And>;
    case Op::bor: return fold<Direct<T>, Or>;
    case Op::bxor: return fold<Direct<T>, Xor>;
    default: return nullptr;
  }
}

template <class T>
ReduceSmallFn integer(Op op) noexcept {
  using U = std::make_unsigned_t<T>;  // wraps without undefined behaviour
  switch (op) {
    case Op::sum: return fold<Direct<U>, Sum>;
    case Op::prod: return fold<Direct<U>, Prod>;
    case Op::min: return fold<Direct<T>, Min>;
    case Op::max: return fold<Direct<T>, Max>;
    case Op::land: return fold<Truth<U>, And>;
    case Op::lor: return fold<Truth<U>, Or>;
    case Op::lxor: return fold<Truth<U>, Xor>;
    default: return bitwise<U>(op);
  }
}

template <class Codec>
ReduceSmallFn floating(Op op) noexcept {
  switch (op) {
    case Op::sum: return fold<Codec, Sum>;
    case Op::prod: return fold<Codec, Prod>;
    case Op::min: return fold<Codec, Min>;
    case Op::max: return fold<Codec, Max>;
    case Op::avg: return fold<Codec, Sum, true>;
    default: return nullptr;
  }
}

template <class T>
ReduceSmallFn complex(Op op) noexcept {
  switch (op) {
    case Op::sum: return fold<Complex<T>, Sum>;
    case Op::prod: return fold<Complex<T>, Prod>;
    case Op::avg: return fold<Complex<T>, Sum, true>;
    default: return nullptr;
  }
}

ReduceSmallFn boolean(Op op) noexcept {
  using Bool = Truth<std::uint8_t>;  // never trust the byte to be 0 or 1
  switch (op) {
    case Op::land:
    case Op::band: return fold<Bool, And>;
    case Op::lor:
    case Op::bor: return fold<Bool, Or>;
    case Op::lxor:
    case Op::bxor: return fold<Bool, Xor>;
    default: return nullptr;
  }
}

template <class V, class I>
ReduceSmallFn pair(Op op) noexcept {
  switch (op) {
    case Op::minloc: return fold<Pair<V, I>, Loc<false>>;
    case Op::maxloc: return fold<Pair<V, I>, Loc<true>>;
    default: return nullptr;
  }
}

}  // namespace

ReduceSmallFn find_reduce_small(DType dtype, Op op) noexcept {
  switch (dtype) {
    case DType::i8: return integer<std::int8_t>(op);
    case DType::i16: return integer<std::int16_t>(op);
    case DType::i32: return integer<std::int32_t>(op);
    case DType::i64: return integer<std::int64_t>(op);
    case DType::u8: return integer<std::uint8_t>(op);
    case DType::u16: return integer<std::uint16_t>(op);
    case DType::u32: return integer<std::uint32_t>(op);
    case DType::u64: return integer<std::uint64_t>(op);
    case DType::f16: return floating<Small<F16>>(op);
    case DType::bf16: return floating<Small<BF16>>(op);
    case DType::f32: return floating<Direct<float>>(op);
    case DType::f64: return floating<Direct<double>>(op);
    case DType::f8e4m3: return floating<Small<F8e4m3>>(op);
    case DType::f8e5m2: return floating<Small<F8e5m2>>(op);
    case DType::c64: return complex<float>(op);
    case DType::c128: return complex<double>(op);
    case DType::boolean: return boolean(op);
    case DType::byte: return bitwise<std::uint8_t>(op);
    case DType::f32_i32: return pair<float, std::int32_t>(op);
    case DType::f64_i32: return pair<double, std::int32_t>(op);
    case DType::i64_i32: return pair<std::int64_t, std::int32_t>(op);
    case DType::i32_i32: return pair<std::int32_t, std::int32_t>(op);
    case DType::i16_i32: return pair<std::int16_t, std::int32_t>(op);
    case DType::f32_f32: return pair<float, float>(op);
    case DType::f64_f64: return pair<double, double>(op);
  }
  return nullptr;
}

}  // namespace libcoll::kernels
