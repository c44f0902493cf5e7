#include "transports/nccl/cuda_table.hpp"

#include <fmt/format.h>

#include <cstdlib>

#include "transports/nccl/dynamic_library.hpp"

namespace libcoll::cuda {

namespace {

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

detail::Result<Table> open(const std::string& library, bool loaded_only) {
  Table t;
  const std::vector<detail::Symbol> symbols = {
#define LIBCOLL_SYMBOL(member, symbol, ...) {#symbol, reinterpret_cast<void**>(&t.member), false},
      LIBCOLL_CUDA_FUNCTIONS(LIBCOLL_SYMBOL)
#undef LIBCOLL_SYMBOL
#define LIBCOLL_SYMBOL(member, symbol, ...) {#symbol, reinterpret_cast<void**>(&t.member), true},
      LIBCOLL_CUDA_OPTIONAL_FUNCTIONS(LIBCOLL_SYMBOL)
#undef LIBCOLL_SYMBOL
  };
  auto missing = detail::load_symbols(library, loaded_only, symbols);
  if (!missing) return tl::make_unexpected(missing.error());
  t.missing = std::move(*missing);
  if (const Error e = t.runtime_get_version(&t.runtime_version); e != Error::success)
    return detail::failure(Errc::unsupported, fmt::format("{}: {}", library, t.get_error_string(e)));
  if (t.driver_get_version(&t.driver_version) != Error::success || t.driver_version == 0)
    return detail::failure(Errc::unsupported, fmt::format("{}: there is no CUDA driver on this host", library));
  // Within a major version a runtime works with older drivers.
  if (t.driver_version / 1000 < t.runtime_version / 1000)
    return detail::failure(Errc::unsupported, fmt::format("{}: the driver is for CUDA {}, too old for {}", library, version_text(t.driver_version), version_text(t.runtime_version)));
  t.origin = fmt::format("{}, CUDA {}", library, version_text(t.runtime_version));
  return t;
}

}  // namespace

detail::Result<Table> load_cuda() {
  if (const char* named = std::getenv("LIBCOLL_CUDA_LIBRARY"); named && *named) {
    auto t = open(named, false);
    if (!t) t.error().text = fmt::format("LIBCOLL_CUDA_LIBRARY: {}", t.error().text);
    return t;
  }
  constexpr const char* names[] = {"libcudart.so.13", "libcudart.so.12", "libcudart.so"};
  for (const char* name : names)  // of an application that brought its own: streams and events are then the same library's
    if (auto t = open(name, true)) return t;
  std::string why;
  for (const char* name : names) {
    auto t = open(name, false);
    if (t) return t;
    why += fmt::format("{}{}", why.empty() ? "" : "; ", t.error().text);
  }
  return detail::failure(Errc::unsupported, why);
}

}  // namespace libcoll::cuda
