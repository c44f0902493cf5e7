/* C ABI of libcoll. The same collectives, meanings and error codes as the C++ API (comm.hpp).
 * Every function returns 0 or a libcoll_error; libcoll_last_error() has the text for this thread.
 * Counts are in elements. A handle may be used by one thread at a time. */
#ifndef LIBCOLL_H
#define LIBCOLL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LIBCOLL_C_API __attribute__((visibility("default")))

typedef struct libcoll_comm_s* libcoll_comm;

typedef enum {
  LIBCOLL_OK = 0, LIBCOLL_ERR_INVALID_ARGUMENT, LIBCOLL_ERR_MISMATCH, LIBCOLL_ERR_UNSUPPORTED, LIBCOLL_ERR_TIMEOUT,
  LIBCOLL_ERR_PEER_LOST, LIBCOLL_ERR_CLOSED, LIBCOLL_ERR_BOOTSTRAP, LIBCOLL_ERR_SYSTEM, LIBCOLL_ERR_INTERNAL
} libcoll_error;

/* In the order of libcoll::DType. */
typedef enum {
  LIBCOLL_I8, LIBCOLL_I16, LIBCOLL_I32, LIBCOLL_I64, LIBCOLL_U8, LIBCOLL_U16, LIBCOLL_U32, LIBCOLL_U64,
  LIBCOLL_F16, LIBCOLL_BF16, LIBCOLL_F32, LIBCOLL_F64, LIBCOLL_F8E4M3, LIBCOLL_F8E5M2, LIBCOLL_C64, LIBCOLL_C128,
  LIBCOLL_BOOL, LIBCOLL_BYTE, LIBCOLL_F32_I32, LIBCOLL_F64_I32, LIBCOLL_I64_I32, LIBCOLL_I32_I32, LIBCOLL_I16_I32,
  LIBCOLL_F32_F32, LIBCOLL_F64_F64
} libcoll_dtype;

/* In the order of libcoll::Op. */
typedef enum {
  LIBCOLL_SUM, LIBCOLL_PROD, LIBCOLL_MIN, LIBCOLL_MAX, LIBCOLL_AVG, LIBCOLL_LAND, LIBCOLL_LOR, LIBCOLL_LXOR,
  LIBCOLL_BAND, LIBCOLL_BOR, LIBCOLL_BXOR, LIBCOLL_MINLOC, LIBCOLL_MAXLOC
} libcoll_op;

/* In the order of libcoll::Level. */
typedef enum { LIBCOLL_CORE, LIBCOLL_L3, LIBCOLL_NUMA, LIBCOLL_PACKAGE, LIBCOLL_HOST, LIBCOLL_GROUP, LIBCOLL_WORLD } libcoll_level;

/* In the order of libcoll::Determinism and libcoll::Memory. */
typedef enum { LIBCOLL_FAST, LIBCOLL_RUN_TO_RUN, LIBCOLL_PLACEMENT } libcoll_determinism;
typedef enum { LIBCOLL_AUTOMATIC, LIBCOLL_ON_HOST, LIBCOLL_ON_DEVICE, LIBCOLL_MIXED } libcoll_memory;

#define LIBCOLL_IN_PLACE ((const void*)~(uintptr_t)0)

/* inout[i] = in[i] (op) inout[i]; `in` comes from lower ranks. See libcoll::CustomOp. */
typedef void (*libcoll_op_function)(const void* in, void* inout, size_t count, int dtype, void* context);
typedef struct {
  libcoll_op_function function;
  void* context;
  int commutative;
  uint32_t element_bytes; /* 0: the type's; else records of this size, with type LIBCOLL_BYTE */
} libcoll_custom_op;

/* recv[r * bytes ...] = rank r's send; returns 0 on success. */
typedef int (*libcoll_allgather_function)(const void* send, void* recv, size_t bytes, void* context);

LIBCOLL_C_API const char* libcoll_version(void);
LIBCOLL_C_API const char* libcoll_last_error(void);
LIBCOLL_C_API const char* libcoll_error_name(int code);

