// The C ABI of started and persistent collectives.
#include <optional>
#include <utility>

#include "libcoll/core/c_handles.hpp"

using namespace libcoll;
using namespace libcoll::detail;

struct libcoll_request_s { Request request; };
struct libcoll_persistent_s { Persistent persistent; };

namespace {

template <class Handle, class F>
int begin(libcoll_comm c, Handle** out, F f) noexcept {
  if (out == nullptr) return remember(Errc::invalid_argument, "libcoll: the place for the new handle is NULL");
  *out = nullptr;
  return with(c, [&](Comm& comm) {
    auto handle = std::make_unique<Handle>();
    *handle = {f(comm)};
    *out = handle.release();
  });
}

// Lives until the communicator is closed: an operation may go on after its request was freed.
const CustomOp& bridged(libcoll_comm c, const libcoll_custom_op* op) {
  static const CustomOp none;
  if (op == nullptr) return none;  // refused later
  for (const auto& b : c->bridges)
    if (b->is(*op)) return b->cpp;
  return c->bridges.emplace_back(std::make_unique<Bridge>(op))->cpp;
}

// Frees the handle once nothing is to be waited for any more, be it for an error.
void drop_if_done(libcoll_request* r) noexcept {
  if (*r != nullptr && !(*r)->request) delete std::exchange(*r, nullptr);
}

int null_handle(const char* text) noexcept { return remember(Errc::invalid_argument, text); }

}  // namespace

