/* Calls every function of libcoll.h, as a C11 program of any number of ranks that a launcher starts.
 * Exit code 0 if all results are right. */
#include <libcoll/libcoll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int rank, size;

static void fail(const char* what, int line) {
  fprintf(stderr, "rank %d of %d, line %d: %s; last error: %s\n", rank, size, line, what, libcoll_last_error());
  exit(1);
}
#define REQUIRE(condition) do { if (!(condition)) fail(#condition, __LINE__); } while (0)
#define OK(call) REQUIRE((call) == LIBCOLL_OK)

enum { N = 5, MOST = 64 };
static int64_t in[N * MOST], out[N * MOST];
static int64_t counts[MOST], displs[MOST];

static void fill(void) {
  for (int i = 0; i < N * size; ++i) in[i] = rank * 100 + i, out[i] = -1;
}
/* Sum over ranks 0 .. last of element i. */
static int64_t sum(int i, int last) { return (int64_t)(last + 1) * i + 100 * (int64_t)last * (last + 1) / 2; }

static void keep_right(const void* a, void* b, size_t n, int dtype, void* context) {
  (void)a; (void)b; (void)n;
  if (dtype == LIBCOLL_I64) ++*(int*)context;
}

static void reductions(libcoll_comm c) {
  const int last = size - 1;
  fill(); OK(libcoll_allreduce(in, out, N, LIBCOLL_I64, LIBCOLL_SUM, c));
  for (int i = 0; i < N; ++i) REQUIRE(out[i] == sum(i, last));
  fill(); OK(libcoll_allreduce(LIBCOLL_IN_PLACE, in, N, LIBCOLL_I64, LIBCOLL_MAX, c));
  REQUIRE(in[3] == last * 100 + 3);
  fill(); OK(libcoll_reduce(in, out, N, LIBCOLL_I64, LIBCOLL_SUM, last, c));
  REQUIRE(out[2] == (rank == last ? sum(2, last) : -1));
  fill(); OK(libcoll_reduce_scatter_block(in, out, N, LIBCOLL_I64, LIBCOLL_SUM, c));
  for (int i = 0; i < N; ++i) REQUIRE(out[i] == sum(rank * N + i, last));
  fill(); OK(libcoll_reduce_scatter(in, out, counts, LIBCOLL_I64, LIBCOLL_SUM, c));
  REQUIRE(out[0] == sum((int)displs[rank], last));
  fill(); OK(libcoll_scan(in, out, N, LIBCOLL_I64, LIBCOLL_SUM, c));
  REQUIRE(out[4] == sum(4, rank));
  fill(); OK(libcoll_exscan(in, out, N, LIBCOLL_I64, LIBCOLL_SUM, c));
  REQUIRE(out[1] == (rank == 0 ? -1 : sum(1, rank - 1)));

  int calls = 0;
  const libcoll_custom_op op = {keep_right, &calls, 0, 0};
  fill(); OK(libcoll_allreduce_custom(in, out, N, LIBCOLL_I64, &op, c));
  REQUIRE(out[2] == last * 100 + 2 && (size == 1 || calls > 0));
  fill(); OK(libcoll_reduce_custom(in, out, N, LIBCOLL_I64, &op, 0, c));
  REQUIRE(rank != 0 || out[2] == last * 100 + 2);
  fill(); OK(libcoll_reduce_scatter_block_custom(in, out, N, LIBCOLL_I64, &op, c));
  REQUIRE(out[0] == last * 100 + rank * N);
  fill(); OK(libcoll_scan_custom(in, out, N, LIBCOLL_I64, &op, c));
  REQUIRE(out[0] == rank * 100);
  fill(); OK(libcoll_exscan_custom(in, out, N, LIBCOLL_I64, &op, c));
  REQUIRE(out[0] == (rank == 0 ? -1 : (rank - 1) * 100));
}