/* Collective over all ranks of the job. Knobs come from the environment (docs/environment.md). */
LIBCOLL_C_API int libcoll_comm_from_environment(libcoll_comm* comm);
LIBCOLL_C_API int libcoll_comm_from_callback(int rank, int size, libcoll_allgather_function allgather, void* context, libcoll_comm* comm);
LIBCOLL_C_API int libcoll_comm_set_progress_hook(libcoll_comm comm, void (*hook)(void*), void* context);
/* A negative color gives *out = NULL. */
LIBCOLL_C_API int libcoll_comm_split(libcoll_comm comm, int color, int key, libcoll_comm* out);
LIBCOLL_C_API int libcoll_comm_split_level(libcoll_comm comm, int level, libcoll_comm* out);
LIBCOLL_C_API int libcoll_comm_dup(libcoll_comm comm, libcoll_comm* out);
/* Collective. Frees the handle and sets it to NULL, also when it returns an error. */
LIBCOLL_C_API int libcoll_comm_close(libcoll_comm* comm);
LIBCOLL_C_API int libcoll_comm_rank(libcoll_comm comm, int* rank);
LIBCOLL_C_API int libcoll_comm_size(libcoll_comm comm, int* size);

/* Not collective: ends what is under way, see Comm::abort. The communicator still wants libcoll_comm_close. */
LIBCOLL_C_API int libcoll_comm_abort(libcoll_comm comm, const char* why);

/* Options of all later calls on the communicator, see libcoll::CallOptions; NULL: the defaults, which all zeros are too. The
 * same on all ranks. Copied. */
typedef struct {
  const char* algorithm; /* NULL or "": the library's choice */
  int determinism;       /* libcoll_determinism */
  int memory;            /* libcoll_memory */
  double timeout_s;      /* 0: the communicator's */
  int has_stream;        /* 1: calls are work on `stream`, a cudaStream_t; NULL is CUDA's default stream */
  void* stream;
} libcoll_call_options;
LIBCOLL_C_API int libcoll_set_call_options(libcoll_comm comm, const libcoll_call_options* options);

/* How the library would run a call: "allreduce", elements, type, operation and root where it has them. Not collective. `text`
 * receives what Comm::explain says, cut to `bytes` (at least 1) with its final NUL. */
LIBCOLL_C_API int libcoll_explain(libcoll_comm comm, const char* collective, int64_t count, int dtype, int op, int root, char* text, size_t bytes);

/* Memory that all ranks of the host have mapped; not collective. Free before the last communicator of its world is closed. */
LIBCOLL_C_API int libcoll_allocate(libcoll_comm comm, size_t bytes, void** memory);
LIBCOLL_C_API int libcoll_free(libcoll_comm comm, void* memory);

/* What this rank exchanged over the network with the ranks of one host; see libcoll::HostTraffic. */
typedef struct {
  char host[128];
  uint64_t messages_sent, bytes_sent, messages_received, bytes_received;
} libcoll_host_traffic;
/* *hosts = the number of hosts (0 where there is no network), of which at most `room` are written. Not collective. */
LIBCOLL_C_API int libcoll_network_traffic(libcoll_comm comm, libcoll_host_traffic* traffic, int room, int* hosts);

LIBCOLL_C_API int libcoll_barrier(libcoll_comm comm);
LIBCOLL_C_API int libcoll_bcast(void* buffer, int64_t count, int dtype, int root, libcoll_comm comm);
LIBCOLL_C_API int libcoll_reduce(const void* send, void* recv, int64_t count, int dtype, int op, int root, libcoll_comm comm);
LIBCOLL_C_API int libcoll_allreduce(const void* send, void* recv, int64_t count, int dtype, int op, libcoll_comm comm);
LIBCOLL_C_API int libcoll_reduce_scatter_block(const void* send, void* recv, int64_t recv_count, int dtype, int op, libcoll_comm comm);
LIBCOLL_C_API int libcoll_reduce_scatter(const void* send, void* recv, const int64_t* counts, int dtype, int op, libcoll_comm comm);
LIBCOLL_C_API int libcoll_scan(const void* send, void* recv, int64_t count, int dtype, int op, libcoll_comm comm);
LIBCOLL_C_API int libcoll_exscan(const void* send, void* recv, int64_t count, int dtype, int op, libcoll_comm comm);
/* The reductions above with a user's operation. */
LIBCOLL_C_API int libcoll_reduce_custom(const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op, int root, libcoll_comm comm);
LIBCOLL_C_API int libcoll_allreduce_custom(const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op, libcoll_comm comm);
LIBCOLL_C_API int libcoll_reduce_scatter_block_custom(const void* send, void* recv, int64_t recv_count, int dtype, const libcoll_custom_op* op, libcoll_comm comm);
LIBCOLL_C_API int libcoll_scan_custom(const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op, libcoll_comm comm);
LIBCOLL_C_API int libcoll_exscan_custom(const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op, libcoll_comm comm);

