#include "libcoll/bootstrap/frames.hpp"

#include <gtest/gtest.h>

#include "libcoll/bootstrap/keys.hpp"

namespace libcoll::detail {
namespace {

WireAddress ipv4_address() {
  WireAddress a{.kind = WireAddress::Kind::ipv4, .length = 4, .port = 4711, .data = {}};
  a.data[0] = std::byte{127};
  a.data[3] = std::byte{1};
  return a;
}

template <std::size_t n>
std::array<std::byte, n> with(std::array<std::byte, n> bytes, std::size_t at, int value) {
  bytes[at] = static_cast<std::byte>(value);
  return bytes;
}

TEST(Frames, ChallengeSurvivesTheWire) {
  const Challenge c{0x01020304, random_nonce()};
  const auto wire = encode(c);
  EXPECT_EQ(wire[8], std::byte{4});  // little-endian
  EXPECT_EQ(decode_challenge(wire).value(), c);
}

TEST(Frames, HelloSurvivesTheWire) {
  const Hello h{
      .rank = 7, .size = 4096, .nonce = random_nonce(), .listener = ipv4_address(), .mac = random_nonce()};
  EXPECT_EQ(decode_hello(encode(h)).value(), h);
}

TEST(Frames, HeaderSurvivesTheWire) {
  const FrameHeader f{FrameType::abort, max_frame_payload, 0x1122334455667788};
  EXPECT_EQ(decode_frame_header(encode(f)).value(), f);
}

TEST(Frames, NoticeSurvivesTheWireAndIsCut) {
  const Notice n{Errc::timeout, -1, "ranks 2, 5-7 of 16 did not arrive"};
  const std::string wire = encode(n), longest = encode(Notice{Errc::system, 3, std::string(100'000, 'x')});
  EXPECT_EQ(decode_notice(std::as_bytes(std::span(wire))).value(), n);
  const auto cut = decode_notice(std::as_bytes(std::span(longest)));
  EXPECT_EQ(cut.value().text, std::string(max_notice_text, 'x'));
}

TEST(Frames, EveryShorterOrLongerInputIsRefused) {
  const auto challenge = encode(Challenge{1, random_nonce()});
  const auto hello =
      encode(Hello{.rank = 1, .size = 2, .nonce = random_nonce(), .listener = ipv4_address(), .mac = {}});
  const auto header = encode(FrameHeader{});
  for (std::size_t n = 0; n < challenge.size(); ++n)
    EXPECT_FALSE(decode_challenge(Bytes(challenge).first(n)));
  for (std::size_t n = 0; n < hello.size(); ++n) EXPECT_FALSE(decode_hello(Bytes(hello).first(n)));
  for (std::size_t n = 0; n < header.size(); ++n) EXPECT_FALSE(decode_frame_header(Bytes(header).first(n)));
  std::vector<std::byte> longer(hello.begin(), hello.end());
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decode_hello(longer));
  for (std::size_t n = 0; n < 8; ++n) EXPECT_FALSE(decode_notice(Bytes(header).first(n)));
}

TEST(Frames, GiantLengthsAndUnknownTypesAreRefused) {
  const auto header = encode(FrameHeader{});
  EXPECT_TRUE(decode_frame_header(header));
  EXPECT_FALSE(decode_frame_header(with(header, 0, 0)));  // magic
  EXPECT_FALSE(decode_frame_header(with(header, 1, 0)));  // type
  EXPECT_FALSE(decode_frame_header(with(header, 1, 6)));
  EXPECT_FALSE(decode_frame_header(with(header, 2, 1)));     // reserved
  EXPECT_FALSE(decode_frame_header(with(header, 7, 0x7F)));  // two thousand million bytes
  EXPECT_FALSE(decode_notice(std::vector<std::byte>(max_notice_bytes + 1, std::byte{1})));
}

TEST(Frames, AddressesMustFitTheirKind) {
  const auto good = encode(ipv4_address());
  EXPECT_EQ(decode_wire_address(good).value(), ipv4_address());
  EXPECT_FALSE(decode_wire_address(with(good, 0, 5)));    // unknown kind
  EXPECT_FALSE(decode_wire_address(with(good, 1, 5)));    // IPv4 of five bytes
  EXPECT_FALSE(decode_wire_address(with(good, 1, 255)));  // beyond the data
  EXPECT_FALSE(decode_wire_address(with(good, 50, 1)));   // rubbish in the unused part
  EXPECT_FALSE(decode_wire_address(with(encode(WireAddress{}), 1, 1)));
}

TEST(Keys, DependOnEverything) {
  const Key a = job_key("secret", "job"), b = job_key("secreT", "job"), c = job_key("secre", "tjob");
  EXPECT_NE(a.bytes, b.bytes);
  EXPECT_NE(a.bytes, c.bytes);  // the boundary between secret and job id counts
  EXPECT_EQ(a.bytes, job_key("secret", "job").bytes);
  const auto challenge = random_nonce(), hello = random_nonce();
  const SessionKeys keys = session_keys(a, challenge, hello);
  EXPECT_NE(keys.to_acceptor.bytes, keys.to_connector.bytes);
  EXPECT_NE(keys.to_acceptor.bytes, session_keys(a, hello, challenge).to_acceptor.bytes);
  EXPECT_NE(keys.to_acceptor.bytes, hello_mac(a, challenge, hello));
  EXPECT_NE(frame_mac(a, challenge, hello), frame_mac(b, challenge, hello));
  EXPECT_TRUE(equal_constant_time(hello, hello));
  EXPECT_FALSE(equal_constant_time(hello, challenge));
}

}  // namespace
}  // namespace libcoll::detail
