// The C ABI: each function forwards to Comm and turns exceptions into codes. Started and persistent forms: c_started.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <unordered_map>
#include <utility>

#include "libcoll/core/c_handles.hpp"

using namespace libcoll;
using namespace libcoll::detail;

static_assert(static_cast<int>(DType::f64_f64) == LIBCOLL_F64_F64 && static_cast<int>(Op::maxloc) == LIBCOLL_MAXLOC &&
              static_cast<int>(Level::world) == LIBCOLL_WORLD && static_cast<int>(Errc::internal) == LIBCOLL_ERR_INTERNAL);

namespace {

thread_local std::string last_error;

int make(libcoll_comm* out, Comm comm) {
  auto handle = std::make_unique<libcoll_comm_s>();
  handle->comm = std::move(comm);
  *out = handle.release();
  return 0;
}

template <class F>
int create(libcoll_comm* out, F f) noexcept {
  if (out == nullptr) return remember(Errc::invalid_argument, "libcoll: the place for the new communicator is NULL");
  *out = nullptr;
  return guarded([&] {
    Comm c = f();
    if (c) make(out, std::move(c));
  });
}

}  // namespace

namespace libcoll::detail {

int remember(Errc code, const char* text) noexcept {
  try {
    last_error = text;
  } catch (...) {  // out of memory: the code must do
  }
  return static_cast<int>(code);
}

}  // namespace libcoll::detail

