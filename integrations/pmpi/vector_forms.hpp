// Collectives with counts and places per rank. N: counts, D: displacements (int, or MPI_Count and MPI_Aint).
#pragma once

#include "entry.hpp"
#include "image.hpp"

namespace libcoll::pmpi {

template <class N, class D, class Below>
int allgatherv(const void* send, N send_count, MPI_Datatype send_type, void* recv, const N* counts, const D* displs, MPI_Datatype recv_type, MPI_Comm comm, const Below& below) noexcept {
  Entry e(Coll::allgatherv, comm);
  if (!e) return e.down(below);
  const bool in_place = is_in_place_here(send);
  const TypeInfo *rt = type_info(recv_type), *st = in_place ? rt : type_info(send_type);
  if (rt == nullptr || st == nullptr || counts == nullptr || displs == nullptr || is_in_place_here(recv) || (!in_place && send_count < 0)) return e.down(below, Reason::bad_arguments);
  BlockImage in(Blocks<N, D>{recv, counts, displs, recv_type}, e.size(), *rt);
  Image out(send, in_place ? 0 : send_count, send_type, *st);
  const Count mine = in.counts()[static_cast<std::size_t>(e.rank())];
  if (in.is_bad() || out.is_bad() || (!in_place && out.bytes() != mine)) return e.down(below, Reason::bad_arguments);
  return e.run(in.bytes(), in, [&](Comm& c) {
    if (in_place) in.load(e.rank());
    else out.load();
    c.allgatherv(in_place ? static_cast<const void*>(libcoll::in_place) : out.data(), mine, in.data(), in.counts(), in.displs(), DType::byte);
    in.store();
  }, below);
}

template <class N, class D, class Below>
int gatherv(const void* send, N send_count, MPI_Datatype send_type, void* recv, const N* counts, const D* displs, MPI_Datatype recv_type, int root, MPI_Comm comm, const Below& below) noexcept {
  Entry e(Coll::gatherv, comm);
  if (!e) return e.down(below);
  if (!e.has(root)) return e.down(below, Reason::bad_arguments);
  const bool in_place = is_in_place_here(send);
  if (e.rank() != root) {
    const TypeInfo* st = type_info(send_type);
    if (st == nullptr || send_count < 0 || in_place) return e.down(below, Reason::bad_arguments);
    Image out(send, send_count, send_type, *st);
    if (out.is_bad()) return e.down(below, Reason::bad_arguments);
    return e.run(out.bytes(), Nothing{}, [&](Comm& c) {
      out.load();
      c.gatherv(out.data(), out.bytes(), nullptr, {}, {}, DType::byte, root);
    }, below);
  }
  const TypeInfo *rt = type_info(recv_type), *st = in_place ? rt : type_info(send_type);
  if (rt == nullptr || st == nullptr || counts == nullptr || displs == nullptr || is_in_place_here(recv) || (!in_place && send_count < 0)) return e.down(below, Reason::bad_arguments);
  BlockImage in(Blocks<N, D>{recv, counts, displs, recv_type}, e.size(), *rt);
  Image out(send, in_place ? 0 : send_count, send_type, *st);
  const Count mine = in.counts()[static_cast<std::size_t>(root)];
  if (in.is_bad() || out.is_bad() || (!in_place && out.bytes() != mine)) return e.down(below, Reason::bad_arguments);
  return e.run(mine, in, [&](Comm& c) {
    if (in_place) in.load(root);
    else out.load();
    c.gatherv(in_place ? static_cast<const void*>(libcoll::in_place) : out.data(), mine, in.data(), in.counts(), in.displs(), DType::byte, root);
    in.store();
  }, below);
}

template <class N, class D, class Below>
int scatterv(const void* send, const N* counts, const D* displs, MPI_Datatype send_type, void* recv, N recv_count, MPI_Datatype recv_type, int root, MPI_Comm comm, const Below& below) noexcept {
  Entry e(Coll::scatterv, comm);
  if (!e) return e.down(below);
  if (!e.has(root)) return e.down(below, Reason::bad_arguments);
  const bool in_place = is_in_place_here(recv);
  if (e.rank() != root) {
    const TypeInfo* rt = type_info(recv_type);
    if (rt == nullptr || recv_count < 0 || in_place) return e.down(below, Reason::bad_arguments);
    Image in(recv, recv_count, recv_type, *rt);
    if (in.is_bad()) return e.down(below, Reason::bad_arguments);
    return e.run(in.bytes(), in, [&](Comm& c) {
      c.scatterv(nullptr, {}, {}, in.data(), in.bytes(), DType::byte, root);
      in.store();
    }, below);
  }
  const TypeInfo *st = type_info(send_type), *rt = in_place ? st : type_info(recv_type);
  if (st == nullptr || rt == nullptr || counts == nullptr || displs == nullptr || is_in_place_here(send) || (!in_place && recv_count < 0)) return e.down(below, Reason::bad_arguments);
  BlockImage out(Blocks<N, D>{send, counts, displs, send_type}, e.size(), *st);
  Image in(recv, in_place ? 0 : recv_count, recv_type, *rt);
  const Count mine = out.counts()[static_cast<std::size_t>(root)];
  if (out.is_bad() || in.is_bad() || (!in_place && in.bytes() != mine)) return e.down(below, Reason::bad_arguments);
  return e.run(mine, in, [&](Comm& c) {
    out.load();
    c.scatterv(out.data(), out.counts(), out.displs(), in_place ? const_cast<void*>(static_cast<const void*>(libcoll::in_place)) : in.data(), mine, DType::byte, root);
    if (!in_place) in.store();
  }, below);
}

// What alltoallv and alltoallw do once the blocks are known.
template <class Below>
int exchange_in_place(Entry& e, BlockImage& in, const Below& below) noexcept {
  return e.run(in.bytes(), in, [&](Comm& c) {
    in.load();
    c.alltoallv(libcoll::in_place, in.counts(), in.displs(), in.data(), in.counts(), in.displs(), DType::byte);
    in.store();
  }, below);
}
template <class Below>
int exchange(Entry& e, BlockImage& out, BlockImage& in, const Below& below) noexcept {
  const auto me = static_cast<std::size_t>(e.rank());
  if (out.is_bad() || out.counts()[me] != in.counts()[me]) return e.down(below, Reason::bad_arguments);
  return e.run(in.bytes(), in, [&](Comm& c) {
    out.load();
    c.alltoallv(out.data(), out.counts(), out.displs(), in.data(), in.counts(), in.displs(), DType::byte);
    in.store();
  }, below);
}

template <class N, class D, class Below>
int alltoallv(const void* send, const N* send_counts, const D* send_displs, MPI_Datatype send_type, void* recv, const N* recv_counts, const D* recv_displs, MPI_Datatype recv_type, MPI_Comm comm,
              const Below& below) noexcept {
  Entry e(Coll::alltoallv, comm);
  if (!e) return e.down(below);
  const bool in_place = is_in_place_here(send);
  const TypeInfo *rt = type_info(recv_type), *st = in_place ? rt : type_info(send_type);
  if (rt == nullptr || st == nullptr || recv_counts == nullptr || recv_displs == nullptr || is_in_place_here(recv) || (!in_place && (send_counts == nullptr || send_displs == nullptr)))
    return e.down(below, Reason::bad_arguments);
  BlockImage in(Blocks<N, D>{recv, recv_counts, recv_displs, recv_type}, e.size(), *rt);
  if (in.is_bad()) return e.down(below, Reason::bad_arguments);
  if (in_place) return exchange_in_place(e, in, below);
  BlockImage out(Blocks<N, D>{send, send_counts, send_displs, send_type}, e.size(), *st);
  return exchange(e, out, in, below);
}

// How much goes where only the two ranks concerned know, as in alltoallv: nothing else is asked of the types.
template <class N, class D, class Below>
int alltoallw(const void* send, const N* send_counts, const D* send_displs, const MPI_Datatype* send_types, void* recv, const N* recv_counts, const D* recv_displs, const MPI_Datatype* recv_types,
              MPI_Comm comm, const Below& below) noexcept {
  Entry e(Coll::alltoallw, comm);
  if (!e) return e.down(below);
  const bool in_place = is_in_place_here(send);
  if (recv_counts == nullptr || recv_displs == nullptr || recv_types == nullptr || is_in_place_here(recv)) return e.down(below, Reason::bad_arguments);
  if (!in_place && (send_counts == nullptr || send_displs == nullptr || send_types == nullptr)) return e.down(below, Reason::bad_arguments);
  BlockImage in(TypedBlocks<N, D>{recv, recv_counts, recv_displs, recv_types}, e.size());
  if (in.is_bad()) return e.down(below, Reason::bad_arguments);
  if (in_place) return exchange_in_place(e, in, below);
  BlockImage out(TypedBlocks<N, D>{send, send_counts, send_displs, send_types}, e.size());
  return exchange(e, out, in, below);
}

}  // namespace libcoll::pmpi