LIBCOLL_C_API int libcoll_allgather(const void* send, void* recv, int64_t count, int dtype, libcoll_comm comm);
LIBCOLL_C_API int libcoll_gather(const void* send, void* recv, int64_t count, int dtype, int root, libcoll_comm comm);
LIBCOLL_C_API int libcoll_scatter(const void* send, void* recv, int64_t count, int dtype, int root, libcoll_comm comm);
LIBCOLL_C_API int libcoll_alltoall(const void* send, void* recv, int64_t count, int dtype, libcoll_comm comm);
/* counts and displs have one entry per rank; at ranks other than the root of gatherv and scatterv they may be NULL. */
LIBCOLL_C_API int libcoll_allgatherv(const void* send, int64_t send_count, void* recv, const int64_t* counts, const int64_t* displs, int dtype, libcoll_comm comm);
LIBCOLL_C_API int libcoll_gatherv(const void* send, int64_t send_count, void* recv, const int64_t* counts, const int64_t* displs, int dtype, int root, libcoll_comm comm);
LIBCOLL_C_API int libcoll_scatterv(const void* send, const int64_t* counts, const int64_t* displs, void* recv, int64_t recv_count, int dtype, int root, libcoll_comm comm);
LIBCOLL_C_API int libcoll_alltoallv(const void* send, const int64_t* send_counts, const int64_t* send_displs, void* recv,
                                    const int64_t* recv_counts, const int64_t* recv_displs, int dtype, libcoll_comm comm);

/* -- Messages between two ranks, see libcoll::Message: host memory, tag >= 0; `source` may be LIBCOLL_ANY_SOURCE. */
#define LIBCOLL_ANY_SOURCE (-1)
typedef struct libcoll_message_s* libcoll_message;
LIBCOLL_C_API int libcoll_send(const void* data, size_t bytes, int dest, int tag, libcoll_comm comm);
/* *from = the sender's rank; may be NULL. */
LIBCOLL_C_API int libcoll_recv(void* data, size_t bytes, int source, int tag, libcoll_comm comm, int* from);
LIBCOLL_C_API int libcoll_isend(const void* data, size_t bytes, int dest, int tag, libcoll_comm comm, libcoll_message* message);
LIBCOLL_C_API int libcoll_irecv(void* data, size_t bytes, int source, int tag, libcoll_comm comm, libcoll_message* message);
/* *message is NULL again once it is done, be it with an error. *source = the sender's rank of a receive, else -1; may be NULL. */
LIBCOLL_C_API int libcoll_message_wait(libcoll_message* message, int* source);
LIBCOLL_C_API int libcoll_message_test(libcoll_message* message, int* done, int* source);
/* Gives up one that is under way; *message is NULL afterwards. */
LIBCOLL_C_API int libcoll_message_cancel(libcoll_message* message);

/* -- Started collectives: the same with a place for the request at the end, which is NULL again once it was
 *    waited for. What must stay until then: buffers, and what a user's operation points to. Nothing else. */
