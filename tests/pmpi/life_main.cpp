// What programs do around collectives: communicators by the thousand and of every origin, attributes that use
// collectives while MPI is finalized, error handlers, traffic of MPI's own while ranks wait, fork, user operations.
#include <sys/wait.h>
#include <unistd.h>

#include "check.hpp"
#include "tests/support/memory.hpp"

namespace {

using namespace pmpi_test;
using libcoll::test::resident_kib;

// A sum over the communicator that comes out right only if all its members, and nobody else, took part.
void check_sum(MPI_Comm c, const char* what) {
  const int n = size_of(c), me = rank_of(c);
  long in = me + 1, out = 0;
  require(MPI_Allreduce(&in, &out, 1, MPI_LONG, MPI_SUM, c) == MPI_SUCCESS && out == static_cast<long>(n) * (n + 1) / 2, std::string("sum over ") + what);
  int root = me == n - 1 ? 77 : 0;
  MPI_Bcast(&root, 1, MPI_INT, n - 1, c);
  require(root == 77, std::string("bcast over ") + what);
}

// Where a run that hangs has come to.
void stage(const char* name) {
  if (std::getenv("PMPI_TEST_TRACE") != nullptr) std::fprintf(stderr, "rank %d: %s\n", rank_of(), name);
}

// MPICH's barriers between ranks that share a CPU take a scheduler's tick: `rounds` is the caller's.
void check_churn(int rounds) {
  const auto churn = [](int n) {
    for (int i = 0; i < n; ++i) {
      MPI_Comm copy;
      PMPI_Comm_dup(MPI_COMM_WORLD, &copy);
      if (i % 10 == 0) check_sum(copy, "a dup");
      if (i % 100 == 0) {
        std::vector<double> in(20000, 1), out(20000);
        MPI_Allreduce(in.data(), out.data(), 20000, MPI_DOUBLE, MPI_SUM, copy);
      }
      PMPI_Comm_free(&copy);
    }
  };
  churn(rounds / 5);
  const long before = resident_kib();
  churn(rounds);
  require(resident_kib() < before + 4096, "memory grew from " + std::to_string(before) + " to " + std::to_string(resident_kib()) + " KiB over dup and free");
}

void check_origins() {
  const int me = rank_of(), n = size_of();
  MPI_Comm c, d, local;
  MPI_Comm_split(MPI_COMM_WORLD, me % 2, -me, &c);
  check_sum(c, "a reversed half");
  MPI_Comm_dup(c, &d);
  check_sum(d, "its dup");
  MPI_Comm_free(&c);
  check_sum(d, "the dup after its parent");
  MPI_Comm_free(&d);
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local);
  check_sum(local, "a host");
  const int dims[] = {size_of(local)}, periods[] = {1};
  MPI_Cart_create(local, 1, dims, periods, 1, &c);
  if (c != MPI_COMM_NULL) check_sum(c, "a ring"), MPI_Comm_free(&c);
  MPI_Comm_free(&local);
  MPI_Group world, some;
  MPI_Comm_group(MPI_COMM_WORLD, &world);
  std::vector<int> upper;
  for (int r = n / 2; r < n; ++r) upper.push_back(r);
  MPI_Group_incl(world, static_cast<int>(upper.size()), upper.data(), &some);
  if (me >= n / 2) {  // the others know nothing of it
    MPI_Comm_create_group(MPI_COMM_WORLD, some, 5, &c);
    check_sum(c, "a group");
    MPI_Comm_free(&c);
  }
  MPI_Group_free(&some);
  MPI_Group_free(&world);
  check_sum(MPI_COMM_SELF, "self");
  if (n < 2) return;
  // An intercommunicator: passed down, sums are the other side's.
  MPI_Comm_split(MPI_COMM_WORLD, me % 2, 0, &c);
  MPI_Intercomm_create(c, 0, MPI_COMM_WORLD, 1 - me % 2, 9, &d);
  int one = 1, theirs = 0, there = 0;
  MPI_Allreduce(&one, &theirs, 1, MPI_INT, MPI_SUM, d);
  MPI_Comm_remote_size(d, &there);
  require(theirs == there, "sum over an intercommunicator");
  MPI_Intercomm_merge(d, me % 2, &local);
  check_sum(local, "a merged intercommunicator");
  MPI_Comm_free(&local);
  MPI_Comm_free(&d);
  MPI_Comm_free(&c);
}

