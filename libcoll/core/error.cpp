#include "libcoll/error.hpp"

#include <array>

namespace libcoll {

const char* name_of(Errc code) noexcept {
  static constexpr std::array<const char*, 10> names{
      "ok", "invalid argument", "mismatch", "unsupported", "timeout",
      "peer lost", "closed", "bootstrap", "system", "internal"};
  const auto i = static_cast<std::size_t>(code);
  return i < names.size() ? names[i] : "unknown error";
}

}  // namespace libcoll
