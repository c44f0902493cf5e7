#include "libcoll/config.hpp"

#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <initializer_list>

#include "libcoll/core/call.hpp"
#include "libcoll/error.hpp"

namespace libcoll {

namespace {

[[noreturn]] void refuse(const char* name, const std::string& value, const char* expected) {
  throw Error(Errc::invalid_argument, fmt::format("libcoll: {}={}: expected {}", name, value, expected));
}

const char* lookup(const char* name) {
  const char* v = std::getenv(name);
  return v && *v ? v : nullptr;
}

void read_seconds(const char* name, double& out, double least, const char* expected) {
  const char* v = lookup(name);
  if (!v) return;
  char* end = nullptr;
  const double d = std::strtod(v, &end);
  if (*end != 0 || !std::isfinite(d) || d < least) refuse(name, v, expected);
  out = d;
}

void read_bytes(const char* name, std::uint64_t& out) {
  const char* v = lookup(name);
  if (!v) return;
  const std::string_view text(v);
  std::uint64_t n = 0;
  const auto [p, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
  int shift = 0;
  std::string_view rest(p, static_cast<std::size_t>(text.data() + text.size() - p));
  if (rest == "K" || rest == "k") shift = 10;
  else if (rest == "M" || rest == "m") shift = 20;
  else if (rest == "G" || rest == "g") shift = 30;
  else if (!rest.empty()) shift = -1;
  constexpr const char* expected = "a number of bytes such as 512M (suffix K, M or G)";
  if (ec != std::errc() || shift < 0 || (n << shift) >> shift != n) refuse(name, v, expected);
  out = n << shift;
}

void read_choice(const char* name, std::string& out, std::initializer_list<const char*> choices, const char* expected) {
  const char* v = lookup(name);
  if (!v) return;
  for (const char* c : choices)
    if (std::string_view(c) == v) {
      out = v;
      return;
    }
  refuse(name, v, expected);
}

void read_switch(const char* name, bool& out) {
  std::string text = out ? "on" : "off";
  read_choice(name, text, {"on", "off", "1", "0"}, "on or off");
  out = text == "on" || text == "1";
}

}  // namespace

Config Config::from_environment() {
  Config c;
  read_seconds("LIBCOLL_CALL_TIMEOUT", c.timeout_s, 1e-3, "seconds, at least 0.001");
  read_bytes("LIBCOLL_ARENA_BYTES", c.arena_bytes);
  read_seconds("LIBCOLL_SPIN_US", c.spin_us, -1, "microseconds, at least 0, or -1");
  if (c.spin_us < 0 && c.spin_us != -1) refuse("LIBCOLL_SPIN_US", fmt::format("{:g}", c.spin_us), "microseconds, at least 0, or -1");
  read_seconds("LIBCOLL_YIELD_US", c.yield_us, 0, "microseconds, at least 0");
  read_choice("LIBCOLL_SINGLE_COPY", c.single_copy, {"auto", "on", "off"}, "auto, on or off");
  read_choice("LIBCOLL_FD_PASSING", c.fd_passing, {"auto", "proc", "socket"}, "auto, proc or socket");
  read_switch("LIBCOLL_CALIBRATE", c.calibrate);
  read_switch("LIBCOLL_CHECK", c.check);
  if (const char* v = lookup("LIBCOLL_HIERARCHY")) c.hierarchy_file = v;
  read_choice("LIBCOLL_GPU", c.gpu, {"auto", "on", "off"}, "auto, on or off");
  read_choice("LIBCOLL_GPU_OVERLAP", c.gpu_overlap, {"auto", "on", "off"}, "auto, on or off");
  if (const char* v = lookup("LIBCOLL_TOPOLOGY")) c.topology_file = v;
  read_choice("LIBCOLL_NETWORK", c.network, {"auto", "on"}, "auto or on");
  read_switch("LIBCOLL_PROGRESS_THREAD", c.progress_thread);
  if (const char* v = lookup("LIBCOLL_TUNING")) c.tuning_file = v;
  for (int i = 0; i < detail::coll_count; ++i) {
    const std::string coll = name_of(static_cast<detail::Coll>(i));
    std::string variable = "LIBCOLL_" + coll;
    for (char& x : variable) x = static_cast<char>(std::toupper(static_cast<unsigned char>(x)));
    if (const char* v = lookup(variable.c_str())) c.algorithms[coll] = v;
  }
  return c;
}

}  // namespace libcoll
