#include "transports/shm/fd_exchange.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sodium.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <thread>
#include <vector>

namespace libcoll::xport::shm {

using detail::failure;
using detail::Result;

namespace {

// One rank's card in the first allgather. The inode tells the right file from another process's.
struct Card {
  std::int32_t pid = 0, fd = -1;
  std::uint64_t device = 0, inode = 0;
  std::array<unsigned char, 16> nonce{};
};

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { if (fd_ >= 0) close(fd_); }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

bool same_file(int fd, const Card& card) {
  struct stat st{};
  return fstat(fd, &st) == 0 && st.st_dev == card.device && st.st_ino == card.inode;
}

bool open_by_proc(const std::vector<Card>& cards, int me, const AcceptFd& accept) {
  for (int peer = 0; peer < static_cast<int>(cards.size()); ++peer) {
    if (peer == me) continue;
    const Card& card = cards[static_cast<std::size_t>(peer)];
    const Fd fd(open(fmt::format("/proc/{}/fd/{}", card.pid, card.fd).c_str(), O_RDWR | O_CLOEXEC));
    if (!fd || !same_file(fd.get(), card) || !accept(peer, fd.get())) return false;
  }
  return true;
}

// The abstract name is a 128-bit secret that only the ranks know; the uid is checked besides.
sockaddr_un abstract_name(const Card& card, socklen_t& length) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  char hex[33];
  sodium_bin2hex(hex, sizeof hex, card.nonce.data(), card.nonce.size());
  const std::string name = fmt::format("libcoll-{}", hex);
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

bool same_user(int socket) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0 && credentials.uid == geteuid();
}

bool send_fd(int socket, int fd) {
  char byte = 'F';
  iovec io{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  return sendmsg(socket, &message, MSG_NOSIGNAL) == 1;
}

int receive_fd(int socket) {
  char byte;
  iovec io{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1) return -1;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_type != SCM_RIGHTS) return -1;
  int fd;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

constexpr int socket_timeout_ms = 20000;

// Serves this rank's descriptor to `clients` peers. Strangers are turned away and not counted.
void serve(int listener, int fd, int clients) {
  while (clients > 0) {
    pollfd p{listener, POLLIN, 0};
    if (poll(&p, 1, socket_timeout_ms) <= 0) return;
    const Fd client(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (client && same_user(client.get()) && send_fd(client.get(), fd)) --clients;
  }
}

bool fetch_by_socket(const std::vector<Card>& cards, int me, const AcceptFd& accept) {
  for (int peer = 0; peer < static_cast<int>(cards.size()); ++peer) {
    if (peer == me) continue;
    const Card& card = cards[static_cast<std::size_t>(peer)];
    const Fd s(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{socket_timeout_ms / 1000, 0};
    socklen_t length;
    const sockaddr_un address = abstract_name(card, length);
    if (!s || setsockopt(s.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
        connect(s.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0 || !same_user(s.get()))
      return false;
    const Fd fd(receive_fd(s.get()));
    if (!fd || !same_file(fd.get(), card) || !accept(peer, fd.get())) return false;
  }
  return true;
}

// First rank that says no, or -1.
int first_failure(Bootstrap& host, bool ok) {
  const char mine = ok ? 1 : 0;
  std::vector<char> all(static_cast<std::size_t>(host.size()));
  host.allgather(&mine, all.data(), 1);
  for (std::size_t r = 0; r < all.size(); ++r)
    if (!all[r]) return static_cast<int>(r);
  return -1;
}

int exchange_by_socket(Bootstrap& host, int fd, const std::vector<Card>& cards, const AcceptFd& accept) {
  const int me = host.rank();
  const Fd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  socklen_t length;
  const sockaddr_un address = abstract_name(cards[static_cast<std::size_t>(me)], length);
  const bool listening = listener && bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0 &&
                         listen(listener.get(), host.size()) == 0;
  const int deaf = first_failure(host, listening);
  if (deaf >= 0) return deaf;
  std::thread server(serve, listener.get(), fd, host.size() - 1);
  const bool fetched = fetch_by_socket(cards, me, accept);
  const int failed = first_failure(host, fetched);
  // Wakes our own server in case a peer gave up before it asked us.
  if (failed >= 0) shutdown(listener.get(), SHUT_RDWR);
  server.join();
  return failed;
}

}  // namespace

Result<void> exchange_fds(Bootstrap& host, int fd, const std::string& how, const AcceptFd& accept) {
  Card mine;
  mine.pid = getpid();
  mine.fd = fd;
  struct stat st{};
  if (fd >= 0 && fstat(fd, &st) == 0) {
    mine.device = st.st_dev;
    mine.inode = st.st_ino;
  }
  if (sodium_init() < 0) mine.fd = -1;
  randombytes_buf(mine.nonce.data(), mine.nonce.size());
  std::vector<Card> cards(static_cast<std::size_t>(host.size()));
  host.allgather(&mine, cards.data(), sizeof mine);
  for (std::size_t r = 0; r < cards.size(); ++r)
    if (cards[r].fd < 0) return failure(Errc::system, fmt::format("rank {} of this host could not create shared memory", r), static_cast<int>(r));

  int failed = -1;
  if (how != "socket") {
    failed = first_failure(host, open_by_proc(cards, host.rank(), accept));
    if (failed < 0) return {};
  }
  if (how != "proc") {
    failed = exchange_by_socket(host, fd, cards, accept);
    if (failed < 0) return {};
  }
  return failure(Errc::system,
                 fmt::format("rank {} of this host cannot map the shared memory of its peers ({}); are /proc and the network "
                             "namespace shared between the containers, and the user the same?", failed,
                             how == "proc" ? "through /proc/<pid>/fd" : "through /proc/<pid>/fd or a UNIX socket"),
                 failed);
}

}  // namespace libcoll::xport::shm
