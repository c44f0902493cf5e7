// Parsers of the values that launchers put into the environment. Pure; input is untrusted text.
// Failures name the variable and its value.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "libcoll/core/result.hpp"

namespace libcoll::detail {

// The value of an environment variable, or nothing. Tests inject their own.
using EnvLookup = std::function<std::optional<std::string>(const std::string& name)>;

struct HostPort {
  std::string host;
  std::uint16_t port = 0;
  bool operator==(const HostPort&) const = default;
};

// An empty value counts as not set.
std::optional<std::string> env_text(const EnvLookup&, const std::string& name);
Result<std::optional<long>> env_integer(const EnvLookup&, const std::string& name, long min, long max);
Result<std::optional<std::chrono::milliseconds>> env_seconds(const EnvLookup&, const std::string& name);

// "host:port", "1.2.3.4:port", "[v6]:port"
Result<HostPort> parse_host_port(const std::string& variable, const std::string& value);
// The first host of a Slurm hostlist: "node[03-05,9],gpu1" -> "node03"
Result<std::string> parse_first_host(const std::string& variable, const std::string& value);
// The addresses of an ORTE contact string: "1234.0;tcp://10.0.0.1,10.1.0.1:37193;tcp6://[fd00::2]:42157"
Result<std::vector<std::string>> parse_hnp_hosts(const std::string& variable, const std::string& value);

// A literal loopback address or "localhost"; never asks a resolver.
bool is_loopback_name(const std::string& host);

// "LIBCOLL_X=\"value\": why", with unprintable or overlong values made safe to print.
tl::unexpected<Failure> bad_variable(const std::string& name, const std::string& value,
                                     const std::string& why);

}  // namespace libcoll::detail
