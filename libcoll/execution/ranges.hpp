// Where the symbolic ranges of a schedule lie in one execution of it.
#pragma once

#include <cstddef>
#include <span>

#include "libcoll/core/call.hpp"
#include "libcoll/schedule/schedule.hpp"

namespace libcoll::exec {

inline std::byte* locate(const sched::Range& r, const detail::Args& args, std::byte* scratch, std::int64_t element_bytes) {
  const auto b = static_cast<std::size_t>(r.block);
  const auto in = [&](const void* base, std::int64_t displacement) {
    return const_cast<std::byte*>(static_cast<const std::byte*>(base)) + (displacement + r.offset) * element_bytes;
  };
  switch (r.space) {
    case sched::Space::send: return in(args.send, 0);
    case sched::Space::recv: return in(args.recv, 0);
    // Where there is one block only, it has no displacement.
    case sched::Space::send_block: return in(args.send, args.send_displs != nullptr ? args.send_displs[b] : 0);
    case sched::Space::recv_block: return in(args.recv, args.recv_displs != nullptr ? args.recv_displs[b] : 0);
    case sched::Space::scratch: break;
  }
  return in(scratch, 0);
}

// Parts of one length, without gaps: what operations on equal blocks take.
inline bool equal_and_packed(std::span<const sched::Part> parts) {
  for (std::size_t m = 0; m < parts.size(); ++m)
    if (parts[m].count != parts[0].count || parts[m].offset != static_cast<std::int64_t>(m) * parts[0].count) return false;
  return !parts.empty();
}

// Elements.
inline std::int64_t length(const sched::Range& r, const detail::Args& args) {
  if (r.count != sched::whole_block) return r.count;
  const Count* counts = r.space == sched::Space::send_block ? args.send_counts : args.recv_counts;
  return counts != nullptr ? counts[static_cast<std::size_t>(r.block)] : args.local_count;
}

}  // namespace libcoll::exec
