// From arguments to a checked Call with its Plan and Args, once for the blocking, started and persistent
// form of each collective: `go` says where plans come from and what becomes of the result.
#pragma once

#include <bit>

#include "libcoll/core/arguments.hpp"

namespace libcoll::detail {

// The blocking form.
struct RunNow {
  CommImpl& c;
  const CallOptions& options;
  const Plan& plan(const Call& call, std::span<const Count> counts = {}) const { return c.plan(call, counts); }
  void operator()(const Plan& plan, const Args& args) const {
    if (c.devices() != nullptr) [[unlikely]] return c.devices()->run(plan, args, options);
    plan.run(*plan.group, args, plan);
  }
};

inline std::uint32_t as_root(int root) { return static_cast<std::uint32_t>(root); }
inline const void* byte_at(const void* p, std::uint64_t offset) { return static_cast<const std::byte*>(p) + offset; }

// What the options make of a call. Calls are put together of numbers from the start: one that options were to change
// would be written to memory and read back (CallWords says why that is slow).
struct Wanted {
  Algorithm algorithm = Algorithm::automatic;
  std::uint8_t recipe = 0;
};
Wanted read_call_options(CommImpl&, Coll, const CallOptions&);
// A few comparisons where options are the defaults.
inline Wanted wanted(CommImpl& c, Coll coll, const CallOptions& o) {
  const std::uint64_t any = o.algorithm.size() | static_cast<std::uint64_t>(o.memory) | static_cast<std::uint64_t>(o.stream.given);
  return any == 0 && o.timeout_s >= 0 ? Wanted{} : read_call_options(c, coll, o);
}

inline Call reduction(CommImpl& c, Coll coll, Count count, DType type, const ReduceOp& op, const CallOptions& o) {
  if (op.op() == Op::custom) [[unlikely]] check_custom(c, coll, type, op);
  const Wanted w = wanted(c, coll, o);
  return {.coll = coll, .dtype = type, .op = op.op(), .algorithm = w.algorithm, .count = count, .element_bytes = element_bytes_of(type, op),
          .determinism = static_cast<std::uint8_t>(o.determinism), .recipe = w.recipe, .commutative = op.custom() != nullptr && op.custom()->commutative};
}

inline Call movement(CommImpl& c, Coll coll, Count count, DType type, int root, const CallOptions& o) {
  const Wanted w = wanted(c, coll, o);
  return {.coll = coll, .dtype = type, .algorithm = w.algorithm, .root = as_root(root), .count = count, .element_bytes = static_cast<std::uint32_t>(bytes_of(type)),
          .determinism = static_cast<std::uint8_t>(o.determinism), .recipe = w.recipe};
}

// Collectives in which every rank has both buffers, of so many blocks of the call's count each. In
// place the operand is the rank's own block of recv (`own_block`).
template <class Go>
auto symmetric(CommImpl& c, Call call, Args args, std::uint64_t send_blocks, std::uint64_t recv_blocks, std::uint64_t own_block, Go go) {
  const std::uint64_t own = own_block * static_cast<std::uint64_t>(call.count) * call.element_bytes;
  call.in_place = is_in_place(args.send) || args.send == byte_at(args.recv, own);
  const Plan& plan = go.plan(call);
  if (call.in_place != 0) args.send = byte_at(args.recv, own);
  check_buffers(c, plan, args, plan.bytes * send_blocks, plan.bytes * recv_blocks);
  return go(plan, args);
}

template <class Go>
auto prepare_barrier(CommImpl& c, const CallOptions& o, Go go) {
  return go(go.plan(movement(c, Coll::barrier, 0, DType::byte, 0, o)), Args{.timeout_s = o.timeout_s});
}

// Neither null nor overlapping other than exactly. What fails here is looked at again, slowly.
inline bool plainly_apart(const void* send, const void* recv, std::uint64_t bytes) {
  const auto a = reinterpret_cast<std::uint64_t>(send), b = reinterpret_cast<std::uint64_t>(recv);
  return a != 0 && b != 0 && (a == b || a - b + bytes - 1 >= 2 * bytes - 1);
}

// All of them with one branch; two that lie side by side with one load.
inline bool are_defaults(const CallOptions& o) {
  const auto kinds = static_cast<std::uint16_t>(static_cast<unsigned>(o.determinism) | static_cast<unsigned>(o.memory) << 8);
  return (o.algorithm.size() | std::bit_cast<std::uint64_t>(o.timeout_s) | kinds | static_cast<std::uint64_t>(o.stream.given)) == 0;
}

// The one collective whose every instruction counts: a plan that is found and no options are the fast path,
// `go`; everything else, errors included, takes the general way.
template <class Find, class Go, class General>
[[gnu::always_inline]] inline auto quick_allreduce(const void* send, void* recv, Count count, DType type, const ReduceOp& op, const CallOptions& o, const Find& find,
                                                   const Go& go, const General& general) {
  if (op.op() != Op::custom && are_defaults(o)) [[likely]] {
    const Call call{.coll = Coll::allreduce, .dtype = type, .op = op.op(), .count = count,
                    .element_bytes = static_cast<std::uint32_t>(bytes_of(type)), .in_place = is_in_place(send) || send == recv};
    const Args args{.send = call.in_place != 0 ? recv : send, .recv = recv};
    const Plan* plan = find(call);
    if (plan != nullptr && plainly_apart(args.send, recv, plan->bytes)) [[likely]] return go(*plan, args);
  }
  return general();
}

template <class Go>
auto prepare_allreduce(CommImpl& c, const void* send, void* recv, Count count, DType type, const ReduceOp& op, const CallOptions& o, Go go) {
  return symmetric(c, reduction(c, Coll::allreduce, count, type, op, o), {.send = send, .recv = recv, .custom = op.custom(), .timeout_s = o.timeout_s}, 1, 1, 0, go);
}

template <class Go>
auto prepare_reduce_scatter_block(CommImpl& c, const void* send, void* recv, Count count, DType type, const ReduceOp& op, const CallOptions& o, Go go) {
  return symmetric(c, reduction(c, Coll::reduce_scatter_block, count, type, op, o), {.send = send, .recv = recv, .custom = op.custom(), .timeout_s = o.timeout_s},
                   static_cast<std::uint64_t>(c.size()), 1, 0, go);
}

// scan and exscan
template <class Go>
auto prepare_scan(CommImpl& c, Coll coll, const void* send, void* recv, Count count, DType type, const ReduceOp& op, const CallOptions& o, Go go) {
  return symmetric(c, reduction(c, coll, count, type, op, o), {.send = send, .recv = recv, .custom = op.custom(), .timeout_s = o.timeout_s}, 1, 1, 0, go);
}

template <class Go>
auto prepare_allgather(CommImpl& c, const void* send, void* recv, Count count, DType type, const CallOptions& o, Go go) {
  return symmetric(c, movement(c, Coll::allgather, count, type, 0, o), {.send = send, .recv = recv, .timeout_s = o.timeout_s}, 1,
                   static_cast<std::uint64_t>(c.size()), static_cast<std::uint64_t>(c.rank()), go);
}

template <class Go>
auto prepare_alltoall(CommImpl& c, const void* send, void* recv, Count count, DType type, const CallOptions& o, Go go) {
  const auto ranks = static_cast<std::uint64_t>(c.size());
  return symmetric(c, movement(c, Coll::alltoall, count, type, 0, o), {.send = send, .recv = recv, .timeout_s = o.timeout_s}, ranks, ranks, 0, go);
}

template <class Go>
auto prepare_bcast(CommImpl& c, void* buffer, Count count, DType type, int root, const CallOptions& o, Go go) {
  const Plan& plan = go.plan(movement(c, Coll::bcast, count, type, root, o));
  if (plan.bytes != 0 && buffer == nullptr) c.refuse(Coll::bcast, "buffer is a null pointer");
  return go(plan, Args{.recv = buffer, .timeout_s = o.timeout_s});
}

template <class Go>
auto prepare_reduce(CommImpl& c, const void* send, void* recv, Count count, DType type, const ReduceOp& op, int root, const CallOptions& o, Go go) {
  Call call = reduction(c, Coll::reduce, count, type, op, o);
  call.root = as_root(root);
  const bool am_root = root == c.rank();
  call.in_place = am_root && (is_in_place(send) || send == recv);
  const Plan& plan = go.plan(call);
  if (!am_root && is_in_place(send)) c.refuse(call.coll, "send is in_place, which only the root may pass");
  const Args args{.send = call.in_place != 0 ? recv : send, .recv = am_root ? recv : nullptr, .custom = op.custom(), .timeout_s = o.timeout_s};
  check_buffers(c, plan, args, plan.bytes, am_root ? plan.bytes : 0);
  return go(plan, args);
}

template <class Go>
auto prepare_gather(CommImpl& c, const void* send, void* recv, Count count, DType type, int root, const CallOptions& o, Go go) {
  Call call = movement(c, Coll::gather, count, type, root, o);
  const bool am_root = root == c.rank();
  const std::uint64_t own = static_cast<std::uint64_t>(c.rank()) * static_cast<std::uint64_t>(count) * call.element_bytes;
  call.in_place = am_root && (is_in_place(send) || send == byte_at(recv, own));
  const Plan& plan = go.plan(call);
  if (!am_root && is_in_place(send)) c.refuse(call.coll, "send is in_place, which only the root may pass");
  const Args args{.send = call.in_place != 0 ? byte_at(recv, own) : send, .recv = recv, .timeout_s = o.timeout_s};
  check_buffers(c, plan, args, plan.bytes, am_root ? plan.bytes * static_cast<std::uint64_t>(c.size()) : 0);
  return go(plan, args);
}

template <class Go>
auto prepare_scatter(CommImpl& c, const void* send, void* recv, Count count, DType type, int root, const CallOptions& o, Go go) {
  Call call = movement(c, Coll::scatter, count, type, root, o);
  const bool am_root = root == c.rank();
  const void* own = byte_at(send, static_cast<std::uint64_t>(c.rank()) * static_cast<std::uint64_t>(count) * call.element_bytes);
  call.in_place = am_root && (is_in_place(recv) || recv == own);
  const Plan& plan = go.plan(call);
  if (!am_root && is_in_place(recv)) c.refuse(call.coll, "recv is in_place, which only the root may pass");
  // In place: the root's block stays where it is.
  const Args args{.send = send, .recv = call.in_place != 0 ? const_cast<void*>(own) : recv, .timeout_s = o.timeout_s};
  check_buffers(c, plan, args, am_root ? plan.bytes * static_cast<std::uint64_t>(c.size()) : 0, plan.bytes);
  return go(plan, args);
}

}  // namespace libcoll::detail
