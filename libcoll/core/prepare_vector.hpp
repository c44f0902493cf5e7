// The same for collectives with counts (and displacements) per rank.
#pragma once

#include <span>

#include "libcoll/core/prepare.hpp"

namespace libcoll::detail {

// Counts and displacements of every rank: as many as ranks, none negative. Returns the sum.
inline Count check_counts(CommImpl& c, Coll coll, const char* name, std::span<const Count> counts, std::uint64_t element) {
  if (counts.size() != static_cast<std::size_t>(c.size()))
    c.refuse(coll, fmt::format("{} has {} entries for {} ranks", name, counts.size(), c.size()));
  Count sum = 0;
  for (std::size_t r = 0; r < counts.size(); ++r) {
    if (counts[r] < 0) c.refuse(coll, fmt::format("{}[{}] is {}; it must be at least 0", name, r, counts[r]));
    require_count(c, coll, counts[r], element, counts.size());
    sum += counts[r];
  }
  return sum;
}

// Takes part in the signature, so that ranks with other counts are told.
inline Count hash_of(std::span<const Count> counts) {
  std::uint64_t h = 0;
  for (const Count n : counts) h = (h ^ static_cast<std::uint64_t>(n)) * 0x9e3779b97f4a7c15u, h ^= h >> 29;
  return static_cast<Count>(h >> 2);
}

inline void check_displs(CommImpl& c, Coll coll, const char* name, std::span<const Count> displs) {
  if (displs.size() != static_cast<std::size_t>(c.size()))
    c.refuse(coll, fmt::format("{} has {} entries for {} ranks", name, displs.size(), c.size()));
  for (std::size_t r = 0; r < displs.size(); ++r)
    if (displs[r] < 0) c.refuse(coll, fmt::format("{}[{}] is {}; it must be at least 0", name, r, displs[r]));
}

// Received blocks must not overlap: checked for neighbours in displacement order would need a sort;
// the common mistake, a null buffer, is caught here.
inline void check_buffer(CommImpl& c, Coll coll, const char* name, const void* p, bool needed) {
  if (needed && p == nullptr) c.refuse(coll, fmt::format("{} is a null pointer", name));
}

inline std::uint64_t bytes_for(Count n, const Call& call) { return static_cast<std::uint64_t>(n) * call.element_bytes; }

template <class Go>
auto prepare_reduce_scatter(CommImpl& c, const void* send, void* recv, std::span<const Count> counts, DType type, const ReduceOp& op, const CallOptions& o, Go go) {
  Call call = reduction(c, Coll::reduce_scatter, 0, type, op, o);
  const Count total = check_counts(c, call.coll, "counts", counts, call.element_bytes);
  const Count mine = counts[static_cast<std::size_t>(c.rank())];
  call.count = hash_of(counts);
  Args args{.send = send, .recv = recv, .custom = op.custom(), .timeout_s = o.timeout_s, .recv_counts = counts.data(), .local_count = mine};
  call.in_place = is_in_place(send) || send == recv;
  if (call.in_place != 0) args.send = recv;
  const Plan& plan = go.plan(call, counts);
  check_buffers(c, plan, args, bytes_for(total, call), bytes_for(mine, call));
  return go(plan, args);
}

template <class Go>
auto prepare_allgatherv(CommImpl& c, const void* send, Count send_count, void* recv, std::span<const Count> counts, std::span<const Count> displs, DType type, const CallOptions& o, Go go) {
  Call call = movement(c, Coll::allgatherv, 0, type, 0, o);
  const Count total = check_counts(c, call.coll, "counts", counts, call.element_bytes);
  call.count = hash_of(counts);
  check_displs(c, call.coll, "displs", displs);
  const auto me = static_cast<std::size_t>(c.rank());
  check_buffer(c, call.coll, "recv", recv, total != 0);
  if (is_in_place(send)) {
    send = byte_at(recv, bytes_for(displs[me], call));
    send_count = counts[me];
  }
  require_count(c, call.coll, send_count, call.element_bytes, 1);
  if (send_count != counts[me]) c.refuse(call.coll, fmt::format("send_count is {} but counts[{}] is {}", send_count, me, counts[me]));
  check_buffer(c, call.coll, "send", send, send_count != 0);
  return go(go.plan(call, counts), Args{.send = send, .recv = recv, .timeout_s = o.timeout_s, .recv_counts = counts.data(), .recv_displs = displs.data(), .local_count = send_count});
}

template <class Go>
auto prepare_gatherv(CommImpl& c, const void* send, Count send_count, void* recv, std::span<const Count> counts, std::span<const Count> displs, DType type, int root, const CallOptions& o, Go go) {
  Call call = movement(c, Coll::gatherv, 0, type, root, o);
  Args args{.recv = recv, .timeout_s = o.timeout_s};
  if (root == c.rank()) {
    const Count total = check_counts(c, call.coll, "counts", counts, call.element_bytes);
    check_displs(c, call.coll, "displs", displs);
    check_buffer(c, call.coll, "recv", recv, total != 0);
    const auto me = static_cast<std::size_t>(root);
    if (is_in_place(send)) {
      send = byte_at(recv, bytes_for(displs[me], call));
      send_count = counts[me];
    }
    if (send_count != counts[me]) c.refuse(call.coll, fmt::format("send_count is {} but counts[{}] is {}", send_count, me, counts[me]));
    args.recv_counts = counts.data();
    args.recv_displs = displs.data();
  } else if (is_in_place(send)) {
    c.refuse(call.coll, "send is in_place, which only the root may pass");
  }
  require_count(c, call.coll, send_count, call.element_bytes, 1);
  check_buffer(c, call.coll, "send", send, send_count != 0);
  args.send = send;
  args.local_count = send_count;
  return go(go.plan(call), args);
}

template <class Go>
auto prepare_scatterv(CommImpl& c, const void* send, std::span<const Count> counts, std::span<const Count> displs, void* recv, Count recv_count, DType type, int root, const CallOptions& o, Go go) {
  Call call = movement(c, Coll::scatterv, 0, type, root, o);
  Args args{.send = send, .timeout_s = o.timeout_s};
  if (root == c.rank()) {
    const Count total = check_counts(c, call.coll, "counts", counts, call.element_bytes);
    check_displs(c, call.coll, "displs", displs);
    check_buffer(c, call.coll, "send", send, total != 0);
    const auto me = static_cast<std::size_t>(root);
    if (is_in_place(recv)) {
      recv = const_cast<void*>(byte_at(send, bytes_for(displs[me], call)));
      recv_count = counts[me];
    }
    if (recv_count != counts[me]) c.refuse(call.coll, fmt::format("recv_count is {} but counts[{}] is {}", recv_count, me, counts[me]));
    args.send_counts = counts.data();
    args.send_displs = displs.data();
  } else if (is_in_place(recv)) {
    c.refuse(call.coll, "recv is in_place, which only the root may pass");
  }
  require_count(c, call.coll, recv_count, call.element_bytes, 1);
  check_buffer(c, call.coll, "recv", recv, recv_count != 0);
  args.recv = recv;
  args.local_count = recv_count;
  return go(go.plan(call), args);
}

template <class Go>
auto prepare_alltoallv(CommImpl& c, const void* send, std::span<const Count> send_counts, std::span<const Count> send_displs, void* recv, std::span<const Count> recv_counts, std::span<const Count> recv_displs, DType type, const CallOptions& o, Go go) {
  Call call = movement(c, Coll::alltoallv, 0, type, 0, o);
  const Count in = check_counts(c, call.coll, "recv_counts", recv_counts, call.element_bytes);
  check_displs(c, call.coll, "recv_displs", recv_displs);
  check_buffer(c, call.coll, "recv", recv, in != 0);
  if (is_in_place(send)) {
    call.in_place = 1;
    send = recv;
    send_counts = recv_counts;
    send_displs = recv_displs;
  }
  const Count out = check_counts(c, call.coll, "send_counts", send_counts, call.element_bytes);
  check_displs(c, call.coll, "send_displs", send_displs);
  check_buffer(c, call.coll, "send", send, out != 0);
  const auto me = static_cast<std::size_t>(c.rank());
  if (send_counts[me] != recv_counts[me])
    c.refuse(call.coll, fmt::format("send_counts[{0}] is {1} but recv_counts[{0}] is {2}", me, send_counts[me], recv_counts[me]));
  return go(go.plan(call), Args{.send = send, .recv = recv, .timeout_s = o.timeout_s, .send_counts = send_counts.data(), .send_displs = send_displs.data(),
                .recv_counts = recv_counts.data(), .recv_displs = recv_displs.data(), .local_count = recv_counts[me]});
}

}  // namespace libcoll::detail
