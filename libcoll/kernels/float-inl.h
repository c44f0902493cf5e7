// Floating-point operations on vectors. The scalar twins are in scalar_ops.hpp; the bits are equal.
// begin() is applied to every operand, end() to the folded result before NaNs are made canonical.
#if defined(LIBCOLL_KERNELS_FLOAT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LIBCOLL_KERNELS_FLOAT_INL_H_
#undef LIBCOLL_KERNELS_FLOAT_INL_H_
#else
#define LIBCOLL_KERNELS_FLOAT_INL_H_
#endif

#include <hwy/highway.h>

#include <limits>

HWY_BEFORE_NAMESPACE();
namespace libcoll::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// One NaN, so that no result depends on which operand's payload the hardware keeps.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V canonical(D tag, V v) {
  const V nan = hn::Set(tag, std::numeric_limits<hn::TFromD<D>>::quiet_NaN());
  return hn::IfThenElse(hn::Eq(v, v), v, nan);
}

template <class D>
struct Sum {
  using V = hn::Vec<D>;
  explicit Sum(int) {}
  HWY_INLINE V begin(V v) const { return v; }
  HWY_INLINE V combine(V a, V b) const { return hn::Add(a, b); }
  HWY_INLINE V end(V v) const { return v; }
};

template <class D>
struct Prod {
  using V = hn::Vec<D>;
  explicit Prod(int) {}
  HWY_INLINE V begin(V v) const { return v; }
  HWY_INLINE V combine(V a, V b) const { return hn::Mul(a, b); }
  HWY_INLINE V end(V v) const { return v; }
};

// A true division: multiplying by the reciprocal rounds twice.
template <class D>
struct Avg : Sum<D> {
  using V = hn::Vec<D>;
  hn::TFromD<D> divisor;
  explicit Avg(int by) : Sum<D>(by), divisor(static_cast<hn::TFromD<D>>(by)) {}
  HWY_INLINE V end(V v) const { return hn::Div(v, hn::Set(D(), divisor)); }
};

// NaN if either is NaN, and -0 < +0. Both orders of a "second operand if equal or unordered" minimum
// agree unless the operands are zeros or NaN; then OR gives -0, respectively some NaN.
template <class D>
struct Min {
  using V = hn::Vec<D>;
  explicit Min(int) {}
  HWY_INLINE V begin(V v) const { return v; }
  HWY_INLINE V combine(V a, V b) const {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_SSSE3  // a real vector unit, whose MINPS is exactly that
    return hn::Or(hn::Min(a, b), hn::Min(b, a));
#else
    return hn::Or(hn::IfThenElse(hn::Lt(a, b), a, b), hn::IfThenElse(hn::Lt(b, a), b, a));
#endif
  }
  HWY_INLINE V end(V v) const { return v; }
};

// max(a, b) = -min(-a, -b), zeros and NaN included.
template <class D>
struct Max : Min<D> {
  using V = hn::Vec<D>;
  explicit Max(int by) : Min<D>(by) {}
  HWY_INLINE V begin(V v) const { return hn::Neg(v); }
  HWY_INLINE V end(V v) const { return hn::Neg(v); }
};

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace libcoll::kernels
HWY_AFTER_NAMESPACE();

#endif
