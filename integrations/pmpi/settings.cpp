#include "settings.hpp"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace libcoll::pmpi {

namespace {

std::string_view value_of(const char* name) noexcept {
  const char* text = std::getenv(name);
  return text != nullptr ? text : "";
}

[[noreturn]] void refuse(const char* name, std::string_view value, const char* expected) noexcept {
  std::fprintf(stderr, "libcoll: %s is \"%.*s\"; it must be %s\n", name, static_cast<int>(value.size()), value.data(), expected);
  std::exit(2);
}

}  // namespace

Mode mode() noexcept {
  static const Mode chosen = [] {
    const std::string_view value = value_of("LIBCOLL_MPI");
    if (value.empty() || value == "on") return Mode::on;
    if (value == "off") return Mode::off;
    if (value == "report") return Mode::report;
    if (value == "check") return Mode::check;
    if (value == "compare") return Mode::compare;
    refuse("LIBCOLL_MPI", value, "on, off, report, check or compare");
  }();
  return chosen;
}

bool arena_wanted() noexcept {
  const std::string_view value = value_of("LIBCOLL_MPI_ARENA");
  if (value == "1" || value == "on") return true;
  if (value.empty() || value == "0" || value == "off") return false;
  refuse("LIBCOLL_MPI_ARENA", value, "on or off");
}

std::size_t arena_from() noexcept {
  constexpr std::size_t usual = std::size_t{64} << 10;
  const std::string_view value = value_of("LIBCOLL_MPI_ARENA_FROM");
  if (value.empty()) return usual;
  std::size_t n = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
  const std::string_view suffix(end, static_cast<std::size_t>(value.data() + value.size() - end));
  const int shift = suffix.empty() ? 0 : suffix == "K" || suffix == "k" ? 10 : suffix == "M" || suffix == "m" ? 20 : suffix == "G" || suffix == "g" ? 30 : -1;
  if (error != std::errc() || shift < 0 || (n << shift) >> shift != n) refuse("LIBCOLL_MPI_ARENA_FROM", value, "a number of bytes such as 64K (suffix K, M or G)");
  return n << shift;
}

}  // namespace libcoll::pmpi
