#include "libcoll/bootstrap/root_address.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "libcoll/bootstrap/keys.hpp"
#include "libcoll/bootstrap/process_tree.hpp"

namespace libcoll::detail {
namespace {

// Anybody may bind an abstract name. With a few of them, an accident or a nuisance does not stop us.
constexpr int unix_candidates = 4;

std::vector<SocketAddress> unix_addresses(const MeetingPoint& m) {
  const std::string key = m.process_tree_key ? launcher_process_key() : m.unix_key;
  const auto hash = public_hash(fmt::format("{}/{}", ::geteuid(), key));
  std::vector<SocketAddress> out;
  for (int i = 0; i < unix_candidates; ++i)
    out.push_back(unix_address(fmt::format("libcoll-{:016x}-{}", hash, i)));
  return out;
}

Result<std::vector<SocketAddress>> resolve_all(const MeetingPoint& m) {
  std::vector<SocketAddress> out;
  Failure last{Errc::bootstrap, "no host to meet at", -1};
  for (const std::string& host : m.hosts) {
    auto found = resolve(host, m.port);
    if (found)
      out.insert(out.end(), found->begin(), found->end());
    else
      last = found.error();
  }
  if (out.empty()) return tl::make_unexpected(last);
  return out;
}

bool is_literal(const std::string& host) {
  in_addr v4{};
  in6_addr v6{};
  return ::inet_pton(AF_INET, host.c_str(), &v4) == 1 || ::inet_pton(AF_INET6, host.c_str(), &v6) == 1;
}

bool is_local(SocketAddress a) {
  a.set_port(0);
  return listen_at(a).has_value();
}

// The kernel without IPv6 has no dual-stack wildcard.
SocketAddress wildcard() {
  const SocketAddress v6 = any_address(AF_INET6);
  return is_local(v6) ? v6 : any_address(AF_INET);
}

// Addresses to bind, ports aside. As narrow as is certain: a host's name may mean 127.0.1.1 on that
// very host and its real address elsewhere, so for names only the wildcard is.
Result<std::vector<SocketAddress>> addresses_to_bind(const MeetingPoint& m) {
  auto resolved = resolve_all(m);
  if (!resolved) return resolved;
  std::vector<SocketAddress> local;
  std::copy_if(resolved->begin(), resolved->end(), std::back_inserter(local), is_local);
  if (m.root_may_be_elsewhere && local.empty()) {
    return failure(
        Errc::bootstrap,
        fmt::format("rank 0 does not run on the host of mpirun ({}): set LIBCOLL_ROOT=host:port to an "
                    "address of rank 0's host on all ranks",
                    m.hosts.front()));
  }
  const bool exact = m.loopback_only || (m.hosts.size() == 1 && is_literal(m.hosts.front()));
  if (exact && !local.empty()) return local;
  if (m.loopback_only) return failure(Errc::system, fmt::format("this host has no {}", m.hosts.front()));
  return std::vector<SocketAddress>{wildcard()};
}

Result<std::vector<Fd>> listen_once(const MeetingPoint& m, const std::vector<SocketAddress>& addresses) {
  const bool is_unix = m.kind == MeetingPoint::Kind::unix_socket;
  Failure last{Errc::bootstrap, "no address to listen at", -1};
  std::vector<Fd> out;
  for (int i = 0; out.empty() && i < (is_unix ? 1 : m.ports); ++i) {
    for (SocketAddress a : addresses) {
      a.set_port(static_cast<std::uint16_t>(m.port + i));
      if (auto fd = listen_at(a))
        out.push_back(std::move(*fd));
      else
        last = fd.error();
      if (is_unix && !out.empty()) break;  // the first free name; TCP takes all addresses of a port
    }
  }
  if (out.empty()) return tl::make_unexpected(last);
  return out;
}

}  // namespace

Result<std::vector<SocketAddress>> root_candidates(const MeetingPoint& m) {
  if (m.kind == MeetingPoint::Kind::unix_socket) return unix_addresses(m);
  auto resolved = resolve_all(m);
  if (!resolved) return resolved;
  std::vector<SocketAddress> out;
  for (int i = 0; i < m.ports; ++i) {
    for (SocketAddress a : *resolved) {
      a.set_port(static_cast<std::uint16_t>(m.port + i));
      out.push_back(a);
    }
  }
  return out;
}

Result<std::vector<Fd>> listen_as_root(const MeetingPoint& m, Deadline deadline) {
  for (;;) {
    auto addresses = m.kind == MeetingPoint::Kind::unix_socket
                         ? Result<std::vector<SocketAddress>>(unix_addresses(m))
                         : addresses_to_bind(m);
    if (!addresses) return tl::make_unexpected(addresses.error());
    auto listeners = listen_once(m, *addresses);
    if (listeners || Clock::now() >= deadline) return listeners;
    ::poll(nullptr, 0, 50);
  }
}

Result<Fd> listen_for_children(SocketAddress local, bool loopback_only) {
  if (local.family() == AF_UNIX) return listen_at(unix_address(""));
  // A rank on rank 0's host may see it at a loopback address; children on other hosts do not.
  if (local.is_loopback() && !loopback_only) return listen_at(wildcard());
  local.set_port(0);
  return listen_at(local);
}

}  // namespace libcoll::detail
