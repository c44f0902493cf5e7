// f16, bf16 and fp8: widened to f32, folded there, rounded once at the end.
#include "libcoll/kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "libcoll/kernels/reduce_small_float.cpp"
#include <hwy/foreach_target.h>

#include "libcoll/kernels/families.hpp"
#include "libcoll/kernels/float-inl.h"
#include "libcoll/kernels/fold-inl.h"
#include "libcoll/kernels/small_float-inl.h"

HWY_BEFORE_NAMESPACE();
namespace libcoll::kernels {
namespace HWY_NAMESPACE {
namespace {

template <class F, template <class> class Operation>
struct SmallFloat {
  using Mem = typename F::Bits;
  using Convert = typename ConversionOf<F>::type;
  using Tag = typename Convert::Tag;
  using Acc = hn::Vec<F32>;
  static constexpr std::size_t lanes_per_unit = 1;
  Operation<F32> operation;

  explicit SmallFloat(int divisor) : operation(divisor) {}
  HWY_INLINE Acc widen(hn::Vec<Tag> v) const { return operation.begin(Convert::widen(v)); }
  HWY_INLINE Acc combine(Acc a, Acc b) const { return operation.combine(a, b); }
  HWY_INLINE hn::Vec<Tag> narrow(Acc v) const { return Convert::narrow(operation.end(v)); }
};

#if HWY_TARGET == HWY_SCALAR  // one lane has no halves
template <template <class> class Operation>
struct Bfloat16 {
  using Mem = std::uint16_t;
  using Tag = hn::Rebind<Mem, F32>;
  using Acc = hn::Vec<F32>;
  static constexpr std::size_t lanes_per_unit = 1;
  Operation<F32> operation;

  explicit Bfloat16(int divisor) : operation(divisor) {}
  HWY_INLINE Acc widen(hn::Vec<Tag> v) const {
    return operation.begin(hn::Set(F32(), decode<BF16>(hn::GetLane(v))));
  }
  HWY_INLINE Acc combine(Acc a, Acc b) const { return operation.combine(a, b); }
  HWY_INLINE hn::Vec<Tag> narrow(Acc v) const {
    return hn::Set(Tag(), encode<BF16>(hn::GetLane(operation.end(v))));
  }
};
#else
// A bf16 is the upper half of an f32, so a vector of them is two vectors of f32 (the even and the odd
// lanes) after one shift and one mask, and no lane ever moves. AVX-512's own conversion is not used:
// it flushes subnormals.
template <template <class> class Operation>
struct Bfloat16 {
  using Mem = std::uint16_t;
  using Tag = hn::ScalableTag<Mem>;
  struct Acc { hn::Vec<F32> even, odd; };
  static constexpr std::size_t lanes_per_unit = 1;
  Operation<F32> operation;

  explicit Bfloat16(int divisor) : operation(divisor) {}
  HWY_INLINE Acc widen(hn::Vec<Tag> v) const {
    const U32 u;
    const F32 f;
    const auto both = hn::BitCast(u, v);
    return {operation.begin(hn::BitCast(f, hn::ShiftLeft<16>(both))),
            operation.begin(hn::BitCast(f, hn::And(both, hn::Set(u, 0xFFFF0000u))))};
  }
  HWY_INLINE Acc combine(const Acc& a, const Acc& b) const {
    return {operation.combine(a.even, b.even), operation.combine(a.odd, b.odd)};
  }
  HWY_INLINE hn::Vec<Tag> narrow(const Acc& v) const {
    const auto even = hn::ShiftRight<16>(rounded(v.even));
    const auto odd = hn::And(rounded(v.odd), hn::Set(U32(), 0xFFFF0000u));
    return hn::BitCast(Tag(), hn::Or(even, odd));
  }

 private:
  // Nearest even in the upper half; the canonical NaN passes unharmed.
  HWY_INLINE hn::Vec<U32> rounded(hn::Vec<F32> v) const {
    const U32 u;
    const auto bits = hn::BitCast(u, canonical(F32(), operation.end(v)));
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(u, 1u));
    return hn::Add(bits, hn::Add(odd, hn::Set(u, 0x7FFFu)));
  }
};
#endif

template <template <template <class> class> class Policy>
ReduceFn operations(Op op) {
  switch (op) {
    case Op::sum: return fold<Policy<Sum>>;
    case Op::prod: return fold<Policy<Prod>>;
    case Op::min: return fold<Policy<Min>>;
    case Op::max: return fold<Policy<Max>>;
    case Op::avg: return fold<Policy<Avg>>;
    default: return nullptr;
  }
}
template <template <class> class Operation> using F16Policy = SmallFloat<F16, Operation>;
template <template <class> class Operation> using E4m3Policy = SmallFloat<F8e4m3, Operation>;
template <template <class> class Operation> using E5m2Policy = SmallFloat<F8e5m2, Operation>;

ReduceFn lookup_small_float(DType dtype, Op op) {
  switch (dtype) {
    case DType::f16: return operations<F16Policy>(op);
    case DType::bf16: return operations<Bfloat16>(op);
    case DType::f8e4m3: return operations<E4m3Policy>(op);
    case DType::f8e5m2: return operations<E5m2Policy>(op);
    default: return nullptr;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace libcoll::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace libcoll::kernels {
HWY_EXPORT(lookup_small_float);
ReduceFn find_small_float(DType dtype, Op op) noexcept {
  return HWY_DYNAMIC_DISPATCH(lookup_small_float)(dtype, op);
}
}  // namespace libcoll::kernels
#endif
