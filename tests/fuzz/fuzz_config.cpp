// Config::from_environment on hostile variables: a Config within its documented limits, or an Error.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "libcoll/config.hpp"
#include "libcoll/error.hpp"

namespace {

constexpr const char* names[] = {"LIBCOLL_CALL_TIMEOUT", "LIBCOLL_ARENA_BYTES", "LIBCOLL_SPIN_US",  "LIBCOLL_YIELD_US", "LIBCOLL_SINGLE_COPY",
                                 "LIBCOLL_FD_PASSING",   "LIBCOLL_CALIBRATE",   "LIBCOLL_CHECK", "LIBCOLL_HIERARCHY", "LIBCOLL_TOPOLOGY"};

}  // namespace

// One line for each variable, in that order.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  std::size_t at = 0;
  for (const char* name : names) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string value = text.substr(std::min(at, text.size()), end - std::min(at, text.size()));
    at = end + 1;
    if (value.empty()) unsetenv(name);
    else setenv(name, value.c_str(), 1);
  }
  try {
    const libcoll::Config c = libcoll::Config::from_environment();
    if (!(c.timeout_s >= 1e-3) || !(c.spin_us >= 0 || c.spin_us == -1) || !(c.yield_us >= 0)) std::abort();
    if (c.single_copy != "auto" && c.single_copy != "on" && c.single_copy != "off") std::abort();
  } catch (const libcoll::Error& e) {
    if (e.code() != libcoll::Errc::invalid_argument) std::abort();
  }
  return 0;
}
