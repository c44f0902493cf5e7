#include "libcoll/bootstrap/socket.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <system_error>

namespace libcoll::detail {
namespace {

const sockaddr* raw(const SocketAddress& a) { return reinterpret_cast<const sockaddr*>(&a.storage); }
template <class T>
T& as(SocketAddress& a) {
  return reinterpret_cast<T&>(a.storage);
}
template <class T>
const T& as(const SocketAddress& a) {
  return reinterpret_cast<const T&>(a.storage);
}

// Bytes of an abstract name, without its leading zero.
std::string_view unix_name(const SocketAddress& a) {
  constexpr std::size_t before = offsetof(sockaddr_un, sun_path) + 1;
  if (a.length <= before) return {};
  return {as<sockaddr_un>(a).sun_path + 1, a.length - before};
}

Result<Fd> open_socket(int family) {
  Fd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return tl::make_unexpected(system_failure("socket", errno));
  return fd;
}

Result<void> wait_for(int fd, short events, Deadline deadline) {
  for (;;) {
    pollfd p{.fd = fd, .events = events, .revents = 0};
    const int ready = ::poll(&p, 1, poll_ms(deadline));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return tl::make_unexpected(system_failure("poll", errno));
    if (ready == 0 && Clock::now() >= deadline) return failure(Errc::timeout, "no answer in time");
  }
}

bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

bool SocketAddress::is_loopback() const noexcept {
  if (family() == AF_UNIX) return true;
  if (family() == AF_INET) return ntohl(as<sockaddr_in>(*this).sin_addr.s_addr) >> 24 == 127;
  const in6_addr& a = as<sockaddr_in6>(*this).sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&a) || (IN6_IS_ADDR_V4MAPPED(&a) && a.s6_addr[12] == 127);
}

std::uint16_t SocketAddress::port() const noexcept {
  if (family() == AF_INET) return ntohs(as<sockaddr_in>(*this).sin_port);
  if (family() == AF_INET6) return ntohs(as<sockaddr_in6>(*this).sin6_port);
  return 0;
}

void SocketAddress::set_port(std::uint16_t port) noexcept {
  if (family() == AF_INET) as<sockaddr_in>(*this).sin_port = htons(port);
  if (family() == AF_INET6) as<sockaddr_in6>(*this).sin6_port = htons(port);
}

std::string SocketAddress::text() const {
  if (family() == AF_UNIX) return fmt::format("unix:{}", unix_name(*this));
  std::array<char, NI_MAXHOST> host{};
  if (::getnameinfo(raw(*this), length, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST) != 0)
    return "?";
  if (family() == AF_INET6) return fmt::format("[{}]:{}", host.data(), port());
  return fmt::format("{}:{}", host.data(), port());
}

SocketAddress unix_address(std::string_view abstract_name) {
  SocketAddress a;
  auto& un = as<sockaddr_un>(a);
  un.sun_family = AF_UNIX;
  const std::size_t bytes = std::min(abstract_name.size(), sizeof(un.sun_path) - 1);
  std::memcpy(un.sun_path + 1, abstract_name.data(), bytes);
  // An empty name means the kernel's choice, which is asked for by a bare family.
  a.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + (bytes > 0 ? 1 + bytes : 0));
  return a;
}

SocketAddress any_address(int family) {
  SocketAddress a;
  a.storage.ss_family = static_cast<sa_family_t>(family);
  a.length = family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);  // all zeros: any, port 0
  return a;
}

WireAddress to_wire(const SocketAddress& a) {
  WireAddress w;
  w.port = a.port();
  if (a.family() == AF_INET) {
    w.kind = WireAddress::Kind::ipv4;
    w.length = 4;
    std::memcpy(w.data.data(), &as<sockaddr_in>(a).sin_addr, 4);
  } else if (a.family() == AF_INET6) {
    w.kind = WireAddress::Kind::ipv6;
    w.length = 16;
    std::memcpy(w.data.data(), &as<sockaddr_in6>(a).sin6_addr, 16);
  } else {
    const std::string_view name = unix_name(a);
    w.kind = WireAddress::Kind::unix_abstract;
    w.length = static_cast<std::uint8_t>(name.size());
    std::memcpy(w.data.data(), name.data(), name.size());
  }
  return w;
}

Result<SocketAddress> from_wire(const WireAddress& w) {
  if (w.kind == WireAddress::Kind::unix_abstract) {
    return unix_address({reinterpret_cast<const char*>(w.data.data()), w.length});
  }
  if (w.kind != WireAddress::Kind::ipv4 && w.kind != WireAddress::Kind::ipv6) {
    return failure(Errc::bootstrap, "a rank gave no address to connect to");
  }
  SocketAddress a = any_address(w.kind == WireAddress::Kind::ipv6 ? AF_INET6 : AF_INET);
  if (a.family() == AF_INET)
    std::memcpy(&as<sockaddr_in>(a).sin_addr, w.data.data(), 4);
  else
    std::memcpy(&as<sockaddr_in6>(a).sin6_addr, w.data.data(), 16);
  a.set_port(w.port);
  return a;
}

