// Checks of the pointers and counts of one call, shared by all collectives.
#pragma once

#include <fmt/format.h>

#include "libcoll/core/comm_impl.hpp"

namespace libcoll::detail {

inline std::uint32_t element_bytes_of(DType type, const ReduceOp& op) noexcept {
  if (op.custom() != nullptr && op.custom()->element_bytes != 0) return op.custom()->element_bytes;
  return static_cast<std::uint32_t>(size_of(type));
}

inline bool overlaps(const void* a, std::uint64_t a_bytes, const void* b, std::uint64_t b_bytes) noexcept {
  const auto x = reinterpret_cast<std::uint64_t>(a), y = reinterpret_cast<std::uint64_t>(b);
  return x < y + b_bytes && y < x + a_bytes;
}

// Resolves in_place (also written as send == recv) to where the operand lies in recv, and refuses
// null or overlapping buffers. Both sizes in bytes.
inline void resolve(CommImpl& c, Call& call, Args& a, std::uint64_t send_bytes, std::uint64_t recv_bytes, std::uint64_t in_place_offset) {
  if (is_in_place(a.send) || (a.send == a.recv && in_place_offset == 0)) {
    call.in_place = 1;
    a.send = static_cast<const std::byte*>(a.recv) + in_place_offset;
    send_bytes = 0;
  } else if (send_bytes != 0 && a.send == nullptr) [[unlikely]] {
    c.refuse(call.coll, "send is a null pointer");
  }
  if (recv_bytes != 0 && a.recv == nullptr) [[unlikely]] c.refuse(call.coll, "recv is a null pointer");
  if (send_bytes != 0 && recv_bytes != 0 && overlaps(a.send, send_bytes, a.recv, recv_bytes)) [[unlikely]]
    c.refuse(call.coll, "send and recv overlap; pass in_place for send");
}

// A count that fits: not negative, and count * blocks * element does not wrap.
inline void require_count(CommImpl& c, Coll coll, Count count, std::uint64_t element, std::uint64_t blocks) {
  if (count < 0) [[unlikely]] c.refuse(coll, fmt::format("count is {}; it must be at least 0", count));
  if (static_cast<std::uint64_t>(count) > (std::uint64_t{1} << 62) / (element ? element : 1) / blocks) [[unlikely]]
    c.refuse(coll, fmt::format("count {} does not fit in memory", count));
}

Algorithm algorithm_of(CommImpl&, Coll, const CallOptions&);
void check_custom(CommImpl&, Coll, DType, const ReduceOp&);

}  // namespace libcoll::detail
