#include "libcoll/kernels/convert.hpp"

#include <cstring>

#include "libcoll/kernels/small_float.hpp"

namespace libcoll::kernels {

namespace {

template <class F>
void widen_all(float* to, const void* from, std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    typename F::Bits code;
    std::memcpy(&code, static_cast<const char*>(from) + i * sizeof code, sizeof code);
    to[i] = decode<F>(code);
  }
}

template <class F>
void narrow_all(void* to, const float* from, std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    const typename F::Bits code = encode<F>(from[i]);
    std::memcpy(static_cast<char*>(to) + i * sizeof code, &code, sizeof code);
  }
}

}  // namespace

void widen(DType type, float* to, const void* from, std::size_t count) noexcept {
  switch (type) {
    case DType::f16: return widen_all<F16>(to, from, count);
    case DType::bf16: return widen_all<BF16>(to, from, count);
    case DType::f8e4m3: return widen_all<F8e4m3>(to, from, count);
    case DType::f8e5m2: return widen_all<F8e5m2>(to, from, count);
    default: return;
  }
}

void narrow(DType type, void* to, const float* from, std::size_t count) noexcept {
  switch (type) {
    case DType::f16: return narrow_all<F16>(to, from, count);
    case DType::bf16: return narrow_all<BF16>(to, from, count);
    case DType::f8e4m3: return narrow_all<F8e4m3>(to, from, count);
    case DType::f8e5m2: return narrow_all<F8e5m2>(to, from, count);
    default: return;
  }
}

}  // namespace libcoll::kernels
