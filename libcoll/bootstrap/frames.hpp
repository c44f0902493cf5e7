// What ranks say to each other while they meet: fixed-size handshake messages, then small frames.
// Pure functions over bytes: no I/O, no keys. Decoders take untrusted input, read nothing outside the
// span and allocate at most max_notice_text bytes. All integers are little-endian on the wire.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "libcoll/core/result.hpp"

namespace libcoll::detail {

using Bytes = std::span<const std::byte>;
using Nonce = std::array<std::byte, 32>;
using Mac = std::array<std::byte, 32>;

// Where a rank listens. `same_host` keeps the port but leaves the address to the receiver: the one at
// which it reached rank 0 (rank 0 saw a loopback address there, which is of no use elsewhere).
struct WireAddress {
  enum class Kind : std::uint8_t { none, same_host, ipv4, ipv6, unix_abstract };
  static constexpr std::size_t max_data = 108;
  Kind kind = Kind::none;
  std::uint8_t length = 0;  // bytes used of data: 4, 16 or the length of the abstract name
  std::uint16_t port = 0;
  std::array<std::byte, max_data> data{};
  bool operator==(const WireAddress&) const = default;
};
inline constexpr std::size_t wire_address_bytes = 4 + WireAddress::max_data;

// Accepting side -> connecting side, at once: reveals nothing but that libcoll listens.
struct Challenge {
  std::uint32_t rank = 0;
  Nonce nonce{};
  bool operator==(const Challenge&) const = default;
};
inline constexpr std::size_t challenge_bytes = 8 + 4 + 4 + 32;

// Connecting side -> accepting side. The MAC covers the challenge and all of this but itself.
struct Hello {
  std::uint32_t rank = 0;
  std::uint32_t size = 0;
  Nonce nonce{};
  WireAddress listener;
  Mac mac{};
  bool operator==(const Hello&) const = default;
};
inline constexpr std::size_t hello_bytes = 8 + 4 + 4 + 32 + wire_address_bytes + 32;
inline constexpr std::size_t hello_signed_bytes = hello_bytes - 32;

// After the handshake: header, payload, MAC of both under the session key of that direction.
enum class FrameType : std::uint8_t { welcome = 1, refuse, go, data, abort };
struct FrameHeader {
  FrameType type = FrameType::data;
  std::uint32_t length = 0;   // of the payload, at most max_frame_payload
  std::uint64_t counter = 0;  // frames sent before on this connection in this direction
  bool operator==(const FrameHeader&) const = default;
};
inline constexpr std::size_t frame_header_bytes = 16;
inline constexpr std::size_t max_frame_payload = 64 * 1024;

// Payload of `refuse` and `abort`: why a rank gives up, told to its neighbours.
struct Notice {
  Errc code = Errc::bootstrap;
  int peer = -1;
  std::string text;
  bool operator==(const Notice&) const = default;
};
inline constexpr std::size_t max_notice_text = 2000;
inline constexpr std::size_t max_notice_bytes = 8 + max_notice_text;

std::array<std::byte, challenge_bytes> encode(const Challenge&);
std::array<std::byte, hello_bytes> encode(const Hello&);
std::array<std::byte, frame_header_bytes> encode(const FrameHeader&);
std::array<std::byte, wire_address_bytes> encode(const WireAddress&);
std::string encode(const Notice&);  // text beyond max_notice_text is cut off

Result<Challenge> decode_challenge(Bytes);
Result<Hello> decode_hello(Bytes);
Result<FrameHeader> decode_frame_header(Bytes);
Result<WireAddress> decode_wire_address(Bytes);
Result<Notice> decode_notice(Bytes);

}  // namespace libcoll::detail
