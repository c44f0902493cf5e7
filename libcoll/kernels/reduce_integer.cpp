// sum, prod, min and max of the integers.
#include "libcoll/kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "libcoll/kernels/reduce_integer.cpp"
#include <hwy/foreach_target.h>

#include "libcoll/kernels/families.hpp"
#include "libcoll/kernels/fold-inl.h"

HWY_BEFORE_NAMESPACE();
namespace libcoll::kernels {
namespace HWY_NAMESPACE {
namespace {

struct Sum {
  template <class D, class V> HWY_INLINE V operator()(D, V a, V b) const { return hn::Add(a, b); }
};
struct Min {
  template <class D, class V> HWY_INLINE V operator()(D, V a, V b) const { return hn::Min(a, b); }
};
struct Max {
  template <class D, class V> HWY_INLINE V operator()(D, V a, V b) const { return hn::Max(a, b); }
};

// The low half of the product, which is the same for signed and unsigned operands.
struct Prod {
  template <class D, class V> HWY_INLINE V operator()(D tag, V a, V b) const {
    using T = hn::TFromD<D>;
#if HWY_TARGET == HWY_SCALAR
    return hn::Set(tag, static_cast<T>(std::uint64_t{hn::GetLane(a)} * hn::GetLane(b)));
#else
    if constexpr (sizeof(T) == 1) {
      return bytes(tag, a, b);
    } else if constexpr (sizeof(T) == 8 && HWY_TARGET > HWY_AVX3) {
      return words(tag, a, b);
    } else {
      return hn::Mul(a, b);
    }
#endif
  }

#if HWY_TARGET != HWY_SCALAR
 private:
  // There is no 8-bit multiplication: even bytes from the low half of a 16-bit product, odd bytes
  // from the product of the high halves.
  template <class D, class V> static HWY_INLINE V bytes(D tag, V a, V b) {
    const hn::RepartitionToWide<D> wide;
    const auto a16 = hn::BitCast(wide, a), b16 = hn::BitCast(wide, b);
    const auto even = hn::And(hn::Mul(a16, b16), hn::Set(wide, 0x00FF));
    const auto odd = hn::ShiftLeft<8>(hn::Mul(hn::ShiftRight<8>(a16), hn::ShiftRight<8>(b16)));
    return hn::BitCast(tag, hn::Or(even, odd));
  }

  // 64 bits from 32-bit products: lo * lo + ((lo * hi + hi * lo) << 32).
  template <class D, class V> static HWY_INLINE V words(D tag, V a, V b) {
    const hn::RepartitionToNarrow<D> half;
    const auto a32 = hn::BitCast(half, a), b32 = hn::BitCast(half, b);
    const auto cross = hn::BitCast(tag, hn::Mul(a32, hn::Shuffle2301(b32)));
    const auto upper = hn::And(cross, hn::Set(tag, ~std::uint64_t{0} << 32));
    const auto high = hn::Add(hn::ShiftLeft<32>(cross), upper);
    return hn::Add(hn::MulEven(a32, b32), high);
  }
#endif
};

template <class T, class Operation>
struct Integer {
  using Mem = T;
  using Tag = hn::ScalableTag<T>;
  static constexpr std::size_t lanes_per_unit = 1;

  explicit Integer(int) {}
  HWY_INLINE VecOf<Integer> widen(VecOf<Integer> v) const { return v; }
  HWY_INLINE VecOf<Integer> combine(VecOf<Integer> a, VecOf<Integer> b) const {
    return Operation{}(Tag(), a, b);
  }
  HWY_INLINE VecOf<Integer> narrow(VecOf<Integer> v) const { return v; }
};

template <class T>
ReduceFn integer(Op op) {
  using U = hwy::MakeUnsigned<T>;  // sum and prod wrap: the sign does not matter
  switch (op) {
    case Op::sum: return fold<Integer<U, Sum>>;
    case Op::prod: return fold<Integer<U, Prod>>;
    case Op::min: return fold<Integer<T, Min>>;
    case Op::max: return fold<Integer<T, Max>>;
    default: return nullptr;
  }
}

ReduceFn lookup_integer(DType dtype, Op op) {
  switch (dtype) {
    case DType::i8: return integer<std::int8_t>(op);
    case DType::i16: return integer<std::int16_t>(op);
    case DType::i32: return integer<std::int32_t>(op);
    case DType::i64: return integer<std::int64_t>(op);
    case DType::u8: return integer<std::uint8_t>(op);
    case DType::u16: return integer<std::uint16_t>(op);
    case DType::u32: return integer<std::uint32_t>(op);
    case DType::u64: return integer<std::uint64_t>(op);
    default: return nullptr;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace libcoll::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace libcoll::kernels {
HWY_EXPORT(lookup_integer);
ReduceFn find_integer(DType dtype, Op op) noexcept { return HWY_DYNAMIC_DISPATCH(lookup_integer)(dtype, op); }
}  // namespace libcoll::kernels
#endif