static void movements(libcoll_comm c) {
  const int last = size - 1;
  OK(libcoll_barrier(c));
  fill(); OK(libcoll_bcast(in, N, LIBCOLL_I64, last, c));
  REQUIRE(in[4] == last * 100 + 4);
  fill(); OK(libcoll_allgather(in, out, N, LIBCOLL_I64, c));
  for (int r = 0; r < size; ++r) REQUIRE(out[r * N + 1] == r * 100 + 1);
  fill(); OK(libcoll_gather(in, out, N, LIBCOLL_I64, 0, c));
  REQUIRE(out[last * N] == (rank == 0 ? last * 100 : -1));
  fill(); OK(libcoll_scatter(in, out, N, LIBCOLL_I64, last, c));
  REQUIRE(out[1] == last * 100 + rank * N + 1);
  fill(); OK(libcoll_alltoall(in, out, N, LIBCOLL_I64, c));
  for (int r = 0; r < size; ++r) REQUIRE(out[r * N] == r * 100 + rank * N);
  fill(); OK(libcoll_allgatherv(in, counts[rank], out, counts, displs, LIBCOLL_I64, c));
  for (int r = 0; r < size; ++r) REQUIRE(out[displs[r]] == r * 100);
  fill(); OK(libcoll_gatherv(in, counts[rank], out, rank == 0 ? counts : NULL, rank == 0 ? displs : NULL, LIBCOLL_I64, 0, c));
  REQUIRE(out[displs[last]] == (rank == 0 ? last * 100 : -1));
  fill(); OK(libcoll_scatterv(in, rank == 0 ? counts : NULL, rank == 0 ? displs : NULL, out, counts[rank], LIBCOLL_I64, 0, c));
  REQUIRE(out[0] == displs[rank]);
  int64_t same[MOST];
  for (int r = 0; r < size; ++r) same[r] = 2;
  fill(); OK(libcoll_alltoallv(in, same, displs, out, same, displs, LIBCOLL_I64, c));
  for (int r = 0; r < size; ++r) REQUIRE(out[displs[r]] == r * 100 + displs[rank]);
}

/* -- Started and persistent forms. */

/* Runs a started call, then a planned one twice, checking the results of each. */
#define BOTH(started, planned, check) do { \
    libcoll_request r = NULL; \
    libcoll_persistent p = NULL; \
    fill(); OK(started); OK(libcoll_wait(&r)); REQUIRE(r == NULL); REQUIRE(check); \
    fill(); OK(planned); \
    for (int k = 0; k < 2; ++k) { fill(); OK(libcoll_start(p)); OK(libcoll_persistent_wait(p)); REQUIRE(check); } \
    OK(libcoll_persistent_free(&p)); REQUIRE(p == NULL); \
  } while (0)
enum { T = LIBCOLL_I64, SUM = LIBCOLL_SUM };

static void started_reductions(libcoll_comm c) {
  const int last = size - 1;
  BOTH(libcoll_iallreduce(in, out, N, T, SUM, c, &r), libcoll_plan_allreduce(in, out, N, T, SUM, c, &p), out[4] == sum(4, last));
  BOTH(libcoll_ireduce(in, out, N, T, SUM, last, c, &r), libcoll_plan_reduce(in, out, N, T, SUM, last, c, &p),
       out[2] == (rank == last ? sum(2, last) : -1));
  BOTH(libcoll_ireduce_scatter_block(in, out, N, T, SUM, c, &r), libcoll_plan_reduce_scatter_block(in, out, N, T, SUM, c, &p),
       out[1] == sum(rank * N + 1, last));
  int64_t own[MOST];
  int before = 0;
  for (int i = 0; i < size; ++i) own[i] = i % 3 + 1, before += i < rank ? i % 3 + 1 : 0;
  BOTH(libcoll_ireduce_scatter(in, out, own, T, SUM, c, &r), libcoll_plan_reduce_scatter(in, out, own, T, SUM, c, &p), out[0] == sum(before, last));
  BOTH(libcoll_iscan(in, out, N, T, SUM, c, &r), libcoll_plan_scan(in, out, N, T, SUM, c, &p), out[4] == sum(4, rank));
  BOTH(libcoll_iexscan(in, out, N, T, SUM, c, &r), libcoll_plan_exscan(in, out, N, T, SUM, c, &p), out[1] == (rank == 0 ? -1 : sum(1, rank - 1)));

  int calls = 0;
  libcoll_custom_op op = {keep_right, &calls, 0, 0};
  BOTH(libcoll_iallreduce_custom(in, out, N, T, &op, c, &r), libcoll_plan_allreduce_custom(in, out, N, T, &op, c, &p), out[2] == last * 100 + 2);
  BOTH(libcoll_ireduce_custom(in, out, N, T, &op, 0, c, &r), libcoll_plan_reduce_custom(in, out, N, T, &op, 0, c, &p),
       rank != 0 || out[2] == last * 100 + 2);
  BOTH(libcoll_ireduce_scatter_block_custom(in, out, N, T, &op, c, &r), libcoll_plan_reduce_scatter_block_custom(in, out, N, T, &op, c, &p),
       out[0] == last * 100 + rank * N);
  BOTH(libcoll_iscan_custom(in, out, N, T, &op, c, &r), libcoll_plan_scan_custom(in, out, N, T, &op, c, &p), out[0] == rank * 100);
  BOTH(libcoll_iexscan_custom(in, out, N, T, &op, c, &r), libcoll_plan_exscan_custom(in, out, N, T, &op, c, &p),
       out[0] == (rank == 0 ? -1 : (rank - 1) * 100));
  REQUIRE(size == 1 || calls > 0);
}

