// Reducing collectives. N: int, or MPI_Count in the _c forms; below(): the same call to the MPI below.
#pragma once

#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "entry.hpp"
#include "home.hpp"
#include "quick.hpp"

namespace libcoll::pmpi {

// A datatype and an operation in libcoll's terms. MPI has them equal on all ranks.
class Reduction {
 public:
  // handled, or why not.
  Reason resolve(MPI_Datatype type, MPI_Op op) noexcept;
  // By libcoll's kernels, not by MPI_Reduce_local.
  bool is_ours() const noexcept { return custom_.function == nullptr; }
  DType dtype() const noexcept { return dtype_; }
  ReduceOp op() const noexcept { return is_ours() ? ReduceOp(op_) : ReduceOp(custom_); }
  std::int64_t bytes(std::int64_t count) const noexcept { return count * element_; }

 private:
  struct Local { MPI_Datatype type; MPI_Op op; };
  static void reduce_local(const void* in, void* inout, std::size_t count, DType, void* context);
  DType dtype_ = DType::byte;
  Op op_ = Op::sum;
  std::int64_t element_ = 0;  // bytes in memory
  Local local_{};
  CustomOp custom_;
};

// The buffers of one rank: in place, apart, or the operand copied out of the way where a program lets them overlap.
class Operands {
 public:
  Operands(const void* send, void* recv, std::int64_t send_bytes, std::int64_t recv_bytes);
  bool are_bad() const noexcept { return bad_; }
  const void* send() const noexcept { return send_; }
  void* recv() const noexcept { return recv_; }

