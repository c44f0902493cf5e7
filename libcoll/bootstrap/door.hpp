// Where ranks arrive: accepts any number of connections at once and admits those that prove to be an
// expected rank of our job. Port scanners, half-open, slow or garbage clients cost a table entry for at
// most a few seconds and never delay others: nothing here waits for one client.
#pragma once

#include <list>
#include <map>
#include <unordered_map>
#include <vector>

#include "libcoll/bootstrap/link.hpp"

namespace libcoll::detail {

class Door {
 public:
  struct Guest {
    Link link;
    WireAddress listener;  // where the guest listens, as it says
    SocketAddress seen;    // its address as we see it
  };
  using Guests = std::map<int, Guest>;

  // Time for an accepted client to prove itself. Honest ranks need one round trip and try again if cut.
  static constexpr std::chrono::milliseconds default_handshake_limit{5000};

  Door(std::vector<Fd> listeners, Identity me,
       std::chrono::milliseconds handshake_limit = default_handshake_limit);

  // Waits until all of `expected` are here. A guest that leaves meanwhile is missing again.
  // On failure `guests` holds those who are here, to be told. Errc::timeout names the missing.
  Result<void> admit(const std::vector<int>& expected, Deadline, std::chrono::milliseconds timeout,
                     Guests& guests);

 private:
  struct Pending {
    Fd fd;
    std::array<std::byte, challenge_bytes> challenge{};
    std::array<std::byte, hello_bytes> hello{};
    std::size_t got = 0;
    Deadline expires;
    std::list<int>::iterator age;
  };

  Result<void> accept_some(int listener);
  Result<void> take_in(Fd fd);
  void read_hello(int fd, Guests& guests);
  void examine(Pending& pending, Guests& guests);
  void refuse(Link& link, const std::string& text);
  void drop_expired();
  void drop(int fd);
  bool watch(int fd, std::uint32_t events);
  Failure timed_out(const std::vector<int>& missing, std::chrono::milliseconds timeout) const;

  std::vector<Fd> listeners_;
  Identity me_;
  std::chrono::milliseconds handshake_limit_;
  Fd epoll_;
  std::vector<int> expected_;
  std::unordered_map<int, Pending> pending_;
  std::list<int> by_age_;  // descriptors of pending_, oldest first
  std::unordered_map<int, int> guest_of_fd_;
  std::size_t impostors_ = 0;  // wrong secret, wrong size, rank taken
};

// "ranks 2, 5-7": sorted input; long lists are cut.
std::string rank_list(const std::vector<int>& ranks);
std::string seconds_text(std::chrono::milliseconds);

}  // namespace libcoll::detail
