// Every decoder of the bootstrap's wire format: no crash, and whatever is accepted has one encoding.
#include <algorithm>
#include <cstdlib>

#include "libcoll/bootstrap/frames.hpp"

using namespace libcoll::detail;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

template <class T>
void round_trip(const Result<T>& decoded, Bytes input) {
  if (!decoded) return;
  const auto again = encode(*decoded);
  const auto bytes = std::as_bytes(std::span(again));
  require(std::equal(bytes.begin(), bytes.end(), input.begin(), input.end()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input = std::as_bytes(std::span(data, size));
  round_trip(decode_challenge(input), input);
  round_trip(decode_hello(input), input);
  round_trip(decode_frame_header(input), input);
  round_trip(decode_wire_address(input), input);
  round_trip(decode_notice(input), input);
  if (const auto header = decode_frame_header(input)) require(header->length <= max_frame_payload);
  return 0;
}