typedef struct libcoll_request_s* libcoll_request;
LIBCOLL_C_API int libcoll_ibarrier(libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_ibcast(void* buffer, int64_t count, int dtype, int root, libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_ireduce(const void* send, void* recv, int64_t count, int dtype, int op, int root, libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_iallreduce(const void* send, void* recv, int64_t count, int dtype, int op, libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_ireduce_scatter_block(const void* send, void* recv, int64_t recv_count, int dtype, int op, libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_ireduce_scatter(const void* send, void* recv, const int64_t* counts, int dtype, int op, libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_iscan(const void* send, void* recv, int64_t count, int dtype, int op, libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_iexscan(const void* send, void* recv, int64_t count, int dtype, int op, libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_ireduce_custom(const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op, int root,
         libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_iallreduce_custom(const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op, libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_ireduce_scatter_block_custom(const void* send, void* recv, int64_t recv_count, int dtype, const libcoll_custom_op* op,
         libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_iscan_custom(const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op, libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_iexscan_custom(const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op, libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_iallgather(const void* send, void* recv, int64_t count, int dtype, libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_igather(const void* send, void* recv, int64_t count, int dtype, int root, libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_iscatter(const void* send, void* recv, int64_t count, int dtype, int root, libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_ialltoall(const void* send, void* recv, int64_t count, int dtype, libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_iallgatherv(const void* send, int64_t send_count, void* recv, const int64_t* counts, const int64_t* displs, int dtype,
         libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_igatherv(const void* send, int64_t send_count, void* recv, const int64_t* counts, const int64_t* displs, int dtype,
         int root, libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_iscatterv(const void* send, const int64_t* counts, const int64_t* displs, void* recv, int64_t recv_count, int dtype,
         int root, libcoll_comm comm, libcoll_request* request);
LIBCOLL_C_API int libcoll_ialltoallv(const void* send, const int64_t* send_counts, const int64_t* send_displs, void* recv,
         const int64_t* recv_counts, const int64_t* recv_displs, int dtype, libcoll_comm comm, libcoll_request* request);
/* Each ends with the error of the collective, if it had one; the request is freed and set to NULL then, too. NULL is done. */
LIBCOLL_C_API int libcoll_wait(libcoll_request* request);
LIBCOLL_C_API int libcoll_test(libcoll_request* request, int* done);
/* Waits for all; the first error. */
LIBCOLL_C_API int libcoll_wait_all(int count, libcoll_request* requests);
/* Waits until one is done, sets it to NULL and *index to its place; count if all are NULL. */
LIBCOLL_C_API int libcoll_wait_any(int count, libcoll_request* requests, int* index);
/* Lets a collective that is under way go on by itself. */
LIBCOLL_C_API int libcoll_request_free(libcoll_request* request);

/* -- Persistent collectives: planned once, then started as often as one likes. Free it once it is done. */
typedef struct libcoll_persistent_s* libcoll_persistent;
LIBCOLL_C_API int libcoll_plan_barrier(libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_bcast(void* buffer, int64_t count, int dtype, int root, libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_reduce(const void* send, void* recv, int64_t count, int dtype, int op, int root, libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_allreduce(const void* send, void* recv, int64_t count, int dtype, int op, libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_reduce_scatter_block(const void* send, void* recv, int64_t recv_count, int dtype, int op, libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_reduce_scatter(const void* send, void* recv, const int64_t* counts, int dtype, int op, libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_scan(const void* send, void* recv, int64_t count, int dtype, int op, libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_exscan(const void* send, void* recv, int64_t count, int dtype, int op, libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_reduce_custom(const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op, int root,
         libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_allreduce_custom(const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op,
         libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_reduce_scatter_block_custom(const void* send, void* recv, int64_t recv_count, int dtype, const libcoll_custom_op* op,
         libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_scan_custom(const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op, libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_exscan_custom(const void* send, void* recv, int64_t count, int dtype, const libcoll_custom_op* op, libcoll_comm comm,
         libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_allgather(const void* send, void* recv, int64_t count, int dtype, libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_gather(const void* send, void* recv, int64_t count, int dtype, int root, libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_scatter(const void* send, void* recv, int64_t count, int dtype, int root, libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_alltoall(const void* send, void* recv, int64_t count, int dtype, libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_allgatherv(const void* send, int64_t send_count, void* recv, const int64_t* counts, const int64_t* displs, int dtype,
         libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_gatherv(const void* send, int64_t send_count, void* recv, const int64_t* counts, const int64_t* displs, int dtype,
         int root, libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_scatterv(const void* send, const int64_t* counts, const int64_t* displs, void* recv, int64_t recv_count, int dtype,
         int root, libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_plan_alltoallv(const void* send, const int64_t* send_counts, const int64_t* send_displs, void* recv,
         const int64_t* recv_counts, const int64_t* recv_displs, int dtype, libcoll_comm comm, libcoll_persistent* persistent);
LIBCOLL_C_API int libcoll_start(libcoll_persistent persistent);
LIBCOLL_C_API int libcoll_persistent_wait(libcoll_persistent persistent);
LIBCOLL_C_API int libcoll_persistent_test(libcoll_persistent persistent, int* done);
LIBCOLL_C_API int libcoll_persistent_free(libcoll_persistent* persistent);

#ifdef __cplusplus
}
#endif
#endif
