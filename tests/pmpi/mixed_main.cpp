// Blocking collectives, which run in libcoll, among non-blocking and persistent ones, which run in MPI, on one communicator
// in one order: neither waits for the other's ranks for longer than MPI lets it, and none gets the other's data.
#include <unistd.h>

#include "check.hpp"

namespace {

using namespace pmpi_test;

long sum_of(long each) { return each * size_of() * (size_of() + 1) / 2; }

// Outstanding around blocking calls, and completed in another order than started.
void check_outstanding(int i) {
  const long mine = (rank_of() + 1) * (i + 1);
  long started = 0, first = 0, second = 0, rooted = i;
  MPI_Request r[3];
  MPI_Ibarrier(MPI_COMM_WORLD, &r[0]);
  MPI_Allreduce(&mine, &first, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
  MPI_Iallreduce(&mine, &started, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD, &r[1]);
  MPI_Ibcast(&rooted, 1, MPI_LONG, size_of() - 1, MPI_COMM_WORLD, &r[2]);
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Allreduce(&first, &second, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
  MPI_Wait(&r[2], MPI_STATUS_IGNORE);
  MPI_Wait(&r[1], MPI_STATUS_IGNORE);
  MPI_Wait(&r[0], MPI_STATUS_IGNORE);
  require(first == sum_of(i + 1) && started == first && second == first * size_of() && rooted == i, "blocking calls among started ones, round " + std::to_string(i));
}

// One rank waits for what was started while the others are in a blocking call already: MPI's must go on in there.
void check_progress_of_started(int slow) {
  std::vector<double> in(1 << 17, rank_of() + 1), out(in.size());
  MPI_Request r;
  MPI_Iallreduce(in.data(), out.data(), static_cast<int>(in.size()), MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD, &r);
  if (rank_of() == slow) usleep(20000), MPI_Wait(&r, MPI_STATUS_IGNORE);
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank_of() != slow) MPI_Wait(&r, MPI_STATUS_IGNORE);
  require(out.front() == static_cast<double>(sum_of(1)) && out.back() == out.front(), "a started sum of 1 MiB");
}

// MPI 4's persistent collectives, where the MPI has them.
void check_persistent() {
#if MPI_VERSION >= 4
  long in = 0, out = 0, between = 0;
  MPI_Request sum, barrier;
  MPI_Allreduce_init(&in, &out, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD, MPI_INFO_NULL, &sum);
  MPI_Barrier_init(MPI_COMM_WORLD, MPI_INFO_NULL, &barrier);
  for (int i = 0; i < 10; ++i) {
    in = (rank_of() + 1) * (i + 1);
    const long one = 1;
    MPI_Start(&barrier);
    MPI_Start(&sum);
    MPI_Allreduce(&one, &between, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
    MPI_Wait(&sum, MPI_STATUS_IGNORE);
    MPI_Wait(&barrier, MPI_STATUS_IGNORE);
    require(out == sum_of(i + 1) && between == size_of(), "persistent calls, round " + std::to_string(i));
  }
  MPI_Request_free(&sum);
  MPI_Request_free(&barrier);
#endif
}

}  // namespace

// Usage: pmpi_mixed [ROUNDS].
int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 200;
  for (int i = 0; i < rounds; ++i) check_outstanding(i);
  for (int slow = 0; slow < size_of(); ++slow) check_progress_of_started(slow);
  check_persistent();
  passed();
  MPI_Finalize();
}
