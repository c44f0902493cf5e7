#include "libcoll/bootstrap/frames.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace libcoll::detail {
namespace {

// The last byte is the protocol's version. Two magics, so that neither message passes for the other.
constexpr std::array<char, 8> challenge_magic{'l', 'i', 'b', 'c', 'o', 'l', 'C', 1};
constexpr std::array<char, 8> hello_magic{'l', 'i', 'b', 'c', 'o', 'l', 'H', 1};
constexpr std::byte frame_magic{0xC0};

class Writer {
 public:
  explicit Writer(std::byte* at) : at_(at) {}
  template <class T>
  void integer(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) *at_++ = static_cast<std::byte>(value >> (8 * i));
  }
  void raw(const void* from, std::size_t bytes) {
    std::memcpy(at_, from, bytes);
    at_ += bytes;
  }

 private:
  std::byte* at_;
};

// Reads past the end yield zeros and clear ok(), so that decoders check once.
class Reader {
 public:
  explicit Reader(Bytes in) : in_(in) {}
  template <class T>
  T integer() {
    std::array<std::byte, sizeof(T)> raw_bytes{};
    raw(raw_bytes.data(), raw_bytes.size());
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i)
      value |= std::to_integer<std::uint64_t>(raw_bytes[i]) << (8 * i);
    return static_cast<T>(value);
  }
  void raw(void* to, std::size_t bytes) {
    if (bytes > in_.size()) {
      ok_ = false;
      in_ = {};
      std::memset(to, 0, bytes);
      return;
    }
    if (bytes > 0) std::memcpy(to, in_.data(), bytes);
    in_ = in_.subspan(bytes);
  }
  bool magic(const std::array<char, 8>& expected) {
    std::array<char, 8> found{};
    raw(found.data(), found.size());
    return found == expected;
  }
  std::size_t left() const { return in_.size(); }
  bool complete() const { return ok_ && in_.empty(); }

 private:
  Bytes in_;
  bool ok_ = true;
};

tl::unexpected<Failure> malformed(const char* what) {
  return failure(Errc::bootstrap,
                 fmt::format("malformed {}: the peer is not a libcoll rank of this version", what));
}

bool length_fits_kind(const WireAddress& a) {
  switch (a.kind) {
    case WireAddress::Kind::none:
    case WireAddress::Kind::same_host:
      return a.length == 0;
    case WireAddress::Kind::ipv4:
      return a.length == 4;
    case WireAddress::Kind::ipv6:
      return a.length == 16;
    case WireAddress::Kind::unix_abstract:
      return a.length > 0 && a.length < WireAddress::max_data;
  }
  return false;
}

}  // namespace

std::array<std::byte, challenge_bytes> encode(const Challenge& c) {
  std::array<std::byte, challenge_bytes> out{};
  Writer w(out.data());
  w.raw(challenge_magic.data(), challenge_magic.size());
  w.integer(c.rank);
  w.integer(std::uint32_t{0});
  w.raw(c.nonce.data(), c.nonce.size());
  return out;
}

std::array<std::byte, wire_address_bytes> encode(const WireAddress& a) {
  std::array<std::byte, wire_address_bytes> out{};
  Writer w(out.data());
  w.integer(static_cast<std::uint8_t>(a.kind));
  w.integer(a.length);
  w.integer(a.port);
  w.raw(a.data.data(), std::min<std::size_t>(a.length, WireAddress::max_data));
  return out;
}

std::array<std::byte, hello_bytes> encode(const Hello& h) {
  std::array<std::byte, hello_bytes> out{};
  Writer w(out.data());
  w.raw(hello_magic.data(), hello_magic.size());
  w.integer(h.rank);
  w.integer(h.size);
  w.raw(h.nonce.data(), h.nonce.size());
  const auto address = encode(h.listener);
  w.raw(address.data(), address.size());
  w.raw(h.mac.data(), h.mac.size());
  return out;
}

