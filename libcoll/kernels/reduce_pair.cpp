// minloc and maxloc: structs of mixed widths and a data-dependent choice, so plain C++.
#include "libcoll/kernels/families.hpp"
#include "libcoll/kernels/scalar_fold.hpp"

namespace libcoll::kernels {
namespace {

template <class V, class I>
ReduceFn pair(Op op) noexcept {
  switch (op) {
    case Op::minloc: return scalar_fold<scalar::Pair<V, I>, scalar::Loc<false>>;
    case Op::maxloc: return scalar_fold<scalar::Pair<V, I>, scalar::Loc<true>>;
    default: return nullptr;
  }
}

}  // namespace

ReduceFn find_pair(DType dtype, Op op) noexcept {
  switch (dtype) {
    case DType::f32_i32: return pair<float, std::int32_t>(op);
    case DType::f64_i32: return pair<double, std::int32_t>(op);
    case DType::i64_i32: return pair<std::int64_t, std::int32_t>(op);
    case DType::i32_i32: return pair<std::int32_t, std::int32_t>(op);
    case DType::i16_i32: return pair<std::int16_t, std::int32_t>(op);
    case DType::f32_f32: return pair<float, float>(op);
    case DType::f64_f64: return pair<double, double>(op);
    default: return nullptr;
  }
}

}  // namespace libcoll::kernels
