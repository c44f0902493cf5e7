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

/* Also what is wrong stays with this rank: the next call works. */
static void explanations(libcoll_comm c) {
  char text[4096], little[10];
  OK(libcoll_explain(c, "allreduce", N, LIBCOLL_I64, LIBCOLL_SUM, 0, text, sizeof text));
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
  errors(c);
  explanations(c);
  communicators(c);
  OK(libcoll_comm_close(&c));
  REQUIRE(c == NULL);
  if (rank == 0) printf("c_abi: passed on %d ranks\n", size);
  return 0;
}
