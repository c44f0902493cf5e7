// Collectives that move equal blocks. Always as bytes: types may differ from rank to rank, signatures agree.
#pragma once

#include "entry.hpp"
#include "image.hpp"
#include "quick.hpp"

namespace libcoll::pmpi {

// Each first as it nearly always is (quick.hpp), else slowly.

inline bool refused_alias(const void* send, const void* recv, std::int64_t bytes) noexcept { return send == recv && bytes != 0 && refuses_aliases(); }

template <class N, class Below>
int bcast_slowly(void* buffer, N count, MPI_Datatype type, int root, MPI_Comm comm, const Below& below) noexcept {
  Entry e(Coll::bcast, comm);
  if (!e) return e.down(below);
  const TypeInfo* t = type_info(type);
  if (t == nullptr || count < 0 || !e.has(root)) return e.down(below, Reason::bad_arguments);
  Image data(buffer, count, type, *t);
  if (data.is_bad()) return e.down(below, Reason::bad_arguments);
  return e.run(data.bytes(), data, [&](Comm& c) {
    if (e.rank() == root) data.load();
    c.bcast(data.data(), data.bytes(), DType::byte, root);
    if (e.rank() != root) data.store();
  }, below);
}

template <class N, class Below>
[[gnu::always_inline]] inline int bcast(void* buffer, N count, MPI_Datatype type, int root, MPI_Comm comm, const Below& below) noexcept {
  if (const Quick q(comm); q.has(root))
    if (const std::int64_t bytes = plain_bytes(buffer, count, type); bytes > 0) [[likely]]
      return q.run([&](Comm& c) { c.bcast(buffer, bytes, DType::byte, root); });
  return bcast_slowly(buffer, count, type, root, comm, below);
}

template <class N, class Below>
int allgather_slowly(const void* send, N send_count, MPI_Datatype send_type, void* recv, N recv_count, MPI_Datatype recv_type, MPI_Comm comm, const Below& below) noexcept {
  Entry e(Coll::allgather, comm);
  if (!e) return e.down(below);
  const bool in_place = is_in_place_here(send);
  const TypeInfo *rt = type_info(recv_type), *st = in_place ? rt : type_info(send_type);
  if (rt == nullptr || st == nullptr || recv_count < 0 || (!in_place && send_count < 0)) return e.down(below, Reason::bad_arguments);
  Image in(recv, static_cast<std::int64_t>(recv_count) * e.size(), recv_type, *rt), out(send, in_place ? 0 : send_count, send_type, *st);
  const std::int64_t block = recv_count * rt->bytes;
  if (in.is_bad() || out.is_bad() || is_in_place_here(recv) || (!in_place && out.bytes() != block) || refused_alias(send, recv, block))
    return e.down(below, Reason::bad_arguments);
  return e.run(block * e.size(), in, [&](Comm& c) {
    if (in_place) in.load(static_cast<std::int64_t>(e.rank()) * recv_count, recv_count);
    else out.load();
    if (out.overlaps(in)) out.detach();
    c.allgather(in_place ? static_cast<const void*>(libcoll::in_place) : out.data(), in.data(), block, DType::byte);
    in.store();
  }, below);
}

template <class N, class Below>
[[gnu::always_inline]] inline int allgather(const void* send, N send_count, MPI_Datatype send_type, void* recv, N recv_count, MPI_Datatype recv_type, MPI_Comm comm, const Below& below) noexcept {
  if (const Quick q(comm); q) {
    const std::int64_t bytes = plain_bytes(send, send_count, send_type), block = plain_bytes(recv, recv_count, recv_type);
    if (bytes == block && bytes > 0 && apart(send, bytes, recv, bytes * q.size())) [[likely]]
      return q.run([&](Comm& c) { c.allgather(send, recv, bytes, DType::byte); });
  }
  return allgather_slowly(send, send_count, send_type, recv, recv_count, recv_type, comm, below);
}

template <class N, class Below>
int gather_slowly(const void* send, N send_count, MPI_Datatype send_type, void* recv, N recv_count, MPI_Datatype recv_type, int root, MPI_Comm comm, const Below& below) noexcept {
  Entry e(Coll::gather, comm);
  if (!e) return e.down(below);
  if (!e.has(root)) return e.down(below, Reason::bad_arguments);
  const bool am_root = e.rank() == root, in_place = is_in_place_here(send);
  if (!am_root) {
    const TypeInfo* st = type_info(send_type);
    if (st == nullptr || send_count < 0 || in_place) return e.down(below, Reason::bad_arguments);
    Image out(send, send_count, send_type, *st);
    if (out.is_bad()) return e.down(below, Reason::bad_arguments);
    return e.run(out.bytes(), Nothing{}, [&](Comm& c) {
      out.load();
      c.gather(out.data(), nullptr, out.bytes(), DType::byte, root);
    }, below);
  }
  const TypeInfo *rt = type_info(recv_type), *st = in_place ? rt : type_info(send_type);
  if (rt == nullptr || st == nullptr || recv_count < 0 || (!in_place && send_count < 0)) return e.down(below, Reason::bad_arguments);
  Image in(recv, static_cast<std::int64_t>(recv_count) * e.size(), recv_type, *rt), out(send, in_place ? 0 : send_count, send_type, *st);
  const std::int64_t block = recv_count * rt->bytes;
  if (in.is_bad() || out.is_bad() || is_in_place_here(recv) || (!in_place && out.bytes() != block) || refused_alias(send, recv, block))
    return e.down(below, Reason::bad_arguments);
  return e.run(block, in, [&](Comm& c) {
    if (in_place) in.load(static_cast<std::int64_t>(root) * recv_count, recv_count);
    else out.load();
    if (out.overlaps(in)) out.detach();
    c.gather(in_place ? static_cast<const void*>(libcoll::in_place) : out.data(), in.data(), block, DType::byte, root);
    in.store();
  }, below);
}

template <class N, class Below>
[[gnu::always_inline]] inline int gather(const void* send, N send_count, MPI_Datatype send_type, void* recv, N recv_count, MPI_Datatype recv_type, int root, MPI_Comm comm, const Below& below) noexcept {
  if (const Quick q(comm); q.has(root)) {
    const std::int64_t bytes = plain_bytes(send, send_count, send_type);
    if (bytes > 0 && (root != q.rank() || (plain_bytes(recv, recv_count, recv_type) == bytes && apart(send, bytes, recv, bytes * q.size())))) [[likely]]
      return q.run([&](Comm& c) { c.gather(send, root == q.rank() ? recv : nullptr, bytes, DType::byte, root); });
  }
  return gather_slowly(send, send_count, send_type, recv, recv_count, recv_type, root, comm, below);
}

template <class N, class Below>
int scatter_slowly(const void* send, N send_count, MPI_Datatype send_type, void* recv, N recv_count, MPI_Datatype recv_type, int root, MPI_Comm comm, const Below& below) noexcept {
  Entry e(Coll::scatter, comm);
  if (!e) return e.down(below);
  if (!e.has(root)) return e.down(below, Reason::bad_arguments);
  const bool am_root = e.rank() == root, in_place = is_in_place_here(recv);
  if (!am_root) {
    const TypeInfo* rt = type_info(recv_type);
    if (rt == nullptr || recv_count < 0 || in_place) return e.down(below, Reason::bad_arguments);
    Image in(recv, recv_count, recv_type, *rt);
    if (in.is_bad()) return e.down(below, Reason::bad_arguments);
    return e.run(in.bytes(), in, [&](Comm& c) {
      c.scatter(nullptr, in.data(), in.bytes(), DType::byte, root);
      in.store();
    }, below);
  }
  const TypeInfo *st = type_info(send_type), *rt = in_place ? st : type_info(recv_type);
  if (st == nullptr || rt == nullptr || send_count < 0 || (!in_place && recv_count < 0)) return e.down(below, Reason::bad_arguments);
  Image out(send, static_cast<std::int64_t>(send_count) * e.size(), send_type, *st), in(recv, in_place ? 0 : recv_count, recv_type, *rt);
  const std::int64_t block = send_count * st->bytes;
  if (out.is_bad() || in.is_bad() || is_in_place_here(send) || (!in_place && in.bytes() != block) || refused_alias(send, recv, block))
    return e.down(below, Reason::bad_arguments);
  return e.run(block, in, [&](Comm& c) {
    out.load();
    if (!in_place && in.overlaps(out)) out.detach();
    c.scatter(out.data(), in_place ? const_cast<void*>(static_cast<const void*>(libcoll::in_place)) : in.data(), block, DType::byte, root);
    if (!in_place) in.store();
  }, below);
}

template <class N, class Below>
[[gnu::always_inline]] inline int scatter(const void* send, N send_count, MPI_Datatype send_type, void* recv, N recv_count, MPI_Datatype recv_type, int root, MPI_Comm comm, const Below& below) noexcept {
  if (const Quick q(comm); q.has(root)) {
    const std::int64_t bytes = plain_bytes(recv, recv_count, recv_type);
    if (bytes > 0 && (root != q.rank() || (plain_bytes(send, send_count, send_type) == bytes && apart(recv, bytes, send, bytes * q.size())))) [[likely]]
      return q.run([&](Comm& c) { c.scatter(root == q.rank() ? send : nullptr, recv, bytes, DType::byte, root); });
  }
  return scatter_slowly(send, send_count, send_type, recv, recv_count, recv_type, root, comm, below);
}

template <class N, class Below>
int alltoall_slowly(const void* send, N send_count, MPI_Datatype send_type, void* recv, N recv_count, MPI_Datatype recv_type, MPI_Comm comm, const Below& below) noexcept {
  Entry e(Coll::alltoall, comm);
  if (!e) return e.down(below);
  const bool in_place = is_in_place_here(send);
  const TypeInfo *rt = type_info(recv_type), *st = in_place ? rt : type_info(send_type);
  if (rt == nullptr || st == nullptr || recv_count < 0 || (!in_place && send_count < 0)) return e.down(below, Reason::bad_arguments);
  Image in(recv, static_cast<std::int64_t>(recv_count) * e.size(), recv_type, *rt);
  Image out(send, in_place ? 0 : static_cast<std::int64_t>(send_count) * e.size(), send_type, *st);
  const std::int64_t block = recv_count * rt->bytes;
  if (in.is_bad() || out.is_bad() || is_in_place_here(recv) || (!in_place && out.bytes() != in.bytes()) || refused_alias(send, recv, block))
    return e.down(below, Reason::bad_arguments);
  return e.run(in.bytes(), in, [&](Comm& c) {
    if (in_place) in.load();
    else out.load();
    if (out.overlaps(in)) out.detach();
    c.alltoall(in_place ? static_cast<const void*>(libcoll::in_place) : out.data(), in.data(), block, DType::byte);
    in.store();
  }, below);
}

template <class N, class Below>
[[gnu::always_inline]] inline int alltoall(const void* send, N send_count, MPI_Datatype send_type, void* recv, N recv_count, MPI_Datatype recv_type, MPI_Comm comm, const Below& below) noexcept {
  if (const Quick q(comm); q) {
    const std::int64_t bytes = plain_bytes(send, send_count, send_type), block = plain_bytes(recv, recv_count, recv_type);
    if (bytes == block && bytes > 0 && apart(send, bytes * q.size(), recv, bytes * q.size())) [[likely]]
      return q.run([&](Comm& c) { c.alltoall(send, recv, bytes, DType::byte); });
  }
  return alltoall_slowly(send, send_count, send_type, recv, recv_count, recv_type, comm, below);
}

}  // namespace libcoll::pmpi
