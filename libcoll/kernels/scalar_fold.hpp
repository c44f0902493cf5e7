// A ReduceFn in plain C++, for what does not fit vector lanes. Ignores `streaming`: a hint.
#pragma once

#include "libcoll/kernels/reduce.hpp"
#include "libcoll/kernels/scalar_ops.hpp"

namespace libcoll::kernels {

template <class Codec, class Combine>
void scalar_fold(const ReduceArgs& a) noexcept {
  using Mem = typename Codec::Mem;
  for (std::size_t i = 0; i < a.count; ++i) {
    auto acc = Codec::decode(scalar::load<Mem>(a.srcs[0], i));
    for (int k = 1; k < a.source_count; ++k)
      acc = Combine{}(acc, Codec::decode(scalar::load<Mem>(a.srcs[k], i)));
    const Mem result = Codec::encode(acc);
    for (int d = 0; d < a.dst_count; ++d) scalar::store<Mem>(a.dsts[d], i, result);
  }
}

}  // namespace libcoll::kernels
