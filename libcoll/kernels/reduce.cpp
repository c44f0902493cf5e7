#include "libcoll/kernels/reduce.hpp"

#include "libcoll/kernels/families.hpp"

namespace libcoll::kernels {

ReduceFn find_reduce(DType dtype, Op op) noexcept {
  for (const auto find : {find_integer, find_bits, find_float, find_small_float, find_pair})
    if (const ReduceFn f = find(dtype, op)) return f;
  return nullptr;
}

}  // namespace libcoll::kernels
