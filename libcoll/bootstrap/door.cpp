#include "libcoll/bootstrap/door.hpp"

#include <fmt/format.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "libcoll/core/log.hpp"

namespace libcoll::detail {
namespace {

// Clients that have proved nothing yet, beyond one per expected rank. The oldest goes first.
constexpr std::size_t spare_pending = 128;
constexpr int accepts_per_event = 64;

bool has_left(int fd) {
  std::byte byte;
  const ssize_t n = ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

}  // namespace

std::string seconds_text(std::chrono::milliseconds t) {
  return fmt::format("{:g} s", static_cast<double>(t.count()) / 1000);
}

std::string rank_list(const std::vector<int>& ranks) {
  constexpr std::size_t max_ranges = 32;
  std::string out = ranks.size() == 1 ? "rank " : "ranks ";
  std::size_t ranges = 0;
  for (std::size_t i = 0; i < ranks.size(); ++ranges) {
    if (ranges == max_ranges) return out + fmt::format(" and {} more", ranks.size() - i);
    std::size_t last = i;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    if (ranges > 0) out += ", ";
    out += last == i ? fmt::format("{}", ranks[i]) : fmt::format("{}-{}", ranks[i], ranks[last]);
    i = last + 1;
  }
  return out;
}

Door::Door(std::vector<Fd> listeners, Identity me, std::chrono::milliseconds handshake_limit)
    : listeners_(std::move(listeners)),
      me_(me),
      handshake_limit_(handshake_limit),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

bool Door::watch(int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

Result<void> Door::admit(const std::vector<int>& expected, Deadline deadline,
                         std::chrono::milliseconds timeout, Guests& guests) {
  expected_ = expected;
  if (!epoll_) return tl::make_unexpected(system_failure("epoll_create1", errno));
  for (const Fd& l : listeners_) {
    if (!watch(l.get(), EPOLLIN)) return tl::make_unexpected(system_failure("epoll_ctl", errno));
  }
  while (guests.size() < expected.size()) {
    if (Clock::now() >= deadline) {
      std::vector<int> missing;
      std::copy_if(expected.begin(), expected.end(), std::back_inserter(missing),
                   [&](int r) { return !guests.contains(r); });
      return tl::make_unexpected(timed_out(missing, timeout));
    }
    const Deadline wake =
        by_age_.empty() ? deadline : std::min(deadline, pending_.at(by_age_.front()).expires);
    std::array<epoll_event, 64> events;
    const int n = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), poll_ms(wake));
    if (n < 0 && errno != EINTR) return tl::make_unexpected(system_failure("epoll_wait", errno));
    for (int i = 0; i < n; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (pending_.contains(fd)) {
        read_hello(fd, guests);
      } else if (const auto guest = guest_of_fd_.find(fd); guest != guest_of_fd_.end()) {
        log().info("rank {} left while rank {} waited for others", guest->second, me_.rank);
        guests.erase(guest->second);  // closes fd, which takes it out of the epoll set
        guest_of_fd_.erase(fd);
      } else if (std::any_of(listeners_.begin(), listeners_.end(),
                             [&](const Fd& l) { return l.get() == fd; })) {
        if (auto r = accept_some(fd); !r) return r;
      }
    }
    drop_expired();
  }
  // The guests outlive us in other hands; strangers are dropped with us.
  return {};
}

Result<void> Door::accept_some(int listener) {
  for (int i = 0; i < accepts_per_event; ++i) {
    Fd fd(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      if (auto r = take_in(std::move(fd)); !r) return r;
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {};
    const bool exhausted = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
    if (!exhausted) continue;  // that client is gone already
    if (by_age_.empty()) {
      return tl::make_unexpected(system_failure(
          fmt::format("rank {} cannot accept a connection per rank ({} ranks; raise `ulimit -n`)", me_.rank,
                      me_.size),
          errno));
    }
    drop(by_age_.front());
  }
  return {};
}

Result<void> Door::take_in(Fd fd) {
  auto address = local_address(fd.get());
  if (!address) return {};  // gone already
  if (address->family() == AF_UNIX && !peer_is_our_user(fd.get())) {
    ++impostors_;
    return {};
  }
  set_no_delay(fd.get());
  const auto challenge = encode(Challenge{static_cast<std::uint32_t>(me_.rank), random_nonce()});
  if (!send_all(fd.get(), challenge, Clock::now())) return {};
  if (!watch(fd.get(), EPOLLIN)) return {};
  if (pending_.size() >= expected_.size() + spare_pending) drop(by_age_.front());
  const int key = fd.get();
  Pending& p = pending_[key];
  p.fd = std::move(fd);
  p.challenge = challenge;
  p.expires = Clock::now() + handshake_limit_;
  p.age = by_age_.insert(by_age_.end(), key);
  return {};
}

void Door::read_hello(int fd, Guests& guests) {
  Pending& p = pending_.at(fd);
  const ssize_t n = ::recv(fd, p.hello.data() + p.got, p.hello.size() - p.got, 0);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
  if (n <= 0) return drop(fd);
  p.got += static_cast<std::size_t>(n);
  if (p.got < p.hello.size()) return;
  examine(p, guests);
  drop(fd);  // an admitted guest's descriptor has moved out by now
}

void Door::examine(Pending& p, Guests& guests) {
  const auto hello = decode_hello(p.hello);
  const Bytes covered = Bytes(p.hello).first(hello_signed_bytes);
  if (!hello || !equal_constant_time(hello->mac, hello_mac(me_.job, p.challenge, covered))) {
    ++impostors_;
    log().debug("rank {} turned away a connection that does not know the job's secret", me_.rank);
    return;
  }
  auto seen = peer_address(p.fd.get());
  if (!seen) return;
  const SessionKeys keys = session_keys(me_.job, p.challenge, covered);
  const int fd = p.fd.get();
  const int rank = static_cast<int>(hello->rank);
  Guest guest{Link(std::move(p.fd), rank, keys.to_connector, keys.to_acceptor), hello->listener, *seen};
  if (hello->size != static_cast<std::uint32_t>(me_.size)) {
    return refuse(guest.link, fmt::format("rank {} takes part in a job of {} ranks, rank {} in one of {}",
                                          rank, hello->size, me_.rank, me_.size));
  }
  if (!std::binary_search(expected_.begin(), expected_.end(), rank)) {
    return refuse(guest.link, fmt::format("rank {} has no business with rank {}", rank, me_.rank));
  }
  if (const auto first = guests.find(rank); first != guests.end()) {
    // The same rank may have given up a slow attempt; then its connection is closed by now.
    if (!has_left(first->second.link.fd())) {
      return refuse(guest.link,
                    fmt::format("rank {} has joined already: two processes claim to be it", rank));
    }
    guest_of_fd_.erase(first->second.link.fd());
    guests.erase(first);
  }
  if (!guest.link.send(FrameType::welcome, {}, Clock::now())) return;
  // From here on only its leaving matters. It stays silent until told to go on.
  epoll_event event{};
  event.events = EPOLLRDHUP;
  event.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) != 0) return;
  guest_of_fd_[fd] = rank;
  guests.emplace(rank, std::move(guest));
}

void Door::refuse(Link& link, const std::string& text) {
  ++impostors_;
  log().warn("rank {} refused a connection: {}", me_.rank, text);
  const std::string notice = encode(Notice{Errc::bootstrap, me_.rank, text});
  (void)link.send(FrameType::refuse, std::as_bytes(std::span(notice)), Clock::now());
}

void Door::drop_expired() {
  const auto now = Clock::now();
  while (!by_age_.empty() && pending_.at(by_age_.front()).expires <= now) drop(by_age_.front());
}

void Door::drop(int fd) {
  const auto it = pending_.find(fd);
  by_age_.erase(it->second.age);
  pending_.erase(it);
}

Failure Door::timed_out(const std::vector<int>& missing, std::chrono::milliseconds timeout) const {
  std::string text = fmt::format("{} of {} did not arrive at rank {} within {}", rank_list(missing), me_.size,
                                 me_.rank, seconds_text(timeout));
  if (impostors_ > 0) {
    text += fmt::format("; connections refused: {} (do all ranks have the same LIBCOLL_SECRET and job size?)",
                        impostors_);
  }
  return {.code = Errc::timeout, .text = text, .peer = missing.front()};
}

}  // namespace libcoll::detail
