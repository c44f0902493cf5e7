// The secrets of one job and of one connection, and the MACs made with them (libsodium).
// The protocol authenticates; it does not encrypt.
#pragma once

#include <string_view>

#include "libcoll/bootstrap/frames.hpp"

namespace libcoll::detail {

// Wiped when it goes away, so that a core dump of the application does not hold the job's secret.
class Key {
 public:
  Key() = default;
  Key(const Key&) = default;
  Key& operator=(const Key&) = default;
  ~Key();
  std::array<std::byte, 32> bytes{};
};

// Both sides of a connection derive the same pair from the handshake.
struct SessionKeys {
  Key to_acceptor;
  Key to_connector;
};

Nonce random_nonce();

// The job id goes in, so that two jobs that share LIBCOLL_SECRET cannot mix.
Key job_key(std::string_view secret, std::string_view job_id);

// `transcript` is the challenge and the signed part of the hello as they went over the wire: both
// nonces, both ranks, the size. Distinct labels keep the roles apart, so nothing can be reflected.
Mac hello_mac(const Key& job, Bytes challenge, Bytes signed_hello);
SessionKeys session_keys(const Key& job, Bytes challenge, Bytes signed_hello);
Mac frame_mac(const Key& session, Bytes header, Bytes payload);

bool equal_constant_time(const Mac&, const Mac&);

// 16 hexadecimal digits from any strings; the basis of names and ports that ranks derive alone.
std::uint64_t public_hash(std::string_view text);

}  // namespace libcoll::detail