static void started_movements(libcoll_comm c) {
  const int last = size - 1;
  BOTH(libcoll_ibarrier(c, &r), libcoll_plan_barrier(c, &p), out[0] == -1);
  BOTH(libcoll_ibcast(in, N, T, last, c, &r), libcoll_plan_bcast(in, N, T, last, c, &p), in[4] == last * 100 + 4);
  BOTH(libcoll_iallgather(in, out, N, T, c, &r), libcoll_plan_allgather(in, out, N, T, c, &p), out[last * N + 1] == last * 100 + 1);
  BOTH(libcoll_igather(in, out, N, T, 0, c, &r), libcoll_plan_gather(in, out, N, T, 0, c, &p), out[last * N] == (rank == 0 ? last * 100 : -1));
  BOTH(libcoll_iscatter(in, out, N, T, last, c, &r), libcoll_plan_scatter(in, out, N, T, last, c, &p), out[1] == last * 100 + rank * N + 1);
  BOTH(libcoll_ialltoall(in, out, N, T, c, &r), libcoll_plan_alltoall(in, out, N, T, c, &p), out[last * N] == last * 100 + rank * N);
  BOTH(libcoll_iallgatherv(in, counts[rank], out, counts, displs, T, c, &r), libcoll_plan_allgatherv(in, counts[rank], out, counts, displs, T, c, &p),
       out[displs[last]] == last * 100);
  const int64_t* root_counts = rank == 0 ? counts : NULL;
  const int64_t* root_displs = rank == 0 ? displs : NULL;
  BOTH(libcoll_igatherv(in, counts[rank], out, root_counts, root_displs, T, 0, c, &r),
       libcoll_plan_gatherv(in, counts[rank], out, root_counts, root_displs, T, 0, c, &p), out[displs[last]] == (rank == 0 ? last * 100 : -1));
  BOTH(libcoll_iscatterv(in, root_counts, root_displs, out, counts[rank], T, 0, c, &r),
       libcoll_plan_scatterv(in, root_counts, root_displs, out, counts[rank], T, 0, c, &p), out[0] == displs[rank]);
  int64_t same[MOST];
  for (int i = 0; i < size; ++i) same[i] = 2;
  BOTH(libcoll_ialltoallv(in, same, displs, out, same, displs, T, c, &r), libcoll_plan_alltoallv(in, same, displs, out, same, displs, T, c, &p),
       out[displs[last]] == last * 100 + displs[rank]);
}

