// Logical and bitwise operations. Bitwise ones ignore the type: they see elements as bytes.
#include "libcoll/kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "libcoll/kernels/reduce_bits.cpp"
#include <hwy/foreach_target.h>

#include "libcoll/kernels/families.hpp"
#include "libcoll/kernels/fold-inl.h"

HWY_BEFORE_NAMESPACE();
namespace libcoll::kernels {
namespace HWY_NAMESPACE {
namespace {

struct And {
  template <class V> HWY_INLINE V operator()(V a, V b) const { return hn::And(a, b); }
};
struct Or {
  template <class V> HWY_INLINE V operator()(V a, V b) const { return hn::Or(a, b); }
};
struct Xor {
  template <class V> HWY_INLINE V operator()(V a, V b) const { return hn::Xor(a, b); }
};

template <class Operation>
struct Bitwise {
  using Mem = std::uint8_t;
  using Tag = hn::ScalableTag<Mem>;
  static constexpr std::size_t lanes_per_unit = 1;

  explicit Bitwise(int) {}
  HWY_INLINE VecOf<Bitwise> widen(VecOf<Bitwise> v) const { return v; }
  HWY_INLINE VecOf<Bitwise> combine(VecOf<Bitwise> a, VecOf<Bitwise> b) const { return Operation{}(a, b); }
  HWY_INLINE VecOf<Bitwise> narrow(VecOf<Bitwise> v) const { return v; }
};

// Any non-zero operand is true; operands become 0 or 1 on loading, so results are too.
template <class T, class Operation>
struct Logical {
  using Mem = T;
  using Tag = hn::ScalableTag<T>;
  static constexpr std::size_t lanes_per_unit = 1;

  explicit Logical(int) {}
  HWY_INLINE VecOf<Logical> widen(VecOf<Logical> v) const {
    return hn::IfThenZeroElse(hn::Eq(v, hn::Zero(Tag())), hn::Set(Tag(), T{1}));
  }
  HWY_INLINE VecOf<Logical> combine(VecOf<Logical> a, VecOf<Logical> b) const { return Operation{}(a, b); }
  HWY_INLINE VecOf<Logical> narrow(VecOf<Logical> v) const { return v; }
};

template <class T>
ReduceFn logical(Op op) {
  switch (op) {
    case Op::land: return fold<Logical<T, And>>;
    case Op::lor: return fold<Logical<T, Or>>;
    case Op::lxor: return fold<Logical<T, Xor>>;
    default: return nullptr;
  }
}

template <std::size_t element_bytes>
ReduceFn bitwise(Op op) {
  switch (op) {
    case Op::band: return fold_lanes<Bitwise<And>, element_bytes>;
    case Op::bor: return fold_lanes<Bitwise<Or>, element_bytes>;
    case Op::bxor: return fold_lanes<Bitwise<Xor>, element_bytes>;
    default: return nullptr;
  }
}

template <class T>
ReduceFn integer(Op op) {
  const ReduceFn f = logical<T>(op);
  return f != nullptr ? f : bitwise<sizeof(T)>(op);
}

ReduceFn boolean(Op op) {  // a boolean is one byte that may hold any non-zero value for true
  switch (op) {
    case Op::band: return logical<std::uint8_t>(Op::land);
    case Op::bor: return logical<std::uint8_t>(Op::lor);
    case Op::bxor: return logical<std::uint8_t>(Op::lxor);
    default: return logical<std::uint8_t>(op);
  }
}

ReduceFn lookup_bits(DType dtype, Op op) {
  switch (dtype) {
    case DType::i8:
    case DType::u8: return integer<std::uint8_t>(op);
    case DType::i16:
    case DType::u16: return integer<std::uint16_t>(op);
    case DType::i32:
    case DType::u32: return integer<std::uint32_t>(op);
    case DType::i64:
    case DType::u64: return integer<std::uint64_t>(op);
    case DType::boolean: return boolean(op);
    case DType::byte: return bitwise<1>(op);
    default: return nullptr;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace libcoll::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace libcoll::kernels {
HWY_EXPORT(lookup_bits);
ReduceFn find_bits(DType dtype, Op op) noexcept { return HWY_DYNAMIC_DISPATCH(lookup_bits)(dtype, op); }
}  // namespace libcoll::kernels
#endif