extern "C" {

const char* libcoll_version(void) { return LIBCOLL_VERSION; }
const char* libcoll_last_error(void) { return last_error.c_str(); }
const char* libcoll_error_name(int code) { return name_of(static_cast<Errc>(code)); }

int libcoll_comm_from_environment(libcoll_comm* out) {
  return create(out, [] { return Comm::from_environment(); });
}
int libcoll_comm_from_callback(int rank, int size, libcoll_allgather_function allgather, void* context, libcoll_comm* out) {
  return create(out, [&] {
    if (allgather == nullptr) throw Error(Errc::invalid_argument, "libcoll: from_callback: allgather is NULL");
    return Comm::from_callback(rank, size, [=](const void* send, void* recv, std::size_t bytes) {
      if (const int rc = allgather(send, recv, bytes, context); rc != 0)
        throw Error(Errc::bootstrap, fmt::format("libcoll: from_callback: the caller's allgather returned {}", rc));
    });
  });
}
int libcoll_comm_set_progress_hook(libcoll_comm c, void (*hook)(void*), void* context) {
  return with(c, [&](Comm& comm) { comm.set_progress_hook(hook, context); });
}
int libcoll_comm_split(libcoll_comm c, int color, int key, libcoll_comm* out) {
  if (c == nullptr) return with(c, [](Comm&) {});
  return create(out, [&] { return c->comm.split(color, key); });
}
int libcoll_comm_split_level(libcoll_comm c, int level, libcoll_comm* out) {
  if (c == nullptr) return with(c, [](Comm&) {});
  return create(out, [&] {
    if (level < 0 || level >= level_count) throw Error(Errc::invalid_argument, fmt::format("libcoll: split: level {} is unknown", level));
    return c->comm.split(static_cast<Level>(level));
  });
}
int libcoll_comm_dup(libcoll_comm c, libcoll_comm* out) {
  if (c == nullptr) return with(c, [](Comm&) {});
  return create(out, [&] { return c->comm.dup(); });
}
int libcoll_comm_close(libcoll_comm* c) {
  if (c == nullptr || *c == nullptr) return remember(Errc::invalid_argument, "libcoll: close: the communicator is NULL");
  const std::unique_ptr<libcoll_comm_s> owner(std::exchange(*c, nullptr));
  owner->buffers.clear();
  return guarded([&] { owner->comm.close(); });
}
int libcoll_comm_abort(libcoll_comm c, const char* why) {
  return with(c, [&](Comm& comm) { comm.abort(why != nullptr ? why : "the caller gave no reason"); });
}
int libcoll_set_call_options(libcoll_comm c, const libcoll_call_options* options) {
  return with(c, [&](Comm& comm) {
    constexpr int determinisms = 3, memories = 4;
    libcoll_call_options o{};
    if (options != nullptr) o = *options;
    const auto require = [&](bool good, const char* what, int value) {
      if (!good) throw Error(Errc::invalid_argument, fmt::format("libcoll: rank {} of {}: set_call_options: {} {} is unknown", comm.rank(), comm.size(), what, value));
    };
    require(o.determinism >= 0 && o.determinism < determinisms, "determinism", o.determinism);
    require(o.memory >= 0 && o.memory < memories, "memory", o.memory);
    c->algorithm = o.algorithm != nullptr ? o.algorithm : "";
    c->options = {.algorithm = c->algorithm, .determinism = static_cast<Determinism>(o.determinism), .memory = static_cast<Memory>(o.memory), .timeout_s = o.timeout_s};
    if (o.has_stream != 0) c->options.stream = o.stream;
  });
}
int libcoll_comm_rank(libcoll_comm c, int* rank) {
  return with(c, [&](Comm& comm) { *rank = comm.rank(); });
}
int libcoll_comm_size(libcoll_comm c, int* size) {
  return with(c, [&](Comm& comm) { *size = comm.size(); });
}

int libcoll_explain(libcoll_comm c, const char* collective, int64_t count, int dtype, int op, int root, char* text, size_t bytes) {
  return with(c, [&](Comm& comm) {
    if (collective == nullptr || text == nullptr || bytes == 0)
      throw Error(Errc::invalid_argument, fmt::format("libcoll: explain: {}", collective == nullptr ? "collective is NULL" : "there is no room for the text"));
    const std::string all = comm.explain(collective, count, type_of(dtype), op_of(op), root, c->options);
    text[all.copy(text, bytes - 1)] = 0;
  });
}

int libcoll_allocate(libcoll_comm c, size_t bytes, void** memory) {
  return with(c, [&](Comm& comm) {
    Buffer b = comm.allocate(bytes);
    *memory = b.data();
    const std::lock_guard lock(c->mutex);
    c->buffers.emplace(*memory, std::move(b));
  });
}
int libcoll_free(libcoll_comm c, void* memory) {
  return with(c, [&](Comm&) {
    const std::lock_guard lock(c->mutex);
    if (c->buffers.erase(memory) == 0) throw Error(Errc::invalid_argument, "libcoll: free: the memory was not allocated from this communicator");
  });
}

int libcoll_network_traffic(libcoll_comm c, libcoll_host_traffic* traffic, int room, int* hosts) {
  return with(c, [&](Comm& comm) {
    if (hosts == nullptr || (traffic == nullptr && room > 0))
      throw Error(Errc::invalid_argument, fmt::format("libcoll: network_traffic: {} is NULL", hosts == nullptr ? "hosts" : "traffic"));
    const std::vector<HostTraffic> all = comm.network_traffic();
    *hosts = static_cast<int>(all.size());
    for (int i = 0; i < std::min(room, *hosts); ++i) {
      const HostTraffic& from = all[static_cast<std::size_t>(i)];
      libcoll_host_traffic& to = traffic[i];
      to = {.host = {}, .messages_sent = from.messages_sent, .bytes_sent = from.bytes_sent, .messages_received = from.messages_received,
            .bytes_received = from.bytes_received};
      from.host.copy(to.host, sizeof to.host - 1);
    }
  });
}

int libcoll_barrier(libcoll_comm c) {
  return with(c, [&](Comm& comm) { comm.barrier(c->options); });
}
int libcoll_bcast(void* buffer, int64_t count, int dtype, int root, libcoll_comm c) {
  return with(c, [&](Comm& comm) { comm.bcast(buffer, count, type_of(dtype), root, c->options); });
}
int libcoll_reduce(const void* send, void* recv, int64_t count, int dtype, int op, int root, libcoll_comm c) {
  return with(c, [&](Comm& comm) { comm.reduce(send, recv, count, type_of(dtype), op_of(op), root, c->options); });
}
int libcoll_allreduce(const void* send, void* recv, int64_t count, int dtype, int op, libcoll_comm c) {
  return with(c, [&](Comm& comm) { comm.allreduce(send, recv, count, type_of(dtype), op_of(op), c->options); });
}
int libcoll_reduce_scatter_block(const void* send, void* recv, int64_t count, int dtype, int op, libcoll_comm c) {
  return with(c, [&](Comm& comm) { comm.reduce_scatter_block(send, recv, count, type_of(dtype), op_of(op), c->options); });
}
int libcoll_reduce_scatter(const void* send, void* recv, const int64_t* counts, int dtype, int op, libcoll_comm c) {
  return with(c, [&](Comm& comm) { comm.reduce_scatter(send, recv, per_rank(comm, counts), type_of(dtype), op_of(op), c->options); });
}
int libcoll_scan(const void* send, void* recv, int64_t count, int dtype, int op, libcoll_comm c) {
  return with(c, [&](Comm& comm) { comm.scan(send, recv, count, type_of(dtype), op_of(op), c->options); });
}
int libcoll_exscan(const void* send, void* recv, int64_t count, int dtype, int op, libcoll_comm c) {
  return with(c, [&](Comm& comm) { comm.exscan(send, recv, count, type_of(dtype), op_of(op), c->options); });
}

int libcoll_reduce_custom(const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op, int root, libcoll_comm c) {
  return with(c, [&](Comm& comm) { Bridge b(op); comm.reduce(send, recv, count, type_of(dtype), b.cpp, root, c->options); });
}
int libcoll_allreduce_custom(const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op, libcoll_comm c) {
  return with(c, [&](Comm& comm) { Bridge b(op); comm.allreduce(send, recv, count, type_of(dtype), b.cpp, c->options); });
}
int libcoll_reduce_scatter_block_custom(const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op, libcoll_comm c) {
  return with(c, [&](Comm& comm) { Bridge b(op); comm.reduce_scatter_block(send, recv, count, type_of(dtype), b.cpp, c->options); });
}
int libcoll_scan_custom(const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op, libcoll_comm c) {
  return with(c, [&](Comm& comm) { Bridge b(op); comm.scan(send, recv, count, type_of(dtype), b.cpp, c->options); });
}
int libcoll_exscan_custom(const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op, libcoll_comm c) {
  return with(c, [&](Comm& comm) { Bridge b(op); comm.exscan(send, recv, count, type_of(dtype), b.cpp, c->options); });
}

int libcoll_allgather(const void* send, void* recv, int64_t count, int dtype, libcoll_comm c) {
  return with(c, [&](Comm& comm) { comm.allgather(send, recv, count, type_of(dtype), c->options); });
}
int libcoll_gather(const void* send, void* recv, int64_t count, int dtype, int root, libcoll_comm c) {
  return with(c, [&](Comm& comm) { comm.gather(send, recv, count, type_of(dtype), root, c->options); });
}
int libcoll_scatter(const void* send, void* recv, int64_t count, int dtype, int root, libcoll_comm c) {
  return with(c, [&](Comm& comm) { comm.scatter(send, recv, count, type_of(dtype), root, c->options); });
}
int libcoll_alltoall(const void* send, void* recv, int64_t count, int dtype, libcoll_comm c) {
  return with(c, [&](Comm& comm) { comm.alltoall(send, recv, count, type_of(dtype), c->options); });
}
int libcoll_allgatherv(const void* send, int64_t send_count, void* recv, const int64_t* counts, const int64_t* displs, int dtype, libcoll_comm c) {
  return with(c, [&](Comm& comm) { comm.allgatherv(send, send_count, recv, per_rank(comm, counts), per_rank(comm, displs), type_of(dtype), c->options); });
}
int libcoll_gatherv(const void* send, int64_t send_count, void* recv, const int64_t* counts, const int64_t* displs, int dtype, int root, libcoll_comm c) {
  return with(c, [&](Comm& comm) { comm.gatherv(send, send_count, recv, per_rank(comm, counts), per_rank(comm, displs), type_of(dtype), root, c->options); });
}
int libcoll_scatterv(const void* send, const int64_t* counts, const int64_t* displs, void* recv, int64_t recv_count, int dtype, int root, libcoll_comm c) {
  return with(c, [&](Comm& comm) { comm.scatterv(send, per_rank(comm, counts), per_rank(comm, displs), recv, recv_count, type_of(dtype), root, c->options); });
}
int libcoll_alltoallv(const void* send, const int64_t* send_counts, const int64_t* send_displs, void* recv, const int64_t* recv_counts,
                      const int64_t* recv_displs, int dtype, libcoll_comm c) {
  return with(c, [&](Comm& comm) {
    comm.alltoallv(send, per_rank(comm, send_counts), per_rank(comm, send_displs), recv, per_rank(comm, recv_counts), per_rank(comm, recv_displs), type_of(dtype), c->options);
  });
}

}  // extern "C"
