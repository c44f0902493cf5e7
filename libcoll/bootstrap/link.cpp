#include "libcoll/bootstrap/link.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace libcoll::detail {

Link::Link(Fd fd, int peer, Key send_key, Key receive_key)
    : fd_(std::move(fd)), peer_(peer), send_key_(send_key), receive_key_(receive_key) {}

Result<Link> Link::connect(const SocketAddress& to, int peer, const Identity& me, Deadline deadline,
                           const MakeListener& make_listener) {
  auto fd = connect_to(to, deadline);
  if (!fd) return tl::make_unexpected(fd.error());
  if (to.family() == AF_UNIX && !peer_is_our_user(fd->get())) {
    return failure(Errc::bootstrap, to.text() + " belongs to another user");
  }
  std::array<std::byte, challenge_bytes> raw_challenge{};
  if (auto r = receive_all(fd->get(), raw_challenge, deadline); !r) return tl::make_unexpected(r.error());
  auto challenge = decode_challenge(raw_challenge);
  if (!challenge) return tl::make_unexpected(challenge.error());
  if (challenge->rank != static_cast<std::uint32_t>(peer)) {
    return failure(Errc::bootstrap,
                   fmt::format("rank {} answered at the address of rank {}", challenge->rank, peer));
  }
  auto local = local_address(fd->get());
  if (!local) return tl::make_unexpected(local.error());
  auto listener = make_listener(*local);
  if (!listener) return tl::make_unexpected(listener.error());

  Hello hello{.rank = static_cast<std::uint32_t>(me.rank),
              .size = static_cast<std::uint32_t>(me.size),
              .nonce = random_nonce(),
              .listener = *listener,
              .mac = {}};
  const auto unsigned_hello = encode(hello);
  const Bytes covered = Bytes(unsigned_hello).first(hello_signed_bytes);
  hello.mac = hello_mac(me.job, raw_challenge, covered);
  if (auto r = send_all(fd->get(), encode(hello), deadline); !r) return tl::make_unexpected(r.error());

  const SessionKeys keys = session_keys(me.job, raw_challenge, covered);
  Link link(std::move(*fd), peer, keys.to_acceptor, keys.to_connector);
  // The welcome's MAC is the peer's proof: only who knows the job's secret has the session key.
  auto answer = link.receive_control(deadline);
  if (!answer) return tl::make_unexpected(answer.error());
  if (answer->type != FrameType::welcome) return failure(Errc::bootstrap, "unexpected answer to a hello");
  return link;
}

Result<void> Link::send(FrameType type, Bytes payload, Deadline deadline) {
  const auto header = encode(FrameHeader{type, static_cast<std::uint32_t>(payload.size()), sent_++});
  const Mac mac = frame_mac(send_key_, header, payload);
  std::size_t done = 0;
  Result<void> result;
  // Small frames go out in one piece: one system call, one packet.
  if (payload.size() <= max_notice_bytes) {
    std::array<std::byte, frame_header_bytes + max_notice_bytes + sizeof(Mac)> frame;
    std::memcpy(frame.data(), header.data(), header.size());
    if (!payload.empty()) std::memcpy(frame.data() + header.size(), payload.data(), payload.size());
    std::memcpy(frame.data() + header.size() + payload.size(), mac.data(), mac.size());
    result =
        send_all(fd_.get(), Bytes(frame).first(header.size() + payload.size() + mac.size()), deadline, &done);
  } else {
    result = send_all(fd_.get(), header, deadline, &done);
    if (result) result = send_all(fd_.get(), payload, deadline, &done);
    if (result) result = send_all(fd_.get(), mac, deadline, &done);
  }
  torn_ = torn_ || (!result && done > 0);
  return result;
}

Result<FrameHeader> Link::receive_header(Deadline deadline,
                                         std::span<std::byte, frame_header_bytes> raw_header) {
  if (auto r = receive_all(fd_.get(), raw_header, deadline); !r) return tl::make_unexpected(r.error());
  auto header = decode_frame_header(raw_header);
  if (header && header->counter != received_) return failure(Errc::bootstrap, "a frame was lost or replayed");
  return header;
}

Result<void> Link::receive_payload(Bytes raw_header, std::span<std::byte> into, Deadline deadline) {
  if (auto r = receive_all(fd_.get(), into, deadline); !r) return r;
  Mac mac;
  if (auto r = receive_all(fd_.get(), mac, deadline); !r) return r;
  if (!equal_constant_time(mac, frame_mac(receive_key_, raw_header, into))) {
    return failure(Errc::bootstrap, "a frame with a wrong authentication code arrived");
  }
  ++received_;
  return {};
}

Result<void> Link::receive_notice(Bytes raw_header, const FrameHeader& header, Deadline deadline) {
  std::array<std::byte, max_notice_bytes> buffer;
  if (header.length > buffer.size()) return failure(Errc::bootstrap, "an oversized frame arrived");
  const auto payload = std::span(buffer).first(header.length);
  if (auto r = receive_payload(raw_header, payload, deadline); !r) return r;
  auto notice = decode_notice(payload);
  if (!notice) return tl::make_unexpected(notice.error());
  return failure(notice->code, notice->text, notice->peer);
}

Result<void> Link::receive_data(std::span<std::byte> into, Deadline deadline) {
  std::array<std::byte, frame_header_bytes> raw_header{};
  auto header = receive_header(deadline, raw_header);
  if (!header) return tl::make_unexpected(header.error());
  if (header->type == FrameType::abort) return receive_notice(raw_header, *header, deadline);
  if (header->type != FrameType::data || header->length != into.size()) {
    return failure(Errc::bootstrap, "an unexpected frame arrived");
  }
  return receive_payload(raw_header, into, deadline);
}

Result<Link::Control> Link::receive_control(Deadline deadline) {
  std::array<std::byte, frame_header_bytes> raw_header{};
  auto header = receive_header(deadline, raw_header);
  if (!header) return tl::make_unexpected(header.error());
  if (header->type == FrameType::abort || header->type == FrameType::refuse) {
    if (auto r = receive_notice(raw_header, *header, deadline); !r) return tl::make_unexpected(r.error());
  }
  if (header->length > max_notice_bytes) return failure(Errc::bootstrap, "an oversized frame arrived");
  Control control{header->type, std::vector<std::byte>(header->length)};
  if (auto r = receive_payload(raw_header, control.payload, deadline); !r)
    return tl::make_unexpected(r.error());
  return control;
}

void Link::give_up(const Failure& why) noexcept {
  if (!fd_ || torn_) return;
  try {
    const std::string notice = encode(Notice{why.code, why.peer, why.text});
    const auto soon = Clock::now() + std::chrono::milliseconds(200);
    (void)send(FrameType::abort, std::as_bytes(std::span(notice)), soon);
  } catch (...) {  // out of memory: the peer then sees the connection close
  }
}

}  // namespace libcoll::detail