#define UNPACK(...) __VA_ARGS__
// libcoll_iNAME and libcoll_plan_NAME, which forward to Comm::iNAME and Comm::plan_NAME.
#define STARTED(name, method, params, args)                                              \
  int libcoll_i##name(UNPACK params, libcoll_comm c, libcoll_request* out) {             \
    return begin(c, out, [&](Comm& comm) { return comm.i##method(UNPACK args, c->options); }); \
  }                                                                                      \
  int libcoll_plan_##name(UNPACK params, libcoll_comm c, libcoll_persistent* out) {      \
    return begin(c, out, [&](Comm& comm) { return comm.plan_##method(UNPACK args, c->options); }); \
  }

extern "C" {

int libcoll_ibarrier(libcoll_comm c, libcoll_request* out) {
  return begin(c, out, [&](Comm& comm) { return comm.ibarrier(c->options); });
}
int libcoll_plan_barrier(libcoll_comm c, libcoll_persistent* out) {
  return begin(c, out, [&](Comm& comm) { return comm.plan_barrier(c->options); });
}
STARTED(bcast, bcast, (void* buffer, int64_t count, int dtype, int root), (buffer, count, type_of(dtype), root))
STARTED(reduce, reduce, (const void* send, void* recv, int64_t count, int dtype, int op, int root), (send, recv, count, type_of(dtype), op_of(op), root))
STARTED(allreduce, allreduce, (const void* send, void* recv, int64_t count, int dtype, int op), (send, recv, count, type_of(dtype), op_of(op)))
STARTED(reduce_scatter_block, reduce_scatter_block, (const void* send, void* recv, int64_t count, int dtype, int op),
        (send, recv, count, type_of(dtype), op_of(op)))
STARTED(reduce_scatter, reduce_scatter, (const void* send, void* recv, const int64_t* counts, int dtype, int op),
        (send, recv, per_rank(comm, counts), type_of(dtype), op_of(op)))
STARTED(scan, scan, (const void* send, void* recv, int64_t count, int dtype, int op), (send, recv, count, type_of(dtype), op_of(op)))
STARTED(exscan, exscan, (const void* send, void* recv, int64_t count, int dtype, int op), (send, recv, count, type_of(dtype), op_of(op)))

STARTED(reduce_custom, reduce, (const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op, int root),
        (send, recv, count, type_of(dtype), bridged(c, op), root))
STARTED(allreduce_custom, allreduce, (const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op),
        (send, recv, count, type_of(dtype), bridged(c, op)))
STARTED(reduce_scatter_block_custom, reduce_scatter_block, (const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op),
        (send, recv, count, type_of(dtype), bridged(c, op)))
STARTED(scan_custom, scan, (const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op),
        (send, recv, count, type_of(dtype), bridged(c, op)))
STARTED(exscan_custom, exscan, (const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op),
        (send, recv, count, type_of(dtype), bridged(c, op)))

STARTED(allgather, allgather, (const void* send, void* recv, int64_t count, int dtype), (send, recv, count, type_of(dtype)))
STARTED(gather, gather, (const void* send, void* recv, int64_t count, int dtype, int root), (send, recv, count, type_of(dtype), root))
STARTED(scatter, scatter, (const void* send, void* recv, int64_t count, int dtype, int root), (send, recv, count, type_of(dtype), root))
STARTED(alltoall, alltoall, (const void* send, void* recv, int64_t count, int dtype), (send, recv, count, type_of(dtype)))
STARTED(allgatherv, allgatherv, (const void* send, int64_t send_count, void* recv, const int64_t* counts, const int64_t* displs, int dtype),
        (send, send_count, recv, per_rank(comm, counts), per_rank(comm, displs), type_of(dtype)))
STARTED(gatherv, gatherv, (const void* send, int64_t send_count, void* recv, const int64_t* counts, const int64_t* displs, int dtype, int root),
        (send, send_count, recv, per_rank(comm, counts), per_rank(comm, displs), type_of(dtype), root))
STARTED(scatterv, scatterv, (const void* send, const int64_t* counts, const int64_t* displs, void* recv, int64_t recv_count, int dtype, int root),
        (send, per_rank(comm, counts), per_rank(comm, displs), recv, recv_count, type_of(dtype), root))
STARTED(alltoallv, alltoallv,
        (const void* send, const int64_t* send_counts, const int64_t* send_displs, void* recv, const int64_t* recv_counts, const int64_t* recv_displs, int dtype),
        (send, per_rank(comm, send_counts), per_rank(comm, send_displs), recv, per_rank(comm, recv_counts), per_rank(comm, recv_displs), type_of(dtype)))

int libcoll_wait(libcoll_request* r) {
  if (r == nullptr) return null_handle("libcoll: wait: the place of the request is NULL");
  if (*r == nullptr) return LIBCOLL_OK;
  const int code = guarded([&] { (*r)->request.wait(); });
  drop_if_done(r);
  return code;
}
int libcoll_test(libcoll_request* r, int* done) {
  if (r == nullptr || done == nullptr) return null_handle("libcoll: test: the place of the request, or of the answer, is NULL");
  const int code = guarded([&] { *done = *r == nullptr || (*r)->request.test() ? 1 : 0; });
  if (code != LIBCOLL_OK) *done = 1;
  drop_if_done(r);
  return code;
}
int libcoll_wait_all(int count, libcoll_request* requests) {
  if (count < 0 || (count > 0 && requests == nullptr)) return null_handle("libcoll: wait_all: count is negative, or requests is NULL");
  int first = LIBCOLL_OK;
  std::string text;
  for (int i = 0; i < count; ++i) {
    const int code = libcoll_wait(requests + i);
    if (first != LIBCOLL_OK || code == LIBCOLL_OK) continue;
    first = code;
    guarded([&] { text = libcoll_last_error(); });
  }
  return first == LIBCOLL_OK ? first : remember(static_cast<Errc>(first), text.c_str());
}
int libcoll_wait_any(int count, libcoll_request* requests, int* index) {
  if (count < 0 || (count > 0 && requests == nullptr) || index == nullptr) return null_handle("libcoll: wait_any: count is negative, or requests or index is NULL");
  *index = count;
  return guarded([&] {
    std::vector<Request> all(static_cast<std::size_t>(count));
    const auto each = [&](auto f) {
      for (int i = 0; i < count; ++i)
        if (requests[i] != nullptr) f(i, all[static_cast<std::size_t>(i)], requests[i]->request);
    };
    each([](int, Request& mine, Request& theirs) { mine = std::move(theirs); });
    std::exception_ptr error;
    try {
      wait_any(all);
    } catch (...) {
      error = std::current_exception();
    }
    each([](int, Request& mine, Request& theirs) { theirs = std::move(mine); });
    each([&](int i, Request&, Request& theirs) {
      if (!theirs) *index = i;
    });
    if (*index != count) drop_if_done(requests + *index);
    if (error != nullptr) std::rethrow_exception(error);
  });
}
int libcoll_request_free(libcoll_request* r) {
  if (r == nullptr) return null_handle("libcoll: request_free: the place of the request is NULL");
  delete std::exchange(*r, nullptr);
  return LIBCOLL_OK;
}

int libcoll_start(libcoll_persistent p) {
  if (p == nullptr) return null_handle("libcoll: start: the persistent is NULL");
  return guarded([&] { p->persistent.start(); });
}
int libcoll_persistent_wait(libcoll_persistent p) {
  if (p == nullptr) return null_handle("libcoll: persistent_wait: the persistent is NULL");
  return guarded([&] { p->persistent.wait(); });
}
int libcoll_persistent_test(libcoll_persistent p, int* done) {
  if (p == nullptr || done == nullptr) return null_handle("libcoll: persistent_test: the persistent, or the place of the answer, is NULL");
  *done = 1;  // also if it ended with an error
  return guarded([&] { *done = p->persistent.test() ? 1 : 0; });
}
int libcoll_persistent_free(libcoll_persistent* p) {
  if (p == nullptr) return null_handle("libcoll: persistent_free: the place of the persistent is NULL");
  delete std::exchange(*p, nullptr);
  return LIBCOLL_OK;
}

}  // extern "C"