static void requests(libcoll_comm c) {
  libcoll_request r[3] = {NULL, NULL, NULL};
  libcoll_persistent p = NULL;
  int64_t sums[3] = {0, 0, 0}, one = 1;
  int done = 0, index = -1, seen = 0;
  for (int i = 0; i < 3; ++i) OK(libcoll_iallreduce(&one, sums + i, 1, T, SUM, c, r + i));
  for (; libcoll_wait_any(3, r, &index) == LIBCOLL_OK && index != 3; ++seen) REQUIRE(r[index] == NULL && sums[index] == size);
  REQUIRE(seen == 3);
  for (int i = 0; i < 3; ++i) OK(libcoll_iallreduce(&one, sums + i, 1, T, LIBCOLL_MAX, c, r + i));
  OK(libcoll_wait_all(3, r));
  REQUIRE(sums[0] == 1 && sums[2] == 1 && r[0] == NULL && r[2] == NULL);
  OK(libcoll_ibarrier(c, r));
  while (!done) OK(libcoll_test(r, &done));
  REQUIRE(r[0] == NULL);
  OK(libcoll_wait(r));
  OK(libcoll_ibarrier(c, r));
  OK(libcoll_request_free(r));
  OK(libcoll_barrier(c));
  OK(libcoll_plan_allreduce(&one, sums, 1, T, SUM, c, &p));
  OK(libcoll_start(p));
  for (done = 0; !done;) OK(libcoll_persistent_test(p, &done));
  REQUIRE(sums[0] == size);
  OK(libcoll_start(p));
  REQUIRE(libcoll_start(p) == LIBCOLL_ERR_INVALID_ARGUMENT);
  OK(libcoll_persistent_wait(p));
  OK(libcoll_persistent_free(&p));

  REQUIRE(libcoll_iallreduce(in, out, -1, T, SUM, c, r) == LIBCOLL_ERR_INVALID_ARGUMENT && r[0] == NULL);
  REQUIRE(libcoll_plan_allreduce(in, out, -1, T, SUM, c, &p) == LIBCOLL_ERR_INVALID_ARGUMENT && p == NULL);
  REQUIRE(libcoll_iallreduce_custom(in, out, 1, T, NULL, c, r) == LIBCOLL_ERR_INVALID_ARGUMENT && r[0] == NULL);
  REQUIRE(libcoll_ibarrier(c, NULL) == LIBCOLL_ERR_INVALID_ARGUMENT && libcoll_ibarrier(NULL, r) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(libcoll_wait(NULL) == LIBCOLL_ERR_INVALID_ARGUMENT && libcoll_test(r, NULL) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(libcoll_wait_all(-1, r) == LIBCOLL_ERR_INVALID_ARGUMENT && libcoll_wait_any(1, NULL, &index) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(libcoll_start(NULL) == LIBCOLL_ERR_INVALID_ARGUMENT && libcoll_persistent_wait(NULL) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(libcoll_persistent_test(NULL, &done) == LIBCOLL_ERR_INVALID_ARGUMENT && libcoll_persistent_free(NULL) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(libcoll_request_free(NULL) == LIBCOLL_ERR_INVALID_ARGUMENT);
  OK(libcoll_wait_any(3, r, &index));
  REQUIRE(index == 3);
  OK(libcoll_barrier(c));
}

static void errors(libcoll_comm c) {
  REQUIRE(libcoll_allreduce(in, out, -1, LIBCOLL_I64, LIBCOLL_SUM, c) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(strstr(libcoll_last_error(), "count") != NULL);
  REQUIRE(libcoll_allreduce(in, out, 1, 1000, LIBCOLL_SUM, c) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(libcoll_allreduce(in, out, 1, -1, LIBCOLL_SUM, c) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(libcoll_allreduce(in, out, 1, LIBCOLL_I64, 13, c) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(libcoll_allreduce_custom(in, out, 1, LIBCOLL_I64, NULL, c) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(libcoll_allgatherv(in, 1, out, NULL, NULL, LIBCOLL_I64, c) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(libcoll_bcast(in, 1, LIBCOLL_I64, size, c) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(libcoll_barrier(NULL) == LIBCOLL_ERR_INVALID_ARGUMENT);
  libcoll_comm none = NULL;
  REQUIRE(libcoll_comm_close(&none) == LIBCOLL_ERR_INVALID_ARGUMENT && libcoll_comm_close(NULL) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(libcoll_comm_dup(NULL, &none) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(libcoll_comm_split(NULL, 0, 0, &none) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(libcoll_comm_split_level(c, 99, &none) == LIBCOLL_ERR_INVALID_ARGUMENT && none == NULL);
  REQUIRE(libcoll_free(c, in) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(strcmp(libcoll_error_name(LIBCOLL_ERR_MISMATCH), "mismatch") == 0);
  OK(libcoll_barrier(c));
}

static void traffic(libcoll_comm c) {
  libcoll_host_traffic one;
  int hosts = -1;
  OK(libcoll_network_traffic(c, NULL, 0, &hosts));
  REQUIRE(hosts >= 0);
  OK(libcoll_network_traffic(c, &one, 1, &hosts));
  REQUIRE(hosts == 0 || strlen(one.host) > 0);
  REQUIRE(libcoll_network_traffic(c, NULL, 1, &hosts) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(libcoll_network_traffic(c, &one, 1, NULL) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(libcoll_network_traffic(NULL, &one, 1, &hosts) == LIBCOLL_ERR_INVALID_ARGUMENT);
}

/* Also what is wrong stays with this rank: the next call works. */
static void explanations(libcoll_comm c) {
  char text[4096], little[10];
  OK(libcoll_explain(c, "allreduce", N, LIBCOLL_I64, LIBCOLL_SUM, 0, text, sizeof text));
  {
    libcoll_call_options options = {0};
    int64_t one = 1, sum = 0;
    options.algorithm = size > 1 ? "sliced" : NULL;
    options.determinism = LIBCOLL_RUN_TO_RUN;
    options.timeout_s = 60;
    OK(libcoll_set_call_options(c, &options));
    OK(libcoll_allreduce(&one, &sum, 1, LIBCOLL_I64, LIBCOLL_SUM, c));
    REQUIRE(sum == size);
    options.algorithm = "no such thing";
    OK(libcoll_set_call_options(c, &options));
    REQUIRE(libcoll_explain(c, "allreduce", N, LIBCOLL_I64, LIBCOLL_SUM, 0, text, sizeof text) == LIBCOLL_ERR_INVALID_ARGUMENT);
    options.memory = 77;
    REQUIRE(libcoll_set_call_options(c, &options) == LIBCOLL_ERR_INVALID_ARGUMENT);
    /* Without CUDA there are no streams. */
    options = (libcoll_call_options){.has_stream = 1};
    OK(libcoll_set_call_options(c, &options));
    REQUIRE(libcoll_allreduce(&one, &sum, 1, LIBCOLL_I64, LIBCOLL_SUM, c) == LIBCOLL_ERR_INVALID_ARGUMENT);
    OK(libcoll_set_call_options(c, NULL));
    OK(libcoll_allreduce(&one, &sum, 1, LIBCOLL_I64, LIBCOLL_SUM, c));
    REQUIRE(sum == size);
    OK(libcoll_explain(c, "allreduce", N, LIBCOLL_I64, LIBCOLL_SUM, 0, text, sizeof text));
  }
  REQUIRE(strncmp(text, "allreduce of 5 i64", 18) == 0 && strstr(text, "predicted") != NULL);
  OK(libcoll_explain(c, "allreduce", N, LIBCOLL_I64, LIBCOLL_SUM, 0, little, sizeof little));
  REQUIRE(strcmp(little, "allreduce") == 0);
  if (rank == 0) {
    REQUIRE(libcoll_explain(c, "alreduce", N, LIBCOLL_I64, LIBCOLL_SUM, 0, text, sizeof text) == LIBCOLL_ERR_INVALID_ARGUMENT);
    REQUIRE(strstr(libcoll_last_error(), "\"alreduce\"") != NULL);
    REQUIRE(libcoll_explain(c, NULL, N, LIBCOLL_I64, LIBCOLL_SUM, 0, text, sizeof text) == LIBCOLL_ERR_INVALID_ARGUMENT);
    REQUIRE(libcoll_explain(c, "bcast", N, LIBCOLL_I64, LIBCOLL_SUM, size, text, sizeof text) == LIBCOLL_ERR_INVALID_ARGUMENT);
    REQUIRE(libcoll_explain(c, "barrier", 0, LIBCOLL_I64, LIBCOLL_SUM, 0, text, 0) == LIBCOLL_ERR_INVALID_ARGUMENT);
  }
  OK(libcoll_barrier(c));
}

static void messages(libcoll_comm c) {
  const int right = (rank + 1) % size, left = (rank + size - 1) % size;
  libcoll_message m = NULL, n = NULL;
  int64_t got = -1, mine = rank;
  int from = -1, done = 0;
  OK(libcoll_isend(&mine, sizeof mine, right, 3, c, &m));
  OK(libcoll_recv(&got, sizeof got, LIBCOLL_ANY_SOURCE, 3, c, &from));
  REQUIRE(got == left && from == left);
  OK(libcoll_message_wait(&m, NULL));
  REQUIRE(m == NULL);
  OK(libcoll_message_wait(&m, NULL));
  OK(libcoll_irecv(&got, sizeof got, left, 4, c, &n));
  mine = 100 + rank;
  OK(libcoll_send(&mine, sizeof mine, right, 4, c));
  for (from = -1; !done;) OK(libcoll_message_test(&n, &done, &from));
  REQUIRE(n == NULL && got == 100 + left && from == left);
  OK(libcoll_irecv(&got, sizeof got, left, 5, c, &n));
  OK(libcoll_message_cancel(&n));
  REQUIRE(n == NULL);
  OK(libcoll_message_cancel(&n));
  OK(libcoll_barrier(c));
  OK(libcoll_isend(&mine, 4, right, 6, c, &m));
  OK(libcoll_irecv(&got, sizeof got, left, 6, c, &n));
  REQUIRE(libcoll_message_wait(&n, &from) == LIBCOLL_ERR_MISMATCH && n == NULL);
  OK(libcoll_message_wait(&m, &from));
  REQUIRE(from == -1);
  REQUIRE(libcoll_send(&mine, 8, size, 0, c) == LIBCOLL_ERR_INVALID_ARGUMENT && strstr(libcoll_last_error(), "dest is") != NULL);
  REQUIRE(libcoll_irecv(&got, 8, 0, -1, c, &n) == LIBCOLL_ERR_INVALID_ARGUMENT && n == NULL);
  REQUIRE(libcoll_isend(&mine, 8, 0, 0, c, NULL) == LIBCOLL_ERR_INVALID_ARGUMENT && libcoll_message_wait(NULL, NULL) == LIBCOLL_ERR_INVALID_ARGUMENT);
  REQUIRE(libcoll_message_test(&n, NULL, NULL) == LIBCOLL_ERR_INVALID_ARGUMENT && libcoll_message_cancel(NULL) == LIBCOLL_ERR_INVALID_ARGUMENT);
}

static void hook(void* context) { ++*(int*)context; }

static int own_allgather(const void* send, void* recv, size_t bytes, void* context) {
  return libcoll_allgather(send, recv, (int64_t)bytes, LIBCOLL_BYTE, (libcoll_comm)context);
}
static int failing_allgather(const void* send, void* recv, size_t bytes, void* context) {
  (void)send; (void)recv; (void)bytes; (void)context;
  return 17;
}

static void communicators(libcoll_comm c) {
  libcoll_comm a = NULL, b = NULL, other = NULL;
  int n = 0, me = -1, polls = 0;
  OK(libcoll_comm_dup(c, &a));
  OK(libcoll_comm_split(c, rank == 0 ? -1 : 4, -rank, &b));
  REQUIRE((b == NULL) == (rank == 0));
  if (b != NULL) {
    OK(libcoll_comm_size(b, &n));
    OK(libcoll_comm_rank(b, &me));
    REQUIRE(n == size - 1 && me == size - 1 - rank);
    OK(libcoll_comm_close(&b));
    REQUIRE(b == NULL);
  }
  OK(libcoll_comm_dup(c, &b));
  OK(libcoll_comm_abort(b, "a test says so"));
  REQUIRE(libcoll_barrier(b) != LIBCOLL_OK);
  REQUIRE(libcoll_comm_abort(NULL, NULL) == LIBCOLL_ERR_INVALID_ARGUMENT);
  (void)libcoll_comm_close(&b);
  REQUIRE(b == NULL);
  OK(libcoll_comm_split_level(c, LIBCOLL_HOST, &b));
  OK(libcoll_comm_size(b, &n));
  REQUIRE(n == size);
  OK(libcoll_comm_close(&b));
  OK(libcoll_comm_from_callback(rank, size, own_allgather, a, &other));
  REQUIRE(libcoll_comm_from_callback(rank, size, failing_allgather, NULL, &b) == LIBCOLL_ERR_BOOTSTRAP && b == NULL);
  REQUIRE(libcoll_comm_from_callback(rank, size, NULL, NULL, &b) == LIBCOLL_ERR_INVALID_ARGUMENT);
  OK(libcoll_comm_set_progress_hook(other, hook, &polls));
  void* memory = NULL;
  OK(libcoll_allocate(other, 4096, &memory));
  *(int32_t*)memory = rank;
  OK(libcoll_allreduce(LIBCOLL_IN_PLACE, memory, 1, LIBCOLL_I32, LIBCOLL_MAX, other));
  REQUIRE(*(int32_t*)memory == size - 1);
  OK(libcoll_free(other, memory));
  OK(libcoll_comm_close(&other));
  OK(libcoll_comm_close(&a));
}

int main(void) {
  libcoll_comm c = NULL;
  OK(libcoll_comm_from_environment(&c));
  OK(libcoll_comm_rank(c, &rank));
  OK(libcoll_comm_size(c, &size));
  REQUIRE(size <= MOST && rank < size && libcoll_version()[0] != 0);
  for (int r = 0; r < size; ++r) counts[r] = r % 3 + 1, displs[r] = r == 0 ? 0 : displs[r - 1] + counts[r - 1];
  /* reduce_scatter has its blocks back to back; alltoallv takes two of each, which may overlap in `in` only. */
  reductions(c);
  for (int r = 0; r < size; ++r) displs[r] = r * 3;
  movements(c);
  started_reductions(c);
  started_movements(c);
  requests(c);
  messages(c);
  errors(c);
  traffic(c);
  explanations(c);
  communicators(c);
  OK(libcoll_comm_close(&c));
  REQUIRE(c == NULL);
  if (rank == 0) printf("c_abi: passed on %d ranks\n", size);
  return 0;
}