 private:
  bool bad_ = false;
  const void* send_;
  void* recv_;
  std::unique_ptr<std::byte[]> copy_;
};

// What a reducing call writes on this rank: `written` elements from recv. The operand is of `count` elements of which the
// first written one is number `first`; in place it lies at recv, too.
struct Reduced {
  const Reduction& reduction;
  MPI_Datatype type;
  const void* send;
  void* recv;
  std::int64_t count, first, written;
  void describe(Outcome&, MPI_Comm) const;
};

template <class Below>
int barrier(MPI_Comm comm, const Below& below) noexcept {
  Entry e(Coll::barrier, comm);
  if (!e) return e.down(below);
  const auto body = [&](Comm& c) {
    c.barrier();
    if (one_sided.load(std::memory_order_relaxed)) [[unlikely]] catch_up(e.size());
  };
  return e.run(0, Nothing{}, body, below);
}

template <class N, class Below>
int allreduce_slowly(const void* send, void* recv, N count, MPI_Datatype type, MPI_Op op, MPI_Comm comm, const Below& below) noexcept {
  Entry e(Coll::allreduce, comm);
  if (!e) return e.down(below);
  Reduction r;
  if (const Reason why = r.resolve(type, op); why != Reason::handled) return e.down(below, why);
  if (count < 0) return e.down(below, Reason::bad_arguments);
  const std::int64_t bytes = r.bytes(count);
  const Operands o(send, recv, bytes, bytes);
  if (o.are_bad()) return e.down(below, Reason::bad_arguments);
  return e.run(bytes, Reduced{r, type, send, recv, count, 0, count}, [&](Comm& c) { c.allreduce(o.send(), o.recv(), count, r.dtype(), r.op()); }, below);
}

template <class N, class Below>
[[gnu::always_inline]] inline int allreduce(const void* send, void* recv, N count, MPI_Datatype type, MPI_Op op, MPI_Comm comm, const Below& below) noexcept {
  if (const Quick q(comm); q) [[likely]] {
    const PlainReduction r(type, op);
    const bool in_place = is_in_place_here(send);
    if (r && count > 0 && recv != nullptr && !is_in_place_here(recv)) [[likely]]
      if (in_place || (send != nullptr && apart(send, r.bytes(count), recv, r.bytes(count)))) [[likely]]
        return q.run([&](Comm& c) { c.allreduce(in_place ? static_cast<const void*>(libcoll::in_place) : send, recv, count, r.type->dtype, r.op->op); });
  }
  return allreduce_slowly(send, recv, count, type, op, comm, below);
}

template <class N, class Below>
int reduce_slowly(const void* send, void* recv, N count, MPI_Datatype type, MPI_Op op, int root, MPI_Comm comm, const Below& below) noexcept {
  Entry e(Coll::reduce, comm);
  if (!e) return e.down(below);
  Reduction r;
  if (const Reason why = r.resolve(type, op); why != Reason::handled) return e.down(below, why);
  if (count < 0 || !e.has(root)) return e.down(below, Reason::bad_arguments);
  const bool am_root = e.rank() == root;
  if (!am_root && is_in_place_here(send)) return e.down(below, Reason::bad_arguments);
  const std::int64_t bytes = r.bytes(count);
  const Operands o(send, am_root ? recv : nullptr, bytes, am_root ? bytes : 0);
  if (o.are_bad()) return e.down(below, Reason::bad_arguments);
  return e.run(bytes, Reduced{r, type, send, recv, count, 0, am_root ? count : 0}, [&](Comm& c) { c.reduce(o.send(), o.recv(), count, r.dtype(), r.op(), root); }, below);
}

template <class N, class Below>
[[gnu::always_inline]] inline int reduce(const void* send, void* recv, N count, MPI_Datatype type, MPI_Op op, int root, MPI_Comm comm, const Below& below) noexcept {
  if (const Quick q(comm); q.has(root)) [[likely]] {
    const PlainReduction r(type, op);
    if (r && count > 0 && send != nullptr && !is_in_place_here(send)) [[likely]]
      if (root != q.rank() || (recv != nullptr && !is_in_place_here(recv) && apart(send, r.bytes(count), recv, r.bytes(count)))) [[likely]]
        return q.run([&](Comm& c) { c.reduce(send, root == q.rank() ? recv : nullptr, count, r.type->dtype, r.op->op, root); });
  }
  return reduce_slowly(send, recv, count, type, op, root, comm, below);
}

template <class N, class Below>
int reduce_scatter_block_slowly(const void* send, void* recv, N count, MPI_Datatype type, MPI_Op op, MPI_Comm comm, const Below& below) noexcept {
  Entry e(Coll::reduce_scatter_block, comm);
  if (!e) return e.down(below);
  Reduction r;
  if (const Reason why = r.resolve(type, op); why != Reason::handled) return e.down(below, why);
  if (count < 0) return e.down(below, Reason::bad_arguments);
  const std::int64_t bytes = r.bytes(count);
  const Operands o(send, recv, bytes * e.size(), bytes);
  if (o.are_bad()) return e.down(below, Reason::bad_arguments);
  return e.run(bytes * e.size(), Reduced{r, type, send, recv, std::int64_t{count} * e.size(), std::int64_t{count} * e.rank(), count}, [&](Comm& c) { c.reduce_scatter_block(o.send(), o.recv(), count, r.dtype(), r.op()); }, below);
}

template <class N, class Below>
[[gnu::always_inline]] inline int reduce_scatter_block(const void* send, void* recv, N count, MPI_Datatype type, MPI_Op op, MPI_Comm comm, const Below& below) noexcept {
  if (const Quick q(comm); q) [[likely]] {
    const PlainReduction r(type, op);
    if (r && count > 0 && send != nullptr && recv != nullptr && !is_in_place_here(send) && !is_in_place_here(recv)) [[likely]]
      if (apart(send, r.bytes(count) * q.size(), recv, r.bytes(count))) [[likely]]
        return q.run([&](Comm& c) { c.reduce_scatter_block(send, recv, count, r.type->dtype, r.op->op); });
  }
  return reduce_scatter_block_slowly(send, recv, count, type, op, comm, below);
}

template <class N, class Below>
int reduce_scatter(const void* send, void* recv, const N* counts, MPI_Datatype type, MPI_Op op, MPI_Comm comm, const Below& below) noexcept {
  Entry e(Coll::reduce_scatter, comm);
  if (!e) return e.down(below);
  Reduction r;
  if (const Reason why = r.resolve(type, op); why != Reason::handled) return e.down(below, why);
  if (counts == nullptr) return e.down(below, Reason::bad_arguments);
  const std::vector<Count> list(counts, counts + e.size());
  std::int64_t total = 0;
  for (const Count n : list) {
    if (n < 0) return e.down(below, Reason::bad_arguments);
    total += n;
  }
  const Operands o(send, recv, r.bytes(total), is_in_place_here(send) ? r.bytes(total) : r.bytes(list[static_cast<std::size_t>(e.rank())]));
  if (o.are_bad()) return e.down(below, Reason::bad_arguments);
  const auto mine = list.begin() + e.rank();
  return e.run(r.bytes(total), Reduced{r, type, send, recv, total, std::accumulate(list.begin(), mine, Count{0}), *mine}, [&](Comm& c) { c.reduce_scatter(o.send(), o.recv(), list, r.dtype(), r.op()); }, below);
}

// MPI_Scan and MPI_Exscan.
template <class N, class Below>
int scan(Coll which, const void* send, void* recv, N count, MPI_Datatype type, MPI_Op op, MPI_Comm comm, const Below& below) noexcept {
  Entry e(which, comm);
  if (!e) return e.down(below);
  Reduction r;
  if (const Reason why = r.resolve(type, op); why != Reason::handled) return e.down(below, why);
  if (count < 0) return e.down(below, Reason::bad_arguments);
  const std::int64_t bytes = r.bytes(count);
  const Operands o(send, recv, bytes, bytes);
  if (o.are_bad()) return e.down(below, Reason::bad_arguments);
  const bool writes = which == Coll::scan || e.rank() != 0;
  return e.run(bytes, Reduced{r, type, send, recv, count, 0, writes ? count : 0}, [&](Comm& c) {
    if (which == Coll::scan) c.scan(o.send(), o.recv(), count, r.dtype(), r.op());
    else c.exscan(o.send(), o.recv(), count, r.dtype(), r.op());
  }, below);
}

// MPI_Reduce_local by libcoll's kernel: handled, or why not. Local, so that nobody has to decide alike.
Reason reduce_here(const void* in, void* inout, std::int64_t count, MPI_Datatype type, MPI_Op op) noexcept;

template <class N, class Below>
int reduce_local(const void* in, void* inout, N n, MPI_Datatype type, MPI_Op op, const Below& below) noexcept {
  const bool watched = mode() == Mode::report;
  const std::uint64_t begun_ns = watched ? clock_ns() : 0;
  const Reason why = reduce_here(in, inout, n, type, op);
  const int code = why == Reason::handled ? MPI_SUCCESS : below();
  if (watched) [[unlikely]] count(Coll::reduce_local, why, why == Reason::handled ? static_cast<std::uint64_t>(n * type_info(type)->bytes) : 0, clock_ns() - begun_ns);
  return code;
}

}  // namespace libcoll::pmpi
