#include "transports/nccl/nccl_table.hpp"

#include <fmt/format.h>

#include <cstdlib>

#include "transports/nccl/dynamic_library.hpp"

namespace libcoll::nccl {

std::string version_text(int version) {
  const int major = version < 10000 ? version / 1000 : version / 10000;
  const int rest = version < 10000 ? version % 1000 : version % 10000;
  return fmt::format("{}.{}.{}", major, rest / 100, rest % 100);
}

detail::Result<Table> load_nccl() {
  const char* named = std::getenv("LIBCOLL_NCCL_LIBRARY");
  const bool set = named && *named;
  const std::string library = set ? named : "libnccl.so.2";
  Table t;
  const std::vector<detail::Symbol> symbols = {
#define LIBCOLL_SYMBOL(member, symbol, ...) {#symbol, reinterpret_cast<void**>(&t.member), false},
      LIBCOLL_NCCL_FUNCTIONS(LIBCOLL_SYMBOL)
#undef LIBCOLL_SYMBOL
#define LIBCOLL_SYMBOL(member, symbol, ...) {#symbol, reinterpret_cast<void**>(&t.member), true},
      LIBCOLL_NCCL_OPTIONAL_FUNCTIONS(LIBCOLL_SYMBOL)
#undef LIBCOLL_SYMBOL
  };
  // dlopen finds what the process has loaded under this name before it searches.
  auto missing = detail::load_symbols(library, false, symbols);
  if (!missing) return detail::failure(missing.error().code, (set ? "LIBCOLL_NCCL_LIBRARY: " : "") + missing.error().text);
  t.missing = std::move(*missing);
  if (const Code c = t.get_version(&t.version); c != Code::success)
    return detail::failure(Errc::unsupported, fmt::format("{}: {}", library, t.get_error_string(c)));
  t.origin = fmt::format("{}, NCCL {}", library, version_text(t.version));
  return t;
}

}  // namespace libcoll::nccl
