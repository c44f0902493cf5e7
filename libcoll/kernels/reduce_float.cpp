// f32 and f64, and complex numbers as pairs of their lanes.
#include "libcoll/kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "libcoll/kernels/reduce_float.cpp"
#include <hwy/foreach_target.h>

#include "libcoll/kernels/families.hpp"
#include "libcoll/kernels/float-inl.h"
#include "libcoll/kernels/fold-inl.h"
#include "libcoll/kernels/scalar_fold.hpp"

HWY_BEFORE_NAMESPACE();
namespace libcoll::kernels {
namespace HWY_NAMESPACE {
namespace {

template <class T, template <class> class Operation>
struct Lanewise {
  using Mem = T;
  using Tag = hn::ScalableTag<T>;
  static constexpr std::size_t lanes_per_unit = 1;
  Operation<Tag> operation;

  explicit Lanewise(int divisor) : operation(divisor) {}
  HWY_INLINE VecOf<Lanewise> widen(VecOf<Lanewise> v) const { return operation.begin(v); }
  HWY_INLINE VecOf<Lanewise> combine(VecOf<Lanewise> a, VecOf<Lanewise> b) const {
    return operation.combine(a, b);
  }
  HWY_INLINE VecOf<Lanewise> narrow(VecOf<Lanewise> v) const { return canonical(Tag(), operation.end(v)); }
};

template <class T>
ReduceFn floating(Op op) {
  switch (op) {
    case Op::sum: return fold<Lanewise<T, Sum>>;
    case Op::prod: return fold<Lanewise<T, Prod>>;
    case Op::min: return fold<Lanewise<T, Min>>;
    case Op::max: return fold<Lanewise<T, Max>>;
    case Op::avg: return fold<Lanewise<T, Avg>>;
    default: return nullptr;
  }
}

#if HWY_TARGET == HWY_SCALAR  // a vector of one lane cannot hold a complex number
template <class T>
constexpr ReduceFn complex_prod = scalar_fold<scalar::Complex<T>, scalar::Prod>;
#else
// (a + bi)(c + di) = (ac - bd) + (ad + bc)i, each product and sum rounded on its own.
template <class T>
struct ComplexProd {
  using Mem = T;
  using Tag = hn::ScalableTag<T>;
  static constexpr std::size_t lanes_per_unit = 2;

  explicit ComplexProd(int) {}
  HWY_INLINE VecOf<ComplexProd> widen(VecOf<ComplexProd> v) const { return v; }
  HWY_INLINE VecOf<ComplexProd> combine(VecOf<ComplexProd> x, VecOf<ComplexProd> y) const {
    const auto ac_ad = hn::Mul(hn::DupEven(x), y);
    const auto bd_bc = hn::Mul(hn::DupOdd(x), hn::Reverse2(Tag(), y));
    return hn::OddEven(hn::Add(ac_ad, bd_bc), hn::Sub(ac_ad, bd_bc));
  }
  HWY_INLINE VecOf<ComplexProd> narrow(VecOf<ComplexProd> v) const { return canonical(Tag(), v); }
};
template <class T>
constexpr ReduceFn complex_prod = fold_lanes<ComplexProd<T>, 2>;
#endif

template <class T>
ReduceFn complex(Op op) {
  switch (op) {
    case Op::sum: return fold_lanes<Lanewise<T, Sum>, 2>;
    case Op::prod: return complex_prod<T>;
    case Op::avg: return fold_lanes<Lanewise<T, Avg>, 2>;
    default: return nullptr;
  }
}

ReduceFn lookup_float(DType dtype, Op op) {
  switch (dtype) {
    case DType::f32: return floating<float>(op);
    case DType::f64: return floating<double>(op);
    case DType::c64: return complex<float>(op);
    case DType::c128: return complex<double>(op);
    default: return nullptr;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace libcoll::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace libcoll::kernels {
HWY_EXPORT(lookup_float);
ReduceFn find_float(DType dtype, Op op) noexcept { return HWY_DYNAMIC_DISPATCH(lookup_float)(dtype, op); }
}  // namespace libcoll::kernels
#endif
