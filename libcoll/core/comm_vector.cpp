// Blocking collectives with counts (and displacements) per rank.
#include "libcoll/core/prepare_vector.hpp"

namespace libcoll {

using detail::CommImpl;
using detail::RunNow;

void Comm::reduce_scatter(const void* send, void* recv, std::span<const Count> counts, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  detail::prepare_reduce_scatter(c, send, recv, counts, type, op, o, RunNow{c, o});
}

void Comm::allgatherv(const void* send, Count send_count, void* recv, std::span<const Count> counts, std::span<const Count> displs, DType type, const CallOptions& o) {
  CommImpl& c = impl();
  detail::prepare_allgatherv(c, send, send_count, recv, counts, displs, type, o, RunNow{c, o});
}

void Comm::gatherv(const void* send, Count send_count, void* recv, std::span<const Count> counts, std::span<const Count> displs, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  detail::prepare_gatherv(c, send, send_count, recv, counts, displs, type, root, o, RunNow{c, o});
}

void Comm::scatterv(const void* send, std::span<const Count> counts, std::span<const Count> displs, void* recv, Count recv_count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  detail::prepare_scatterv(c, send, counts, displs, recv, recv_count, type, root, o, RunNow{c, o});
}

void Comm::alltoallv(const void* send, std::span<const Count> send_counts, std::span<const Count> send_displs, void* recv, std::span<const Count> recv_counts, std::span<const Count> recv_displs, DType type, const CallOptions& o) {
  CommImpl& c = impl();
  detail::prepare_alltoallv(c, send, send_counts, send_displs, recv, recv_counts, recv_displs, type, o, RunNow{c, o});
}

}  // namespace libcoll