int errors_seen = 0;
void count_error(MPI_Comm*, int* code, ...) {
  ++errors_seen;
  require(class_of(*code) == MPI_ERR_ROOT || class_of(*code) == MPI_ERR_COUNT || class_of(*code) == MPI_ERR_TYPE || class_of(*code) == MPI_ERR_OP, "an error of another class");
}

// MPI's own errors, of the classes that MPI gives them, through the handler of the communicator that was used.
// Who has left a collective owes it nothing, even if it makes no other one for long: leaves of a reduction wait in MPI for
// the root, which has their messages yet to receive, and the root of a broadcast for its leaves.
void check_waits_in_mpi() {
  const int me = rank_of(), n = size_of();
  for (const int count : {1, 5000, 100000, 600000}) {
    for (int i = 0; i < 6; ++i) {
      std::vector<double> in(static_cast<std::size_t>(count), me + 1), out(in);
      const int root = i % n;
      MPI_Reduce(in.data(), out.data(), count, MPI_DOUBLE, MPI_SUM, root, MPI_COMM_WORLD);
      int word = 0;
      if (me == root) {
        require(out.back() == n * (n + 1) / 2, "reduction before a wait in MPI");
        for (int r = 0; r < n; ++r)
          if (r != root) PMPI_Send(&word, 1, MPI_INT, r, 7, MPI_COMM_WORLD);
      } else {
        PMPI_Recv(&word, 1, MPI_INT, root, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      }
      MPI_Bcast(out.data(), count, MPI_DOUBLE, root, MPI_COMM_WORLD);
      require(out.front() == n * (n + 1) / 2, "broadcast before a wait in MPI");
      if (me != root) {
        PMPI_Send(&word, 1, MPI_INT, root, 8, MPI_COMM_WORLD);
      } else {
        for (int r = 1; r < n; ++r) PMPI_Recv(&word, 1, MPI_INT, MPI_ANY_SOURCE, 8, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      }
    }
  }
}

void check_errors() {
  MPI_Comm c;
  MPI_Comm_dup(MPI_COMM_WORLD, &c);
  MPI_Errhandler h;
  MPI_Comm_create_errhandler(count_error, &h);
  MPI_Comm_set_errhandler(c, h);
  int a = 1, b = 0;
  const int n = size_of();
  // MPICH 5.0 returns success once a handler has returned.
  const bool returned = PMPI_Bcast(&a, 1, MPI_INT, n + 3, c) != MPI_SUCCESS;
  errors_seen = 0;
  const auto refused = [&](int code, int wanted) { return class_of(code) == (returned ? wanted : MPI_SUCCESS); };
  require(refused(MPI_Bcast(&a, 1, MPI_INT, n + 3, c), MPI_ERR_ROOT), "bcast from a root that is none");
  require(refused(MPI_Bcast(&a, -1, MPI_INT, 0, c), MPI_ERR_COUNT), "a negative count");
  require(refused(MPI_Allreduce(&a, &b, 1, MPI_INT, MPI_OP_NULL, c), MPI_ERR_OP), "MPI_OP_NULL");
  require(refused(MPI_Bcast(&a, 1, MPI_DATATYPE_NULL, 0, c), MPI_ERR_TYPE), "MPI_DATATYPE_NULL");
  MPI_Datatype raw;
  MPI_Type_vector(2, 1, 2, MPI_INT, &raw);
  require(refused(MPI_Bcast(&a, 1, raw, 0, c), MPI_ERR_TYPE), "a type that is not committed");
  MPI_Type_free(&raw);
  require(errors_seen == 5, "the handler saw " + std::to_string(errors_seen) + " errors of 5");
  check_sum(c, "a communicator after errors");
  MPI_Errhandler_free(&h);
  MPI_Comm_free(&c);
  MPI_Errhandler old;
  MPI_Comm_get_errhandler(MPI_COMM_WORLD, &old);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  require(class_of(MPI_Barrier(MPI_COMM_NULL)) == MPI_ERR_COMM, "MPI_COMM_NULL");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, old);
  MPI_Errhandler_free(&old);
}

// The partner receives only when we wait in the barrier already: MPI must move the message on there. Strided, so that the
// receiver cannot fetch it without our help.
void check_progress() {
  const int me = rank_of(), n = size_of();
  if (n < 2) return;
  constexpr int count = 1 << 17;
  std::vector<double> out(2 * count, 1.5), in(count);
  MPI_Datatype strided;
  MPI_Type_vector(count, 1, 2, MPI_DOUBLE, &strided);
  MPI_Type_commit(&strided);
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Request r = MPI_REQUEST_NULL;
  if (me == 0) MPI_Isend(out.data(), 1, strided, 1, 3, MPI_COMM_WORLD, &r);
  if (me == 1) {
    usleep(50000);
    MPI_Recv(in.data(), count, MPI_DOUBLE, 0, 3, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    require(in[count - 1] == 1.5, "the message");
  }
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Wait(&r, MPI_STATUS_IGNORE);
  MPI_Type_free(&strided);
}

// What was sent before a barrier is there after it, at the first look: MPI does not promise it, but programs count on it.
void check_seen_after_barrier() {
  const int me = rank_of(), n = size_of();
  MPI_Comm host;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
  const bool one_host = size_of(host) == n;
  MPI_Comm_free(&host);
  if (n < 2 || !one_host) return;  // between hosts MPI's messages and ours take different ways
  int memory = 0;
  MPI_Win window;
  MPI_Win_create(&memory, sizeof memory, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &window);
  MPI_Group world, others, first;
  MPI_Comm_group(MPI_COMM_WORLD, &world);
  const int zero = 0;
  MPI_Group_excl(world, 1, &zero, &others);
  MPI_Group_incl(world, 1, &zero, &first);
  for (int round = 0; round < 20; ++round) {
    int there = 0, value = me;
    MPI_Send(&value, 1, MPI_INT, (me + 1) % n, 4, MPI_COMM_WORLD);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Iprobe((me + n - 1) % n, 4, MPI_COMM_WORLD, &there, MPI_STATUS_IGNORE);
    require(there != 0, "MPI_Iprobe after a barrier does not see a message sent before it");
    MPI_Recv(&value, 1, MPI_INT, (me + n - 1) % n, 4, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (me == 0) MPI_Win_start(others, 0, window);
    else MPI_Win_post(first, 0, window);
    MPI_Barrier(MPI_COMM_WORLD);
    if (me == 0) MPI_Win_complete(window);
    MPI_Barrier(MPI_COMM_WORLD);
    if (me == 0) continue;
    MPI_Win_test(window, &there);
    require(there != 0, "MPI_Win_test after a barrier does not see what was completed before it");
  }
  MPI_Group_free(&world);
  MPI_Group_free(&others);
  MPI_Group_free(&first);
  MPI_Win_free(&window);
}

// 2x2 matrices modulo a prime: associative, not commutative. As four longs, a contiguous type, and one with a gap.
struct Matrix { long m[4]; };
constexpr long prime = 10007;
Matrix times(const Matrix& a, const Matrix& b) {
  return {{(a.m[0] * b.m[0] + a.m[1] * b.m[2]) % prime, (a.m[0] * b.m[1] + a.m[1] * b.m[3]) % prime, (a.m[2] * b.m[0] + a.m[3] * b.m[2]) % prime,
           (a.m[2] * b.m[1] + a.m[3] * b.m[3]) % prime}};
}
void multiply(void* in, void* inout, int* count, MPI_Datatype* type) {
  MPI_Aint lower = 0, extent = 0;
  MPI_Type_get_extent(*type, &lower, &extent);
  require(extent == sizeof(Matrix) || extent == 2 * sizeof(Matrix), "the type that a user operation got");
  for (int i = 0; i < *count; ++i) {
    auto* a = reinterpret_cast<Matrix*>(static_cast<char*>(in) + i * extent);
    auto* b = reinterpret_cast<Matrix*>(static_cast<char*>(inout) + i * extent);
    *b = times(*a, *b);
  }
}

void check_user_operation() {
  const int n = size_of(), me = rank_of();
  MPI_Op op;
  MPI_Op_create(multiply, 0, &op);
  MPI_Datatype packed, gapped;
  MPI_Type_contiguous(4, MPI_LONG, &packed);
  MPI_Type_create_resized(packed, 0, 2 * sizeof(Matrix), &gapped);
  MPI_Type_commit(&packed);
  MPI_Type_commit(&gapped);
  for (const int count : {1, 5, 3000}) {
    std::vector<Matrix> in(static_cast<std::size_t>(2 * count)), ours(in.size(), Matrix{{-1, -1, -1, -1}}), mpis = ours;
    for (std::size_t i = 0; i < in.size(); ++i) in[i] = {{me + 1, static_cast<long>(i % 13), me + 2, static_cast<long>(i % 7) + me}};
    const auto check = [&](const char* what) { require(std::memcmp(ours.data(), mpis.data(), ours.size() * sizeof(Matrix)) == 0, std::string("user operation: ") + what); };
    for (const MPI_Datatype t : {packed, gapped}) {
      MPI_Allreduce(in.data(), ours.data(), count, t, op, MPI_COMM_WORLD), PMPI_Allreduce(in.data(), mpis.data(), count, t, op, MPI_COMM_WORLD);
      check("allreduce");
      MPI_Reduce(in.data(), ours.data(), count, t, op, n - 1, MPI_COMM_WORLD), PMPI_Reduce(in.data(), mpis.data(), count, t, op, n - 1, MPI_COMM_WORLD);
      check("reduce");
      MPI_Scan(in.data(), ours.data(), count, t, op, MPI_COMM_WORLD), PMPI_Scan(in.data(), mpis.data(), count, t, op, MPI_COMM_WORLD);
      check("scan");
      MPI_Exscan(in.data(), ours.data(), count, t, op, MPI_COMM_WORLD), PMPI_Exscan(in.data(), mpis.data(), count, t, op, MPI_COMM_WORLD);
      check("exscan");
    }
  }
  MPI_Type_free(&packed);
  MPI_Type_free(&gapped);
  MPI_Op_free(&op);
}

void check_fork() {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    if (std::system("true") != 0) _exit(1);
    std::exit(0);  // with destructors and all
  }
  int status = -1;
  require(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0, "a forked child did not end well");
  check_sum(MPI_COMM_WORLD, "the world after a fork");
}

// Deleted when MPI is finalized: collectives still work in it.
int use_world(MPI_Comm, int, void* value, void*) {
  check_sum(MPI_COMM_WORLD, "the world during MPI_Finalize");
  ++*static_cast<int*>(value);
  return MPI_SUCCESS;
}

}  // namespace

// Usage: pmpi_life [ROUNDS] of churn.
int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  static int called = 0;
  int key = 0;
  MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, use_world, &key, nullptr);
  MPI_Comm_set_attr(MPI_COMM_SELF, key, &called);
  MPI_Comm early;  // before any collective on all ranks: MPI's, then ours
  MPI_Comm_split(MPI_COMM_WORLD, rank_of() % 2, 0, &early);
  check_sum(early, "an early half");
  check_sum(MPI_COMM_WORLD, "the world");
  stage("waits in MPI");
  check_waits_in_mpi();
  stage("progress");
  check_progress();
  check_seen_after_barrier();
  for (int i = 0; i < 10; ++i) check_sum(early, "an early half, later");
  stage("origins");
  check_origins();
  stage("errors");
  check_errors();
  stage("user operation");
  check_user_operation();
  stage("churn");
  check_churn(argc > 1 ? std::atoi(argv[1]) : 10000);
  stage("fork");
  check_fork();
  passed();
  MPI_Finalize();  // `early` is never freed
  return called == 1 ? 0 : 1;
}
