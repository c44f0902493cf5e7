#include "reductions.hpp"

#include <algorithm>
#include <limits>

namespace libcoll::pmpi {

Reason Reduction::resolve(MPI_Datatype type, MPI_Op op) noexcept {
  const TypeInfo* t = type_info(type);
  if (t == nullptr) return Reason::bad_arguments;
  int commutes = 1;
  if (const OpInfo* o = predefined_ops.find(op); o != nullptr) {
    if ((t->operations & o->bit) != 0) {
      dtype_ = t->dtype;
      op_ = o->op;
      element_ = t->extent;
      return Reason::handled;
    }
    // To compare, the MPI would be set against itself, in another order of rounding.
    if ((t->by_mpi & o->bit) == 0 || mode() == Mode::compare) return Reason::type_and_operation;
  } else if (PMPI_Op_commutative(op, &commutes) != MPI_SUCCESS) {
    return Reason::bad_arguments;
  }
  // The program's own, and types that libcoll lacks: elements are records of the type's extent, combined in rank order.
  // Types with gaps would have their gaps overwritten.
  if (!t->gapless || t->extent == 0 || t->extent > std::numeric_limits<std::int32_t>::max()) return Reason::type_and_operation;
  element_ = t->extent;
  local_ = {type, op};
  custom_ = {.function = &reduce_local, .context = &local_, .commutative = commutes != 0, .element_bytes = static_cast<std::uint32_t>(t->extent)};
  return Reason::handled;
}

void Reduction::reduce_local(const void* in, void* inout, std::size_t count, DType, void* context) {
  const auto& local = *static_cast<const Local*>(context);
  MPI_Aint lower = 0, extent = 0;
  PMPI_Type_get_extent(local.type, &lower, &extent);
  constexpr std::size_t most = std::numeric_limits<int>::max();
  for (std::size_t at = 0; at < count; at += most) {
    const auto offset = static_cast<MPI_Aint>(at) * extent;
    if (PMPI_Reduce_local(static_cast<const std::byte*>(in) + offset, static_cast<std::byte*>(inout) + offset, static_cast<int>(std::min(most, count - at)), local.type, local.op) != MPI_SUCCESS)
      throw Error(Errc::internal, "libcoll: MPI_Reduce_local failed");
  }
}

Reason reduce_here(const void* in, void* inout, std::int64_t count, MPI_Datatype type, MPI_Op op) noexcept {
  if (mode() == Mode::off) return Reason::off;
  if (self() == MPI_COMM_NULL) return Reason::outside_mpi;
  if (predefined_ops.find(op) == nullptr) return Reason::type_and_operation;
  Reduction r;
  if (const Reason why = r.resolve(type, op); why != Reason::handled) return why;
  if (!r.is_ours()) return Reason::type_and_operation;
  const auto a = reinterpret_cast<std::uintptr_t>(in), b = reinterpret_cast<std::uintptr_t>(inout);
  const auto bytes = static_cast<std::uintptr_t>(r.bytes(count));
  if (count <= 0 || a == 0 || b == 0 || is_in_place_here(in) || is_in_place_here(inout) || (a < b + bytes && b < a + bytes)) return Reason::bad_arguments;
  libcoll::reduce_local(in, inout, static_cast<std::size_t>(count), r.dtype(), r.op().op());
  return Reason::handled;
}

void Reduced::describe(Outcome& o, MPI_Comm comm) const {
  const bool in_place = is_in_place_here(send);
  const TypeInfo* info = type_info(type);
  int ranks = 1;
  PMPI_Comm_size(comm, &ranks);
  o.terms = terms_of(reduction.op().op(), reduction.dtype(), ranks);
  if (o.terms.by == Terms::By::sum) {
    o.magnitudes = sum_magnitudes(in_place ? recv : send, count, reduction.dtype(), comm);
    o.terms.magnitudes = std::span(o.magnitudes).subspan(static_cast<std::size_t>(first * parts_of(reduction.dtype())));
  }
  const std::int64_t kept = in_place ? count : written;  // in place either may use the operand as scratch
  if (kept != 0) o.pieces.push_back({static_cast<std::byte*>(recv), kept, type, info});
  o.bytes = written * info->bytes;
}

Operands::Operands(const void* send, void* recv, std::int64_t send_bytes, std::int64_t recv_bytes) : send_(send), recv_(recv) {
  const bool in_place = is_in_place_here(send);
  bad_ = (recv == nullptr && recv_bytes != 0) || (send == nullptr && !in_place && send_bytes != 0) || (recv_bytes != 0 && is_in_place_here(recv));
  if (in_place) {
    send_ = libcoll::in_place;
    return;
  }
  if (bad_ || send_bytes == 0 || recv_bytes == 0) return;
  const auto *s = static_cast<const std::byte*>(send), *r = static_cast<const std::byte*>(recv);
  if (s >= r + recv_bytes || r >= s + send_bytes) return;
  // One MPI calls this an error, others do what was meant.
  bad_ = s == r && refuses_aliases();
  if (bad_) return;
  copy_.reset(new std::byte[static_cast<std::size_t>(send_bytes)]);
  std::memcpy(copy_.get(), send, static_cast<std::size_t>(send_bytes));
  send_ = copy_.get();
}

}  // namespace libcoll::pmpi
