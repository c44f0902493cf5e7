#include "libcoll/kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "libcoll/kernels/copy.cpp"
#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#include "libcoll/kernels/copy.hpp"

HWY_BEFORE_NAMESPACE();
namespace libcoll::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR  // nothing wider than std::memcpy to offer
void copy_lines_cached(void* dst, const void* src, std::size_t bytes) { std::memcpy(dst, src, bytes); }
void copy_lines_streaming(void* dst, const void* src, std::size_t bytes) { std::memcpy(dst, src, bytes); }
#else
using Bytes = hn::ScalableTag<std::uint8_t>;

template <bool kStream>
HWY_INLINE void store(hn::Vec<Bytes> v, std::uint8_t* p) {
  if constexpr (kStream) hn::Stream(v, Bytes(), p);
  else hn::Store(v, Bytes(), p);
}

// Needs at least 64 bytes. Whole lines of the destination, and before and behind them what does not
// fill a line: an aligned streaming copy touches no line with a cached store, whose fetch from
// another core the fence would have to wait for.
template <bool kStream>
void copy_lines(void* dst, const void* src, std::size_t bytes) {
  const Bytes tag;
  const std::size_t n = hn::Lanes(tag);
  auto* to = static_cast<std::uint8_t*>(dst);
  const auto* from = static_cast<const std::uint8_t*>(src);
  std::size_t i = (64 - reinterpret_cast<std::uintptr_t>(to) % 64) % 64;
  if (i != 0) std::memcpy(to, from, 64);
  for (; i + 4 * n <= bytes; i += 4 * n) {
    const auto v0 = hn::LoadU(tag, from + i), v1 = hn::LoadU(tag, from + i + n);
    const auto v2 = hn::LoadU(tag, from + i + 2 * n), v3 = hn::LoadU(tag, from + i + 3 * n);
    store<kStream>(v0, to + i);
    store<kStream>(v1, to + i + n);
    store<kStream>(v2, to + i + 2 * n);
    store<kStream>(v3, to + i + 3 * n);
  }
  for (; i + n <= bytes; i += n) store<kStream>(hn::LoadU(tag, from + i), to + i);
  if (i < bytes) std::memcpy(to + bytes - 64, from + bytes - 64, 64);
  if constexpr (kStream) hwy::FlushStream();
}

void copy_lines_cached(void* dst, const void* src, std::size_t bytes) { copy_lines<false>(dst, src, bytes); }
void copy_lines_streaming(void* dst, const void* src, std::size_t bytes) {
  copy_lines<true>(dst, src, bytes);
}
#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace libcoll::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace libcoll::kernels {
namespace {
HWY_EXPORT(copy_lines_cached);
HWY_EXPORT(copy_lines_streaming);
}  // namespace

// Below 4 KiB glibc's memcpy is faster by up to 2x (no second indirect call); above, it turns to
// `rep movsb` and, near the size of the L3, to non-temporal stores, and is slower by up to 1.5x than
// the plain loop (Zen 4, glibc 2.36, kernel-bench --benchmark_filter=copy).
void copy(void* dst, const void* src, std::size_t bytes) noexcept {
  if (bytes < 4096) std::memcpy(dst, src, bytes);
  else HWY_DYNAMIC_DISPATCH(copy_lines_cached)(dst, src, bytes);
}

// A fence after non-temporal stores costs 300 ns: not for what fits a few lines.
void copy_streaming(void* dst, const void* src, std::size_t bytes) noexcept {
  if (bytes < 256) std::memcpy(dst, src, bytes);
  else HWY_DYNAMIC_DISPATCH(copy_lines_streaming)(dst, src, bytes);
}
}  // namespace libcoll::kernels
#endif
