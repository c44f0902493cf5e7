// Vector conversions between f32 and the small floats: small_float.hpp without branches.
// widen() keeps NaN a NaN of some payload; narrow() rounds once and makes NaN canonical.
#if defined(LIBCOLL_KERNELS_SMALL_FLOAT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LIBCOLL_KERNELS_SMALL_FLOAT_INL_H_
#undef LIBCOLL_KERNELS_SMALL_FLOAT_INL_H_
#else
#define LIBCOLL_KERNELS_SMALL_FLOAT_INL_H_
#endif

#include <hwy/highway.h>

#include "libcoll/kernels/float-inl.h"
#include "libcoll/kernels/small_float.hpp"

HWY_BEFORE_NAMESPACE();
namespace libcoll::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using U32 = hn::RebindToUnsigned<F32>;

// Integer arithmetic that every target has.
template <class F>
struct IntegerConversion {
  using Tag = hn::Rebind<typename F::Bits, F32>;

  static HWY_INLINE hn::Vec<F32> widen(hn::Vec<Tag> codes) {
    const U32 u;
    const F32 f;
    const auto code = hn::PromoteTo(u, codes);
    const auto abs = hn::And(code, hn::Set(u, F::magnitude));
    const auto sign = hn::ShiftLeft<F::sign_shift>(hn::Xor(code, abs));
    const auto bits = hn::Add(hn::ShiftLeft<F::shift>(abs), hn::Set(u, F::rebias));
    const auto tiny = hn::Sub(hn::BitCast(f, hn::Add(bits, hn::Set(u, 1u << 23))),
                              hn::BitCast(f, hn::Set(u, F::min_normal)));
    const auto special = F::has_infinity ? hn::Add(bits, hn::Set(u, F::rebias)) : hn::Set(u, f32_nan);
    auto out = hn::IfThenElse(hn::Lt(bits, hn::Set(u, F::min_normal)), hn::BitCast(u, tiny), bits);
    out = hn::IfThenElse(hn::Gt(abs, hn::Set(u, F::overflow - 1)), special, out);
    return hn::BitCast(f, hn::Or(out, sign));
  }

  static HWY_INLINE hn::Vec<Tag> narrow(hn::Vec<F32> value) {
    const U32 u;
    const F32 f;
    const auto all = hn::BitCast(u, value);
    const auto abs = hn::And(all, hn::Set(u, 0x7FFFFFFFu));
    const auto tiny = hn::Sub(
        hn::BitCast(u, hn::Add(hn::BitCast(f, abs), hn::BitCast(f, hn::Set(u, F::subnormal_magic)))),
        hn::Set(u, F::subnormal_magic));
    constexpr std::uint32_t below_half = (1u << (F::shift - 1)) - 1;
    const auto odd = hn::And(hn::ShiftRight<F::shift>(abs), hn::Set(u, 1u));
    // The wrap of abs < rebias is harmless: those lanes take `tiny`.
    const auto raised = hn::Add(hn::Add(abs, odd), hn::Set(u, below_half - F::rebias));
    const auto rounded = hn::ShiftRight<F::shift>(raised);
    auto code = hn::IfThenElse(hn::Lt(abs, hn::Set(u, F::min_normal)), tiny,
                               hn::Min(rounded, hn::Set(u, F::overflow)));
    code = hn::Or(code, hn::And(hn::ShiftRight<F::sign_shift>(all), hn::Set(u, F::magnitude + 1)));
    const auto nan = F::has_infinity
                         ? hn::Gt(abs, hn::Set(u, f32_infinity))
                         : hn::Eq(hn::And(code, hn::Set(u, F::magnitude)), hn::Set(u, F::overflow));
    code = hn::IfThenElse(nan, hn::Set(u, F::nan), code);
    return hn::DemoteTo(Tag(), hn::BitCast(hn::RebindToSigned<U32>(), code));
  }
};

// f16 has instructions. They honour subnormals and round to nearest even whatever MXCSR says.
struct HardwareF16 {
  using Tag = hn::Rebind<std::uint16_t, F32>;
  using Half = hn::Rebind<hwy::float16_t, F32>;
  static HWY_INLINE hn::Vec<F32> widen(hn::Vec<Tag> codes) {
    return hn::PromoteTo(F32(), hn::BitCast(Half(), codes));
  }
  static HWY_INLINE hn::Vec<Tag> narrow(hn::Vec<F32> value) {
    return hn::BitCast(Tag(), hn::DemoteTo(Half(), canonical(F32(), value)));
  }
};

template <class F>
struct ConversionOf {
  using type = IntegerConversion<F>;
};
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2 && !defined(HWY_DISABLE_F16C)  // emulations truncate
template <>
struct ConversionOf<F16> {
  using type = HardwareF16;
};
#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace libcoll::kernels
HWY_AFTER_NAMESPACE();

#endif
