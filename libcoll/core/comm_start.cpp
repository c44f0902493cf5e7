// Started and persistent collectives.
#include "libcoll/core/prepare_vector.hpp"
#include "libcoll/request.hpp"

namespace libcoll {

using detail::Args;
using detail::Call;
using detail::Coll;
using detail::CommImpl;
using detail::Plan;

namespace detail {

namespace {

struct StartNow {
  CommImpl& c;
  const CallOptions& options;
  const Plan& plan(const Call& call, std::span<const Count> counts = {}) const { return c.plan_to_start(call, counts); }
  Request operator()(const Plan& plan, const Args& args) const {
    if (c.devices() != nullptr) [[unlikely]] c.devices()->require_host(plan.call, args, options);
    exec::Operation* op = c.queue().take();
    Request request(op);
    op->set(plan, args, c.size());
    c.queue().start(*op);
    return request;
  }
};

[[gnu::noinline]] Request general_iallreduce(CommImpl& c, const void* send, void* recv, Count count, DType type, const ReduceOp& op, const CallOptions& o) {
  return prepare_allreduce(c, send, recv, count, type, op, o, StartNow{c, o});
}

// Planning is no operation: a plan that is refused does not concern the peers.
struct Prepare {
  Prepare(CommImpl& comm, const CallOptions& o) : c(comm), options(o), quiet(comm) {}
  CommImpl& c;
  const CallOptions& options;
  CommImpl::Unannounced quiet;
  const Plan& plan(const Call& call, std::span<const Count> counts = {}) const { return c.plan_to_start(call, counts); }
  Persistent operator()(const Plan& plan, const Args& args) const {
    if (c.devices() != nullptr) [[unlikely]] c.devices()->require_host(plan.call, args, options);
    exec::Operation* op = c.queue().take();
    Persistent persistent(op);
    op->set(plan, args, c.size());
    return persistent;
  }
};

}  // namespace

Request CommImpl::start_barrier() { return prepare_barrier(*this, {}, StartNow{*this, {}}); }

}  // namespace detail

using detail::Prepare;
using detail::StartNow;

Request Comm::ibarrier(const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_barrier(c, o, StartNow{c, o});
}
Persistent Comm::plan_barrier(const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_barrier(c, o, Prepare{c, o});
}

Request Comm::ibcast(void* buffer, Count count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_bcast(c, buffer, count, type, root, o, StartNow{c, o});
}
Persistent Comm::plan_bcast(void* buffer, Count count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_bcast(c, buffer, count, type, root, o, Prepare{c, o});
}

Request Comm::ireduce(const void* send, void* recv, Count count, DType type, ReduceOp op, int root, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_reduce(c, send, recv, count, type, op, root, o, StartNow{c, o});
}
Persistent Comm::plan_reduce(const void* send, void* recv, Count count, DType type, ReduceOp op, int root, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_reduce(c, send, recv, count, type, op, root, o, Prepare{c, o});
}

Request Comm::iallreduce(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::quick_allreduce(
      send, recv, count, type, op, o, [&](const Call& call) { return c.cached_plan_to_start(call); },
      [&](const Plan& plan, const Args& args) {
        exec::Operation* again = c.queue().start_again(plan, args.send, args.recv);
        return again != nullptr ? Request(again) : detail::general_iallreduce(c, send, recv, count, type, op, o);
      },
      [&] { return detail::general_iallreduce(c, send, recv, count, type, op, o); });
}
Persistent Comm::plan_allreduce(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_allreduce(c, send, recv, count, type, op, o, Prepare{c, o});
}

Request Comm::ireduce_scatter_block(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_reduce_scatter_block(c, send, recv, count, type, op, o, StartNow{c, o});
}
Persistent Comm::plan_reduce_scatter_block(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_reduce_scatter_block(c, send, recv, count, type, op, o, Prepare{c, o});
}

Request Comm::ireduce_scatter(const void* send, void* recv, std::span<const Count> counts, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_reduce_scatter(c, send, recv, counts, type, op, o, StartNow{c, o});
}
Persistent Comm::plan_reduce_scatter(const void* send, void* recv, std::span<const Count> counts, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_reduce_scatter(c, send, recv, counts, type, op, o, Prepare{c, o});
}

Request Comm::iallgather(const void* send, void* recv, Count count, DType type, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_allgather(c, send, recv, count, type, o, StartNow{c, o});
}
Persistent Comm::plan_allgather(const void* send, void* recv, Count count, DType type, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_allgather(c, send, recv, count, type, o, Prepare{c, o});
}

Request Comm::iallgatherv(const void* send, Count send_count, void* recv, std::span<const Count> counts, std::span<const Count> displs, DType type, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_allgatherv(c, send, send_count, recv, counts, displs, type, o, StartNow{c, o});
}
Persistent Comm::plan_allgatherv(const void* send, Count send_count, void* recv, std::span<const Count> counts, std::span<const Count> displs, DType type, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_allgatherv(c, send, send_count, recv, counts, displs, type, o, Prepare{c, o});
}

Request Comm::igather(const void* send, void* recv, Count count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_gather(c, send, recv, count, type, root, o, StartNow{c, o});
}
Persistent Comm::plan_gather(const void* send, void* recv, Count count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_gather(c, send, recv, count, type, root, o, Prepare{c, o});
}

Request Comm::igatherv(const void* send, Count send_count, void* recv, std::span<const Count> counts, std::span<const Count> displs, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_gatherv(c, send, send_count, recv, counts, displs, type, root, o, StartNow{c, o});
}
Persistent Comm::plan_gatherv(const void* send, Count send_count, void* recv, std::span<const Count> counts, std::span<const Count> displs, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_gatherv(c, send, send_count, recv, counts, displs, type, root, o, Prepare{c, o});
}

Request Comm::iscatter(const void* send, void* recv, Count count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_scatter(c, send, recv, count, type, root, o, StartNow{c, o});
}
Persistent Comm::plan_scatter(const void* send, void* recv, Count count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_scatter(c, send, recv, count, type, root, o, Prepare{c, o});
}

Request Comm::iscatterv(const void* send, std::span<const Count> counts, std::span<const Count> displs, void* recv, Count recv_count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_scatterv(c, send, counts, displs, recv, recv_count, type, root, o, StartNow{c, o});
}
Persistent Comm::plan_scatterv(const void* send, std::span<const Count> counts, std::span<const Count> displs, void* recv, Count recv_count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_scatterv(c, send, counts, displs, recv, recv_count, type, root, o, Prepare{c, o});
}

Request Comm::ialltoall(const void* send, void* recv, Count count, DType type, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_alltoall(c, send, recv, count, type, o, StartNow{c, o});
}
Persistent Comm::plan_alltoall(const void* send, void* recv, Count count, DType type, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_alltoall(c, send, recv, count, type, o, Prepare{c, o});
}

Request Comm::ialltoallv(const void* send, std::span<const Count> send_counts, std::span<const Count> send_displs, void* recv, std::span<const Count> recv_counts, std::span<const Count> recv_displs, DType type, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_alltoallv(c, send, send_counts, send_displs, recv, recv_counts, recv_displs, type, o, StartNow{c, o});
}
Persistent Comm::plan_alltoallv(const void* send, std::span<const Count> send_counts, std::span<const Count> send_displs, void* recv, std::span<const Count> recv_counts, std::span<const Count> recv_displs, DType type, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_alltoallv(c, send, send_counts, send_displs, recv, recv_counts, recv_displs, type, o, Prepare{c, o});
}

Request Comm::iscan(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_scan(c, Coll::scan, send, recv, count, type, op, o, StartNow{c, o});
}
Persistent Comm::plan_scan(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_scan(c, Coll::scan, send, recv, count, type, op, o, Prepare{c, o});
}

Request Comm::iexscan(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_scan(c, Coll::exscan, send, recv, count, type, op, o, StartNow{c, o});
}
Persistent Comm::plan_exscan(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  return detail::prepare_scan(c, Coll::exscan, send, recv, count, type, op, o, Prepare{c, o});
}

}  // namespace libcoll
