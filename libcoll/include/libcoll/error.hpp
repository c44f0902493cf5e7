// The one error vocabulary. The C++ surface throws Error; the C ABI returns the same codes.
#pragma once

#include <stdexcept>
#include <string>

#include "libcoll/types.hpp"

namespace libcoll {

enum class Errc : int {
  ok = 0,
  invalid_argument = 1,  // the caller's argument; nothing was communicated, the communicator is usable
  mismatch = 2,          // ranks called with different arguments; the communicator is usable
  unsupported = 3,       // a combination that this build or machine cannot do
  timeout = 4,           // a peer did not arrive in time
  peer_lost = 5,         // a peer died
  closed = 6,            // the communicator was closed or is broken by an earlier loss
  bootstrap = 7,         // ranks could not meet
  system = 8,            // the operating system refused something
  internal = 9,          // a bug of ours
};
LIBCOLL_API const char* name_of(Errc) noexcept;

// Text names the rank that throws, the collective, the odd peer if one is known, and what to do.
class LIBCOLL_API Error : public std::runtime_error {
 public:
  Error(Errc code, const std::string& text, int peer = -1)
      : std::runtime_error(text), code_(code), peer_(peer) {}
  Errc code() const noexcept { return code_; }
  // Rank, in the communicator of the failed call, of the peer at fault; -1 if none is known.
  int peer() const noexcept { return peer_; }

 private:
  Errc code_;
  int peer_;
};

}  // namespace libcoll
