// Sockets with deadlines: the few system calls that the bootstrap needs, as values and Results.
// Every descriptor is non-blocking and close-on-exec; no call raises SIGPIPE.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "libcoll/bootstrap/frames.hpp"

namespace libcoll::detail {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();
  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// A TCP or abstract UNIX address.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  int family() const noexcept { return storage.ss_family; }
  bool is_loopback() const noexcept;  // UNIX counts as loopback
  std::uint16_t port() const noexcept;
  void set_port(std::uint16_t) noexcept;
  std::string text() const;
};

SocketAddress unix_address(std::string_view abstract_name);
SocketAddress any_address(int family);
WireAddress to_wire(const SocketAddress&);
Result<SocketAddress> from_wire(const WireAddress&);

// Blocks in the system's resolver, which has its own time limits.
Result<std::vector<SocketAddress>> resolve(const std::string& host, std::uint16_t port);

// A listener; port 0 or an empty UNIX name lets the kernel choose.
Result<Fd> listen_at(const SocketAddress&);
Result<Fd> connect_to(const SocketAddress&, Deadline);
Result<SocketAddress> local_address(int fd);
Result<SocketAddress> peer_address(int fd);
// Whether the process behind a UNIX socket runs as our user.
bool peer_is_our_user(int fd);
void set_no_delay(int fd);

// All of it or a Failure: Errc::timeout at the deadline, Errc::bootstrap when the peer is gone.
// `done`, if given, counts the bytes moved even on failure.
Result<void> send_all(int fd, Bytes, Deadline, std::size_t* done = nullptr);
Result<void> receive_all(int fd, std::span<std::byte>, Deadline);

// Milliseconds for poll and epoll_wait, rounded up, at least 0.
int poll_ms(Deadline);
Failure system_failure(const std::string& what, int error);

}  // namespace libcoll::detail
