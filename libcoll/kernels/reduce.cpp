#include "libcoll/kernels/reduce.hpp"

#include <array>
#include <cstring>
#include <utility>

namespace libcoll::kernels {
namespace {
template <DType T, Op O>
void generic(const ReduceArgs& a) noexcept {
  static const ReduceSmallFn small = find_reduce_small(T, O);
  static const std::size_t size = size_of(T);
  small(a.dsts[0], a.srcs, a.source_count, a.count, a.divisor);
  for (int d = 1; d < a.dst_count; ++d) std::memcpy(a.dsts[d], a.dsts[0], a.count * size);
}
template <std::size_t... I>
constexpr auto make_table(std::index_sequence<I...>) {
  return std::array<ReduceFn, sizeof...(I)>{
      &generic<static_cast<DType>(I / op_count), static_cast<Op>(I % op_count)>...};
}
constexpr auto table = make_table(std::make_index_sequence<dtype_count * op_count>{});
}  // namespace

ReduceFn find_reduce(DType dtype, Op op) noexcept {
  if (op == Op::custom || !is_defined(op, dtype)) return nullptr;
  return table[static_cast<std::size_t>(dtype) * op_count + static_cast<std::size_t>(op)];
}
}  // namespace libcoll::kernels
