// One authenticated connection between two ranks. Move-only, not thread-safe.
// Frames carry a counter and a MAC under a session key: they cannot be forged, replayed or reordered.
// A Failure from any method leaves the link unusable, but for give_up().
#pragma once

#include <functional>
#include <vector>

#include "libcoll/bootstrap/keys.hpp"
#include "libcoll/bootstrap/socket.hpp"

namespace libcoll::detail {

// Who a rank is in the handshake.
struct Identity {
  int rank = 0;
  int size = 1;
  Key job;
};

class Link {
 public:
  struct Control {
    FrameType type;
    std::vector<std::byte> payload;
  };

  Link() = default;
  // Takes over a socket whose handshake is done.
  Link(Fd fd, int peer, Key send_key, Key receive_key);

  // Connects, proves who we are and that the other side is `peer` of our job. `make_listener` gets the
  // local address of the connection and returns where we listen, which the peer is told.
  using MakeListener = std::function<Result<WireAddress>(const SocketAddress& local)>;
  static Result<Link> connect(const SocketAddress& to, int peer, const Identity& me, Deadline,
                              const MakeListener&);

  int peer() const noexcept { return peer_; }
  int fd() const noexcept { return fd_.get(); }

  Result<void> send(FrameType, Bytes payload, Deadline);
  // A data frame of exactly into.size() bytes. An abort frame becomes the Failure it carries.
  Result<void> receive_data(std::span<std::byte> into, Deadline);
  // Any frame of at most max_notice_bytes; abort and refuse become the Failure they carry.
  Result<Control> receive_control(Deadline);
  // Tells the peer why, best effort and briefly; then the link only waits to be destroyed.
  void give_up(const Failure&) noexcept;

 private:
  Result<FrameHeader> receive_header(Deadline, std::span<std::byte, frame_header_bytes> raw_header);
  Result<void> receive_payload(Bytes raw_header, std::span<std::byte> into, Deadline);
  Result<void> receive_notice(Bytes raw_header, const FrameHeader&, Deadline);

  Fd fd_;
  int peer_ = -1;
  Key send_key_, receive_key_;
  std::uint64_t sent_ = 0, received_ = 0;
  bool torn_ = false;  // a frame went out in part: nothing after it could be understood
};

}  // namespace libcoll::detail
