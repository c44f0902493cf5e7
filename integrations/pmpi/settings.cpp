#include "settings.hpp"

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace libcoll::pmpi {

Mode mode() noexcept {
  static const Mode chosen = [] {
    const char* text = std::getenv("LIBCOLL_MPI");
    const std::string_view value = text != nullptr ? text : "";
    if (value.empty() || value == "on") return Mode::on;
    if (value == "off") return Mode::off;
    if (value == "report") return Mode::report;
    if (value == "check") return Mode::check;
    if (value == "compare") return Mode::compare;
    std::fprintf(stderr, "libcoll: LIBCOLL_MPI is \"%s\"; it must be on, off, report, check or compare\n", text);
    std::exit(2);
  }();
  return chosen;
}

}  // namespace libcoll::pmpi