Result<std::vector<SocketAddress>> resolve(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int status = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (status != 0) {
    return failure(Errc::bootstrap,
                   fmt::format("cannot resolve host \"{}\": {}", host, ::gai_strerror(status)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  std::vector<SocketAddress> out;
  for (const addrinfo* i = found; i != nullptr; i = i->ai_next) {
    SocketAddress a;
    std::memcpy(&a.storage, i->ai_addr, i->ai_addrlen);
    a.length = i->ai_addrlen;
    a.set_port(port);
    out.push_back(a);
  }
  return out;
}

Result<Fd> listen_at(const SocketAddress& at) {
  auto fd = open_socket(at.family());
  if (!fd) return fd;
  const int on = 1, off = 0;
  if (at.family() != AF_UNIX) ::setsockopt(fd->get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // A wildcard listener serves IPv4 too.
  if (at.family() == AF_INET6) ::setsockopt(fd->get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (::bind(fd->get(), raw(at), at.length) != 0) {
    return tl::make_unexpected(system_failure("cannot bind " + at.text(), errno));
  }
  if (::listen(fd->get(), 4096) != 0)
    return tl::make_unexpected(system_failure("cannot listen at " + at.text(), errno));
  return fd;
}

Result<Fd> connect_to(const SocketAddress& to, Deadline deadline) {
  auto fd = open_socket(to.family());
  if (!fd) return fd;
  const auto refused = [&](int error) {
    return tl::make_unexpected(system_failure("cannot connect to " + to.text(), error));
  };
  while (::connect(fd->get(), raw(to), to.length) != 0) {
    if (errno == EINPROGRESS || errno == EINTR) {
      if (auto ready = wait_for(fd->get(), POLLOUT, deadline); !ready)
        return tl::make_unexpected(ready.error());
      int error = 0;
      socklen_t length = sizeof error;
      ::getsockopt(fd->get(), SOL_SOCKET, SO_ERROR, &error, &length);
      if (error != 0) return refused(error);
      break;
    }
    // UNIX: the listener's backlog is full, and no event tells when it no longer is.
    if (!would_block(errno)) return refused(errno);
    if (Clock::now() >= deadline) return failure(Errc::timeout, "no answer in time");
    ::poll(nullptr, 0, 2);
  }
  set_no_delay(fd->get());
  return fd;
}

Result<SocketAddress> local_address(int fd) {
  SocketAddress a;
  a.length = sizeof a.storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&a.storage), &a.length) != 0) {
    return tl::make_unexpected(system_failure("getsockname", errno));
  }
  return a;
}

Result<SocketAddress> peer_address(int fd) {
  SocketAddress a;
  a.length = sizeof a.storage;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&a.storage), &a.length) != 0) {
    return tl::make_unexpected(system_failure("getpeername", errno));
  }
  // A dual-stack listener shows IPv4 peers as ::ffff:a.b.c.d, which hosts without IPv6 cannot use.
  if (a.family() == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&as<sockaddr_in6>(a).sin6_addr)) {
    const sockaddr_in6 mapped = as<sockaddr_in6>(a);
    a = any_address(AF_INET);
    std::memcpy(&as<sockaddr_in>(a).sin_addr, mapped.sin6_addr.s6_addr + 12, 4);
    a.set_port(ntohs(mapped.sin6_port));
  }
  return a;
}

bool peer_is_our_user(int fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == ::geteuid();
}

void set_no_delay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // fails on UNIX sockets: nothing to delay
}

Result<void> send_all(int fd, Bytes data, Deadline deadline, std::size_t* done) {
  while (!data.empty()) {
    const ssize_t n = ::send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      data = data.subspan(static_cast<std::size_t>(n));
      if (done != nullptr) *done += static_cast<std::size_t>(n);
      // A peer that takes a byte at a time must not outlive the deadline.
      if (!data.empty() && Clock::now() >= deadline) return failure(Errc::timeout, "no answer in time");
    } else if (would_block(errno)) {
      if (auto ready = wait_for(fd, POLLOUT, deadline); !ready) return ready;
    } else if (errno != EINTR) {
      return failure(Errc::bootstrap,
                     fmt::format("the connection broke ({})", std::generic_category().message(errno)));
    }
  }
  return {};
}

Result<void> receive_all(int fd, std::span<std::byte> into, Deadline deadline) {
  while (!into.empty()) {
    const ssize_t n = ::recv(fd, into.data(), into.size(), 0);
    if (n > 0) {
      into = into.subspan(static_cast<std::size_t>(n));
    } else if (n == 0) {
      return failure(Errc::bootstrap, "the connection was closed");
    } else if (would_block(errno)) {
      if (auto ready = wait_for(fd, POLLIN, deadline); !ready) return ready;
    } else if (errno != EINTR) {
      return failure(Errc::bootstrap,
                     fmt::format("the connection broke ({})", std::generic_category().message(errno)));
    }
    // A peer that trickles bytes must not outlive the deadline.
    if (!into.empty() && Clock::now() >= deadline) return failure(Errc::timeout, "no answer in time");
  }
  return {};
}

int poll_ms(Deadline deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<long long>(left, 0, 60'000));  // callers loop
}

Failure system_failure(const std::string& what, int error) {
  return {.code = Errc::system,
          .text = fmt::format("{}: {}", what, std::generic_category().message(error)),
          .peer = -1};
}

}  // namespace libcoll::detail