std::array<std::byte, frame_header_bytes> encode(const FrameHeader& f) {
  std::array<std::byte, frame_header_bytes> out{};
  Writer w(out.data());
  w.integer(static_cast<std::uint8_t>(frame_magic));
  w.integer(static_cast<std::uint8_t>(f.type));
  w.integer(std::uint16_t{0});
  w.integer(f.length);
  w.integer(f.counter);
  return out;
}

std::string encode(const Notice& n) {
  const std::size_t text_bytes = std::min(n.text.size(), max_notice_text);
  std::string out(8 + text_bytes, '\0');
  Writer w(reinterpret_cast<std::byte*>(out.data()));
  w.integer(static_cast<std::uint32_t>(n.code));
  w.integer(static_cast<std::uint32_t>(n.peer));
  w.raw(n.text.data(), text_bytes);
  return out;
}

Result<Challenge> decode_challenge(Bytes in) {
  Reader r(in);
  Challenge c;
  if (!r.magic(challenge_magic)) return malformed("challenge");
  c.rank = r.integer<std::uint32_t>();
  const auto reserved = r.integer<std::uint32_t>();
  r.raw(c.nonce.data(), c.nonce.size());
  if (!r.complete() || reserved != 0) return malformed("challenge");
  return c;
}

Result<WireAddress> decode_wire_address(Bytes in) {
  Reader r(in);
  WireAddress a;
  const auto kind = r.integer<std::uint8_t>();
  a.length = r.integer<std::uint8_t>();
  a.port = r.integer<std::uint16_t>();
  r.raw(a.data.data(), a.data.size());
  if (!r.complete() || kind > static_cast<std::uint8_t>(WireAddress::Kind::unix_abstract))
    return malformed("address");
  a.kind = static_cast<WireAddress::Kind>(kind);
  if (!length_fits_kind(a)) return malformed("address");
  // One encoding per value: whatever is not used is zero.
  const auto unused = Bytes(a.data).subspan(a.length);
  if (std::any_of(unused.begin(), unused.end(), [](std::byte b) { return b != std::byte{0}; }))
    return malformed("address");
  return a;
}

Result<Hello> decode_hello(Bytes in) {
  Reader r(in);
  Hello h;
  if (!r.magic(hello_magic)) return malformed("hello");
  h.rank = r.integer<std::uint32_t>();
  h.size = r.integer<std::uint32_t>();
  r.raw(h.nonce.data(), h.nonce.size());
  std::array<std::byte, wire_address_bytes> address{};
  r.raw(address.data(), address.size());
  r.raw(h.mac.data(), h.mac.size());
  if (!r.complete()) return malformed("hello");
  auto listener = decode_wire_address(address);
  if (!listener) return tl::make_unexpected(listener.error());
  h.listener = *listener;
  return h;
}

Result<FrameHeader> decode_frame_header(Bytes in) {
  Reader r(in);
  FrameHeader f;
  const auto magic = r.integer<std::uint8_t>();
  const auto type = r.integer<std::uint8_t>();
  const auto reserved = r.integer<std::uint16_t>();
  f.length = r.integer<std::uint32_t>();
  f.counter = r.integer<std::uint64_t>();
  const bool known = type >= static_cast<std::uint8_t>(FrameType::welcome) &&
                     type <= static_cast<std::uint8_t>(FrameType::abort);
  if (!r.complete() || magic != static_cast<std::uint8_t>(frame_magic) || reserved != 0 || !known)
    return malformed("frame");
  if (f.length > max_frame_payload) return malformed("frame length");
  f.type = static_cast<FrameType>(type);
  return f;
}

Result<Notice> decode_notice(Bytes in) {
  if (in.size() > max_notice_bytes) return malformed("notice");
  Reader r(in);
  Notice n;
  const auto code = r.integer<std::uint32_t>();
  n.peer = static_cast<int>(r.integer<std::uint32_t>());
  n.text.resize(r.left());
  r.raw(n.text.data(), n.text.size());
  if (!r.complete() || code == 0 || code > static_cast<std::uint32_t>(Errc::internal))
    return malformed("notice");
  n.code = static_cast<Errc>(code);
  return n;
}

}  // namespace libcoll::detail
