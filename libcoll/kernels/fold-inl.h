// The vector engine: walks destinations and sources once, for any type and operation.
// Included once per instruction set (see hwy/foreach_target.h), hence the unusual guard.
//
// A policy P says what one vector means:
//   Mem, Tag            lane in memory and its Highway tag
//   lanes_per_unit      how many lanes cannot be separated
//   P(divisor), widen(vector) -> accumulator, combine(acc, acc) -> acc, narrow(acc) -> vector
// ReduceArgs::count is in lanes here; fold_lanes adapts types whose elements have several.
// The accumulator never leaves registers, so sources are read once and every dst is written once.
#if defined(LIBCOLL_KERNELS_FOLD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LIBCOLL_KERNELS_FOLD_INL_H_
#undef LIBCOLL_KERNELS_FOLD_INL_H_
#else
#define LIBCOLL_KERNELS_FOLD_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "libcoll/kernels/reduce.hpp"

HWY_BEFORE_NAMESPACE();
namespace libcoll::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Payloads below this are not worth any preparation.
inline constexpr std::size_t short_bytes = 4096;

template <class P> using VecOf = hn::Vec<typename P::Tag>;

template <class P>
HWY_INLINE const typename P::Mem* source(const ReduceArgs& a, int k) {
  return static_cast<const typename P::Mem*>(a.srcs[k]);
}

template <class P>
HWY_INLINE typename P::Mem* destination(const ReduceArgs& a, int d) {
  return static_cast<typename P::Mem*>(a.dsts[d]);
}

template <class P>
constexpr std::size_t vector_bytes() {
  return hn::MaxLanes(typename P::Tag()) * sizeof(typename P::Mem);
}

template <class P>
HWY_INLINE bool is_aligned(const typename P::Mem* p) {
  return reinterpret_cast<std::uintptr_t>(p) % vector_bytes<P>() == 0;
}

// Lanes before `p` is aligned to a vector, or 0 if whole units never get there.
template <class P>
HWY_INLINE std::size_t lanes_to_alignment(const typename P::Mem* p) {
  constexpr std::size_t unit_bytes = sizeof(typename P::Mem) * P::lanes_per_unit;
  const std::size_t bytes = (0 - reinterpret_cast<std::uintptr_t>(p)) % vector_bytes<P>();
  return bytes % unit_bytes == 0 ? bytes / sizeof(typename P::Mem) : 0;
}

template <class P>
HWY_INLINE VecOf<P> load(const typename P::Mem* p) {
#if HWY_TARGET == HWY_SCALAR  // its LoadU is a plain dereference, which needs an aligned pointer
  typename P::Mem lane;
  std::memcpy(&lane, static_cast<const void*>(p), sizeof lane);
  return hn::Set(typename P::Tag(), lane);
#else
  return hn::LoadU(typename P::Tag(), p);
#endif
}

template <class P, bool kStream>
HWY_INLINE void store(VecOf<P> v, typename P::Mem* p) {
#if HWY_TARGET == HWY_SCALAR
  const typename P::Mem lane = hn::GetLane(v);
  std::memcpy(static_cast<void*>(p), &lane, sizeof lane);
#else
  // Highway's Stream always writes 16 bytes or more, even of a narrower vector.
  if constexpr (kStream && vector_bytes<P>() >= 16) hn::Stream(v, typename P::Tag(), p);
  else hn::StoreU(v, typename P::Tag(), p);
#endif
}

// Fewer lanes than a vector has, for any number of sources and destinations.
template <class P>
HWY_NOINLINE void fold_partial(const P& p, const ReduceArgs& a, std::size_t i, std::size_t lanes) {
  const typename P::Tag tag;
#if HWY_TARGET <= HWY_AVX3  // masked lanes are neither read nor written
  const auto mask = hn::FirstN(tag, lanes);
  auto acc = p.widen(hn::MaskedLoad(mask, tag, source<P>(a, 0) + i));
  for (int k = 1; k < a.source_count; ++k)
    acc = p.combine(acc, p.widen(hn::MaskedLoad(mask, tag, source<P>(a, k) + i)));
  const auto result = p.narrow(acc);
  for (int d = 0; d < a.dst_count; ++d) hn::BlendedStore(result, mask, tag, destination<P>(a, d) + i);
#else
  HWY_ALIGN typename P::Mem buffer[hn::MaxLanes(tag)] = {};
  const std::size_t bytes = lanes * sizeof(typename P::Mem);
  const auto gather = [&](int k) HWY_ATTR {
    std::memcpy(buffer, static_cast<const void*>(source<P>(a, k) + i), bytes);
    return p.widen(hn::Load(tag, buffer));
  };
  auto acc = gather(0);
  for (int k = 1; k < a.source_count; ++k) acc = p.combine(acc, gather(k));
  hn::Store(p.narrow(acc), tag, buffer);
  for (int d = 0; d < a.dst_count; ++d)
    std::memcpy(static_cast<void*>(destination<P>(a, d) + i), buffer, bytes);
#endif
}

// One destination and a fixed number of sources: everything in registers.
template <class P, int kSources>
struct FixedFold {
  const P& p;
  const typename P::Mem* s[kSources];

  HWY_INLINE auto operand(int k, std::size_t i) const { return p.widen(load<P>(s[k] + i)); }
  HWY_INLINE VecOf<P> at(std::size_t i) const {
    auto acc = p.combine(operand(0, i), operand(1, i));
    if constexpr (kSources > 2) acc = p.combine(acc, operand(2, i));
    if constexpr (kSources > 3) acc = p.combine(acc, operand(3, i));
    return p.narrow(acc);
  }
};

