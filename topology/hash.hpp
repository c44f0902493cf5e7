// FNV-1a, 64 bits: the same on every host and build, which std::hash is not.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

namespace libcoll::topo {

class Hash {
 public:
  Hash& add_bytes(const void* data, std::size_t bytes) noexcept {
    const auto* p = static_cast<const unsigned char*>(data);
    for (std::size_t i = 0; i < bytes; ++i) value_ = (value_ ^ p[i]) * 0x100000001b3ULL;
    return *this;
  }
  // Eight bytes, least significant first, so that hosts of either byte order agree.
  Hash& add(std::uint64_t v) noexcept {
    for (int i = 0; i < 8; ++i, v >>= 8) value_ = (value_ ^ (v & 0xff)) * 0x100000001b3ULL;
    return *this;
  }
  template <class I, class = std::enable_if_t<std::is_integral_v<I> || std::is_enum_v<I>>>
  Hash& add(I v) noexcept {
    return add(static_cast<std::uint64_t>(v));
  }
  // The length goes in too: ("ab", "c") and ("a", "bc") differ.
  Hash& add(std::string_view s) noexcept {
    return add(static_cast<std::uint64_t>(s.size())).add_bytes(s.data(), s.size());
  }
  std::uint64_t value() const noexcept { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325ULL;
};

}  // namespace libcoll::topo
