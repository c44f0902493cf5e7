// Scalar conversions between f32 and the small floats; the vector versions in small_float-inl.h use
// the same steps and the same constants, and the tests hold both to one reference.
// Rounding is to nearest even; every NaN becomes the one positive quiet NaN of its format.
#pragma once

#include <bit>
#include <cstdint>

namespace libcoll::kernels {

inline constexpr std::uint32_t f32_nan = 0x7FC00000u, f32_infinity = 0x7F800000u;

// An IEEE-like format of 8 or 16 bits. Codes at or above `overflow` do not fit: infinity, or NaN
// where there is none (e4m3, as in PyTorch's float8_e4m3fn: |x| > 464 and infinity become NaN).
template <class Bits_, int mantissa_bits, int bias, bool has_infinity_, unsigned nan_code>
struct Format {
  using Bits = Bits_;
  static constexpr bool has_infinity = has_infinity_;
  static constexpr int sign_shift = 32 - 8 * static_cast<int>(sizeof(Bits));
  static constexpr int shift = 23 - mantissa_bits;                     // between the mantissas
  static constexpr std::uint32_t magnitude = (1u << (8 * sizeof(Bits) - 1)) - 1;
  static constexpr std::uint32_t nan = nan_code;
  static constexpr std::uint32_t overflow =
      has_infinity ? (magnitude >> mantissa_bits) << mantissa_bits : magnitude;
  static constexpr std::uint32_t rebias = static_cast<std::uint32_t>(127 - bias) << 23;
  static constexpr std::uint32_t min_normal = rebias + (1u << 23);     // as f32 bits
  // Adding this to a value below min_normal leaves the rounded subnormal code in the low bits.
  static constexpr std::uint32_t subnormal_magic =
      static_cast<std::uint32_t>(127 + 1 - bias - mantissa_bits + 23) << 23;
};
using F16 = Format<std::uint16_t, 10, 15, true, 0x7E00>;
using F8e5m2 = Format<std::uint8_t, 2, 15, true, 0x7F>;
using F8e4m3 = Format<std::uint8_t, 3, 7, false, 0x7F>;
struct BF16 {
  using Bits = std::uint16_t;
  static constexpr std::uint32_t nan = 0x7FC0;
};

template <class F>
inline float decode(typename F::Bits code) noexcept {
  const std::uint32_t abs = code & F::magnitude;
  const std::uint32_t sign = (code & (F::magnitude + 1)) << F::sign_shift;
  std::uint32_t bits = (abs << F::shift) + F::rebias;
  if (bits < F::min_normal) {  // zero or subnormal: let the FPU normalise it
    const float f = std::bit_cast<float>(bits + (1u << 23)) - std::bit_cast<float>(F::min_normal);
    bits = std::bit_cast<std::uint32_t>(f);
  } else if (abs >= F::overflow) {
    bits = F::has_infinity ? bits + F::rebias : f32_nan;
  }
  return std::bit_cast<float>(bits | sign);
}

template <class F>
inline typename F::Bits encode(float value) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t abs = bits & 0x7FFFFFFFu;
  if (abs > f32_infinity) return static_cast<typename F::Bits>(F::nan);
  std::uint32_t code;
  if (abs < F::min_normal) {
    const float f = std::bit_cast<float>(abs) + std::bit_cast<float>(F::subnormal_magic);
    code = std::bit_cast<std::uint32_t>(f) - F::subnormal_magic;
  } else {
    constexpr std::uint32_t below_half = (1u << (F::shift - 1)) - 1;
    code = (abs + below_half + ((abs >> F::shift) & 1) - F::rebias) >> F::shift;
    if (code >= F::overflow) code = F::overflow;
  }
  if (!F::has_infinity && code == F::overflow) return static_cast<typename F::Bits>(F::nan);
  return static_cast<typename F::Bits>(code | ((bits >> F::sign_shift) & (F::magnitude + 1)));
}

template <>
inline float decode<BF16>(std::uint16_t code) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(code) << 16);
}

template <>
inline std::uint16_t encode<BF16>(float value) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > f32_infinity) return static_cast<std::uint16_t>(BF16::nan);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1)) >> 16);
}

}  // namespace libcoll::kernels
