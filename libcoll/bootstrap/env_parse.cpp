#include "libcoll/bootstrap/env_parse.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <string_view>

namespace libcoll::detail {
namespace {

constexpr double max_timeout_s = 7 * 24 * 3600.0;
constexpr std::size_t max_host_name = 255;

template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool is_host_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
         c == '_';
}

bool is_host_name(std::string_view host) {
  return !host.empty() && host.size() <= max_host_name &&
         std::all_of(host.begin(), host.end(), is_host_character);
}

bool is_ipv6(const std::string& host) {
  in6_addr address{};
  const std::string bare = host.substr(0, host.find('%'));  // fe80::1%eth0
  return host.size() <= max_host_name && ::inet_pton(AF_INET6, bare.c_str(), &address) == 1;
}

}  // namespace

tl::unexpected<Failure> bad_variable(const std::string& name, const std::string& value,
                                     const std::string& why) {
  std::string shown = value.substr(0, 100);
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return failure(Errc::bootstrap,
                 fmt::format("{}=\"{}\"{}: {}", name, shown, value.size() > 100 ? "..." : "", why));
}

std::optional<std::string> env_text(const EnvLookup& env, const std::string& name) {
  auto value = env(name);
  if (value && value->empty()) return std::nullopt;
  return value;
}

Result<std::optional<long>> env_integer(const EnvLookup& env, const std::string& name, long min, long max) {
  const auto text = env_text(env, name);
  if (!text) return std::nullopt;
  const auto value = parse_number<long>(*text);
  if (!value) return bad_variable(name, *text, "not a whole number");
  if (*value < min || *value > max)
    return bad_variable(name, *text, fmt::format("not in {} .. {}", min, max));
  return value;
}

Result<std::optional<std::chrono::milliseconds>> env_seconds(const EnvLookup& env, const std::string& name) {
  const auto text = env_text(env, name);
  if (!text) return std::nullopt;
  const auto value = parse_number<double>(*text);
  if (!value) return bad_variable(name, *text, "not a number of seconds");
  // Written so that a NaN fails too.
  if (!(*value >= 0.001 && *value <= max_timeout_s))
    return bad_variable(name, *text, "not between 0.001 s and a week");
  return std::chrono::milliseconds(static_cast<long long>(*value * 1000 + 0.5));
}

Result<HostPort> parse_host_port(const std::string& variable, const std::string& value) {
  const auto bad = [&](const char* why) { return bad_variable(variable, value, why); };
  const std::size_t colon = value.rfind(':');
  if (colon == std::string::npos) return bad("no port; write host:port or [v6 address]:port");
  const auto port = parse_number<long>(std::string_view(value).substr(colon + 1));
  if (!port || *port < 1 || *port > 65535) return bad("the port is not a number in 1 .. 65535");
  std::string host = value.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (bracketed && !is_ipv6(host)) return bad("no IPv6 address between the brackets");
  if (!bracketed && host.find(':') != std::string::npos)
    return bad("write an IPv6 address in brackets: [v6 address]:port");
  if (!bracketed && !is_host_name(host)) return bad("no host name or address before the port");
  return HostPort{host, static_cast<std::uint16_t>(*port)};
}

Result<std::string> parse_first_host(const std::string& variable, const std::string& value) {
  const auto bad = [&] { return bad_variable(variable, value, "not a Slurm host list"); };
  std::string host;
  for (std::size_t i = 0; i < value.size() && value[i] != ','; ++i) {
    if (value[i] != '[') {
      host += value[i];
      continue;
    }
    const std::size_t close = value.find(']', i);
    if (close == std::string::npos) return bad();
    // The first of "03-05,9" is what stands before the first '-' or ','; its zeros are part of it.
    const std::string ranges = value.substr(i + 1, close - i - 1);
    const std::string first = ranges.substr(0, ranges.find_first_of("-,"));
    if (first.empty() ||
        !std::all_of(first.begin(), first.end(), [](char c) { return c >= '0' && c <= '9'; }))
      return bad();
    host += first;
    i = close;
  }
  if (!is_host_name(host)) return bad();
  return host;
}

Result<std::vector<std::string>> parse_hnp_hosts(const std::string& variable, const std::string& value) {
  std::vector<std::string> hosts;
  for (std::size_t at = value.find(';'); at != std::string::npos;) {
    const std::size_t next = value.find(';', at + 1);
    const std::string uri = value.substr(at + 1, next == std::string::npos ? next : next - at - 1);
    at = next;
    const std::size_t scheme = uri.find("://"), colon = uri.rfind(':');
    if (!uri.starts_with("tcp") || scheme == std::string::npos || colon < scheme + 3) continue;
    std::string list = uri.substr(scheme + 3, colon - scheme - 3);
    if (list.size() >= 2 && list.front() == '[' && list.back() == ']') list = list.substr(1, list.size() - 2);
    for (std::size_t begin = 0; begin <= list.size();) {
      const std::size_t end = std::min(list.find(',', begin), list.size());
      const std::string host = list.substr(begin, end - begin);
      // A loopback address says nothing on another host.
      if ((is_host_name(host) || is_ipv6(host)) && !is_loopback_name(host)) hosts.push_back(host);
      begin = end + 1;
    }
  }
  if (hosts.empty()) return bad_variable(variable, value, "names no address of the host of mpirun");
  return hosts;
}

bool is_loopback_name(const std::string& host) {
  if (host == "localhost") return true;
  in_addr v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  in6_addr v6{};
  return ::inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

}  // namespace libcoll::detail
