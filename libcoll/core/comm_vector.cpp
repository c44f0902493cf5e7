// Collectives with counts (and displacements) per rank.
#include <span>

#include "libcoll/core/arguments.hpp"

namespace libcoll {

using detail::algorithm_of;
using detail::Args;
using detail::Call;
using detail::Coll;
using detail::CommImpl;

namespace {

// Counts and displacements of every rank: as many as ranks, none negative. Returns the sum.
Count check_counts(CommImpl& c, Coll coll, const char* name, std::span<const Count> counts, std::uint64_t element) {
  if (counts.size() != static_cast<std::size_t>(c.size()))
    c.refuse(coll, fmt::format("{} has {} entries for {} ranks", name, counts.size(), c.size()));
  Count sum = 0;
  for (std::size_t r = 0; r < counts.size(); ++r) {
    if (counts[r] < 0) c.refuse(coll, fmt::format("{}[{}] is {}; it must be at least 0", name, r, counts[r]));
    detail::require_count(c, coll, counts[r], element, counts.size());
    sum += counts[r];
  }
  return sum;
}

// Takes part in the signature, so that ranks with other counts are told.
Count hash_of(std::span<const Count> counts) {
  std::uint64_t h = 0;
  for (const Count n : counts) h = (h ^ static_cast<std::uint64_t>(n)) * 0x9e3779b97f4a7c15u, h ^= h >> 29;
  return static_cast<Count>(h >> 2);
}

void check_displs(CommImpl& c, Coll coll, const char* name, std::span<const Count> displs) {
  if (displs.size() != static_cast<std::size_t>(c.size()))
    c.refuse(coll, fmt::format("{} has {} entries for {} ranks", name, displs.size(), c.size()));
  for (std::size_t r = 0; r < displs.size(); ++r)
    if (displs[r] < 0) c.refuse(coll, fmt::format("{}[{}] is {}; it must be at least 0", name, r, displs[r]));
}

// Received blocks must not overlap: checked for neighbours in displacement order would need a sort;
// the common mistake, a null buffer, is caught here.
void check_buffer(CommImpl& c, Coll coll, const char* name, const void* p, bool needed) {
  if (needed && p == nullptr) c.refuse(coll, fmt::format("{} is a null pointer", name));
}

Call make_call(CommImpl& c, Coll coll, DType type, int root, const CallOptions& o) {
  return {.coll = coll, .dtype = type, .algorithm = algorithm_of(c, coll, o), .root = static_cast<std::uint32_t>(root),
          .element_bytes = static_cast<std::uint32_t>(size_of(type))};
}

void run(CommImpl& c, const Call& call, const Args& args) {
  const detail::Plan& plan = c.plan(call);
  plan.run(*plan.group, args, plan);
}

std::uint64_t bytes_of(Count n, const Call& call) { return static_cast<std::uint64_t>(n) * call.element_bytes; }

const std::byte* at(const void* p, std::uint64_t offset) { return static_cast<const std::byte*>(p) + offset; }

}  // namespace

void Comm::reduce_scatter(const void* send, void* recv, std::span<const Count> counts, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  Call call = make_call(c, Coll::reduce_scatter, type, 0, o);
  call.op = op.op();
  call.element_bytes = detail::element_bytes_of(type, op);
  check_custom(c, call.coll, type, op);
  const Count total = check_counts(c, call.coll, "counts", counts, call.element_bytes);
  const Count mine = counts[static_cast<std::size_t>(c.rank())];
  call.count = hash_of(counts);
  Args args{.send = send, .recv = recv, .custom = op.custom(), .timeout_s = o.timeout_s, .recv_counts = counts.data(), .local_count = mine};
  call.in_place = is_in_place(send) || send == recv;
  if (call.in_place != 0) args.send = recv;
  const detail::Plan& plan = c.plan(call);
  detail::check_buffers(c, plan, args, bytes_of(total, call), bytes_of(mine, call));
  plan.run(*plan.group, args, plan);
}

void Comm::allgatherv(const void* send, Count send_count, void* recv, std::span<const Count> counts, std::span<const Count> displs, DType type,
                      const CallOptions& o) {
  CommImpl& c = impl();
  Call call = make_call(c, Coll::allgatherv, type, 0, o);
  const Count total = check_counts(c, call.coll, "counts", counts, call.element_bytes);
  call.count = hash_of(counts);
  check_displs(c, call.coll, "displs", displs);
  const auto me = static_cast<std::size_t>(c.rank());
  check_buffer(c, call.coll, "recv", recv, total != 0);
  if (is_in_place(send)) {
    send = at(recv, bytes_of(displs[me], call));
    send_count = counts[me];
  }
  detail::require_count(c, call.coll, send_count, call.element_bytes, 1);
  if (send_count != counts[me]) c.refuse(call.coll, fmt::format("send_count is {} but counts[{}] is {}", send_count, me, counts[me]));
  check_buffer(c, call.coll, "send", send, send_count != 0);
  run(c, call, {.send = send, .recv = recv, .timeout_s = o.timeout_s, .recv_counts = counts.data(), .recv_displs = displs.data(), .local_count = send_count});
}

void Comm::gatherv(const void* send, Count send_count, void* recv, std::span<const Count> counts, std::span<const Count> displs, DType type, int root,
                   const CallOptions& o) {
  CommImpl& c = impl();
  Call call = make_call(c, Coll::gatherv, type, root, o);
  Args args{.recv = recv, .timeout_s = o.timeout_s};
  if (root == c.rank()) {
    const Count total = check_counts(c, call.coll, "counts", counts, call.element_bytes);
    check_displs(c, call.coll, "displs", displs);
    check_buffer(c, call.coll, "recv", recv, total != 0);
    const auto me = static_cast<std::size_t>(root);
    if (is_in_place(send)) {
      send = at(recv, bytes_of(displs[me], call));
      send_count = counts[me];
    }
    if (send_count != counts[me]) c.refuse(call.coll, fmt::format("send_count is {} but counts[{}] is {}", send_count, me, counts[me]));
    args.recv_counts = counts.data();
    args.recv_displs = displs.data();
  } else if (is_in_place(send)) {
    c.refuse(call.coll, "send is in_place, which only the root may pass");
  }
  detail::require_count(c, call.coll, send_count, call.element_bytes, 1);
  check_buffer(c, call.coll, "send", send, send_count != 0);
  args.send = send;
  args.local_count = send_count;
  run(c, call, args);
}

void Comm::scatterv(const void* send, std::span<const Count> counts, std::span<const Count> displs, void* recv, Count recv_count, DType type, int root,
                    const CallOptions& o) {
  CommImpl& c = impl();
  Call call = make_call(c, Coll::scatterv, type, root, o);
  Args args{.send = send, .timeout_s = o.timeout_s};
  if (root == c.rank()) {
    const Count total = check_counts(c, call.coll, "counts", counts, call.element_bytes);
    check_displs(c, call.coll, "displs", displs);
    check_buffer(c, call.coll, "send", send, total != 0);
    const auto me = static_cast<std::size_t>(root);
    if (is_in_place(recv)) {
      recv = const_cast<std::byte*>(at(send, bytes_of(displs[me], call)));
      recv_count = counts[me];
    }
    if (recv_count != counts[me]) c.refuse(call.coll, fmt::format("recv_count is {} but counts[{}] is {}", recv_count, me, counts[me]));
    args.send_counts = counts.data();
    args.send_displs = displs.data();
  } else if (is_in_place(recv)) {
    c.refuse(call.coll, "recv is in_place, which only the root may pass");
  }
  detail::require_count(c, call.coll, recv_count, call.element_bytes, 1);
  check_buffer(c, call.coll, "recv", recv, recv_count != 0);
  args.recv = recv;
  args.local_count = recv_count;
  run(c, call, args);
}

void Comm::alltoallv(const void* send, std::span<const Count> send_counts, std::span<const Count> send_displs, void* recv,
                     std::span<const Count> recv_counts, std::span<const Count> recv_displs, DType type, const CallOptions& o) {
  CommImpl& c = impl();
  Call call = make_call(c, Coll::alltoallv, type, 0, o);
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
  run(c, call, {.send = send, .recv = recv, .timeout_s = o.timeout_s, .send_counts = send_counts.data(), .send_displs = send_displs.data(),
                .recv_counts = recv_counts.data(), .recv_displs = recv_displs.data(), .local_count = recv_counts[me]});
}

}  // namespace libcoll