template <class P, int kSources, bool kStream>
HWY_INLINE std::size_t fold_fixed(const P& p, const ReduceArgs& a, std::size_t i, std::size_t lanes) {
  const typename P::Tag tag;
  const std::size_t n = hn::Lanes(tag);
  FixedFold<P, kSources> fold{p, {}};
  for (int k = 0; k < kSources; ++k) fold.s[k] = source<P>(a, k);
  typename P::Mem* dst = destination<P>(a, 0);
  for (; i + 4 * n <= lanes; i += 4 * n) {
    store<P, kStream>(fold.at(i), dst + i);
    store<P, kStream>(fold.at(i + n), dst + i + n);
    store<P, kStream>(fold.at(i + 2 * n), dst + i + 2 * n);
    store<P, kStream>(fold.at(i + 3 * n), dst + i + 3 * n);
  }
  for (; i + n <= lanes; i += n) store<P, kStream>(fold.at(i), dst + i);
  return i;
}

// Up to four vectors to their places in one destination.
template <class P, class... V>
HWY_INLINE void put(const ReduceArgs& a, int d, std::size_t i, V... v) {
  typename P::Mem* to = destination<P>(a, d) + i;
  const std::size_t n = hn::Lanes(typename P::Tag());
  std::size_t k = 0;
  if (a.streaming && is_aligned<P>(to)) (store<P, true>(v, to + n * k++), ...);
  else (store<P, false>(v, to + n * k++), ...);
}

// Any number of both. Four accumulators walk all sources before the results go to all dsts.
template <class P>
HWY_NOINLINE std::size_t fold_any(const P& p, const ReduceArgs& a, std::size_t i, std::size_t lanes) {
  const std::size_t n = hn::Lanes(typename P::Tag());
  for (; i + 4 * n <= lanes; i += 4 * n) {
    const typename P::Mem* s = source<P>(a, 0) + i;
    auto a0 = p.widen(load<P>(s)), a1 = p.widen(load<P>(s + n));
    auto a2 = p.widen(load<P>(s + 2 * n)), a3 = p.widen(load<P>(s + 3 * n));
    for (int k = 1; k < a.source_count; ++k) {
      s = source<P>(a, k) + i;
      a0 = p.combine(a0, p.widen(load<P>(s)));
      a1 = p.combine(a1, p.widen(load<P>(s + n)));
      a2 = p.combine(a2, p.widen(load<P>(s + 2 * n)));
      a3 = p.combine(a3, p.widen(load<P>(s + 3 * n)));
    }
    const auto v0 = p.narrow(a0), v1 = p.narrow(a1), v2 = p.narrow(a2), v3 = p.narrow(a3);
    for (int d = 0; d < a.dst_count; ++d) put<P>(a, d, i, v0, v1, v2, v3);
  }
  for (; i + n <= lanes; i += n) {
    auto acc = p.widen(load<P>(source<P>(a, 0) + i));
    for (int k = 1; k < a.source_count; ++k) acc = p.combine(acc, p.widen(load<P>(source<P>(a, k) + i)));
    const auto v = p.narrow(acc);
    for (int d = 0; d < a.dst_count; ++d) put<P>(a, d, i, v);
  }
  return i;
}

// Everything but the short common case.
template <class P>
HWY_NOINLINE void fold_general(const ReduceArgs& a) {
  const P p(a.divisor);
  const std::size_t lanes = a.count;
  std::size_t i = 0;
  // Stores that straddle cache lines cost twice; in short runs lining them up costs more.
  if (lanes * sizeof(typename P::Mem) >= (a.streaming ? 2 * vector_bytes<P>() : short_bytes)) {
    i = lanes_to_alignment<P>(destination<P>(a, 0));
    if (i != 0) fold_partial(p, a, 0, i);
  }
  const bool one = a.dst_count == 1;
  if (one && a.source_count == 2 && a.streaming && is_aligned<P>(destination<P>(a, 0) + i)) {
    i = fold_fixed<P, 2, true>(p, a, i, lanes);
  } else if (one && a.source_count == 2 && !a.streaming) {
    i = fold_fixed<P, 2, false>(p, a, i, lanes);
  } else if (one && a.source_count == 3 && !a.streaming) {
    i = fold_fixed<P, 3, false>(p, a, i, lanes);
  } else if (one && a.source_count == 4 && !a.streaming) {
    i = fold_fixed<P, 4, false>(p, a, i, lanes);
  } else {
    i = fold_any(p, a, i, lanes);
  }
  if (i < lanes) fold_partial(p, a, i, lanes - i);
  if (a.streaming) hwy::FlushStream();
}

// The ReduceFn of a policy.
template <class P>
void fold(const ReduceArgs& a) noexcept {
  const std::size_t lanes = a.count;
  const bool is_short = lanes < short_bytes / sizeof(typename P::Mem);
  if (!(is_short && a.source_count == 2 && a.dst_count == 1 && !a.streaming)) return fold_general<P>(a);
  const P p(a.divisor);
  const std::size_t i = fold_fixed<P, 2, false>(p, a, 0, lanes);
  if (i < lanes) fold_partial(p, a, i, lanes - i);
}

// The same for elements of several lanes.
template <class P, std::size_t lanes_per_element>
void fold_lanes(const ReduceArgs& a) noexcept {
  ReduceArgs lanes = a;
  lanes.count *= lanes_per_element;
  fold<P>(lanes);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace libcoll::kernels
HWY_AFTER_NAMESPACE();

#endif
