// Checks of the pointers and counts of one call, shared by all collectives.
#pragma once

#include <fmt/format.h>

#include "libcoll/core/comm_impl.hpp"

namespace libcoll::detail {

inline std::uint32_t element_bytes_of(DType type, const ReduceOp& op) noexcept {
  if (op.custom() != nullptr && op.custom()->element_bytes != 0) return op.custom()->element_bytes;
  return static_cast<std::uint32_t>(bytes_of(type));
}

// Refuses null or overlapping buffers of so many bytes; in place there is only recv.
inline void check_buffers(CommImpl& c, const Plan& plan, const Args& a, std::uint64_t send_bytes, std::uint64_t recv_bytes) {
  const auto send = reinterpret_cast<std::uint64_t>(a.send), recv = reinterpret_cast<std::uint64_t>(a.recv);
  if (send_bytes != 0 && send == 0) [[unlikely]] c.refuse(plan.call.coll, "send is a null pointer");
  if (recv_bytes != 0 && recv == 0) [[unlikely]] c.refuse(plan.call.coll, "recv is a null pointer");
  if (plan.call.in_place == 0 && send < recv + recv_bytes && recv < send + send_bytes) [[unlikely]]
    c.refuse(plan.call.coll, "send and recv overlap; pass in_place for send");
}

// Whether count * blocks elements fit in an address space. Negative counts do not.
inline bool fits(Count count, std::uint64_t element, std::uint64_t blocks) noexcept {
  return count >= 0 && static_cast<std::uint64_t>(count) <= (std::uint64_t{1} << 62) / (element ? element : 1) / blocks;
}
// What is wrong, or nothing; so are all objections below.
inline std::string count_objection(Count count, std::uint64_t element, std::uint64_t blocks) {
  if (count < 0) return fmt::format("count is {}; it must be at least 0", count);
  if (!fits(count, element, blocks)) return fmt::format("count {} does not fit in memory", count);
  return {};
}
inline void require_count(CommImpl& c, Coll coll, Count count, std::uint64_t element, std::uint64_t blocks) {
  if (!fits(count, element, blocks)) [[unlikely]] c.refuse(coll, count_objection(count, element, blocks));
}

std::string custom_objection(DType, const ReduceOp&);
inline void check_custom(CommImpl& c, Coll coll, DType type, const ReduceOp& op) {
  if (const std::string what = custom_objection(type, op); !what.empty()) c.refuse(coll, what);
}
// Which algorithm the options name: one of shared memory, or a recipe whose text parses.
struct NamedAlgorithm {
  Algorithm native = Algorithm::automatic;
  std::string recipe = {};
};
Result<NamedAlgorithm> read_options(const CallOptions&);

}  // namespace libcoll::detail
