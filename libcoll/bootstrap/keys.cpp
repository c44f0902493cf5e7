#include "libcoll/bootstrap/keys.hpp"

#include <sodium.h>

#include <cstring>
#include <initializer_list>

#include "libcoll/error.hpp"

namespace libcoll::detail {
namespace {

void ensure_sodium() {
  static const int status = sodium_init();
  if (status < 0) throw Error(Errc::system, "libsodium could not find a source of random numbers");
}

Bytes bytes_of(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }

// Parts are length-prefixed: ("ab", "c") and ("a", "bc") must not hash alike.
std::array<std::byte, 32> blake2b(Bytes key, std::initializer_list<Bytes> parts) {
  ensure_sodium();
  crypto_generichash_state state;
  std::array<std::byte, 32> out{};
  const auto* raw_key = reinterpret_cast<const unsigned char*>(key.data());
  crypto_generichash_init(&state, key.empty() ? nullptr : raw_key, key.size(), out.size());
  for (const Bytes part : parts) {
    const std::uint64_t length = part.size();
    crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(&length), sizeof length);
    if (length == 0) continue;
    crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(part.data()), part.size());
  }
  crypto_generichash_final(&state, reinterpret_cast<unsigned char*>(out.data()), out.size());
  sodium_memzero(&state, sizeof state);
  return out;
}

Key derive(const Key& from, std::string_view label, Bytes challenge, Bytes signed_hello) {
  Key key;
  key.bytes = blake2b(from.bytes, {bytes_of(label), challenge, signed_hello});
  return key;
}

}  // namespace

Key::~Key() { sodium_memzero(bytes.data(), bytes.size()); }

Nonce random_nonce() {
  ensure_sodium();
  Nonce nonce;
  randombytes_buf(nonce.data(), nonce.size());
  return nonce;
}

Key job_key(std::string_view secret, std::string_view job_id) {
  Key key;
  key.bytes = blake2b({}, {bytes_of("libcoll bootstrap job key 1"), bytes_of(secret), bytes_of(job_id)});
  return key;
}

Mac hello_mac(const Key& job, Bytes challenge, Bytes signed_hello) {
  return blake2b(job.bytes, {bytes_of("hello"), challenge, signed_hello});
}

SessionKeys session_keys(const Key& job, Bytes challenge, Bytes signed_hello) {
  return {.to_acceptor = derive(job, "to acceptor", challenge, signed_hello),
          .to_connector = derive(job, "to connector", challenge, signed_hello)};
}

Mac frame_mac(const Key& session, Bytes header, Bytes payload) {
  return blake2b(session.bytes, {header, payload});
}

bool equal_constant_time(const Mac& a, const Mac& b) {
  return sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::uint64_t public_hash(std::string_view text) {
  const auto hash = blake2b({}, {bytes_of("libcoll bootstrap name 1"), bytes_of(text)});
  std::uint64_t value = 0;
  std::memcpy(&value, hash.data(), sizeof value);
  return value;
}

}  // namespace libcoll::detail
