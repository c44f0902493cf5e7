// The body under mpirun: built once against each MPI of the machine.
#include <mpi.h>

#include <cstdio>
#include <exception>

#include "libcoll/mpi.hpp"
#include "tests/multiproc/body.hpp"
#include "tests/support/values.hpp"

int main(int argc, char** argv) {
  using namespace libcoll;
  MPI_Init(&argc, &argv);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  unsigned long long seed = test::test_seed();
  MPI_Bcast(&seed, 1, MPI_UNSIGNED_LONG_LONG, 0, MPI_COMM_WORLD);
  try {
    Comm world = Comm::from_mpi(MPI_COMM_WORLD);
    test::run_body(world, {.seed = seed, .scale = test::test_scale(), .every_type = world.size() <= 3});
    // MPI goes on beside libcoll, and a second world on a part of the ranks works.
    MPI_Comm half;
    MPI_Comm_split(MPI_COMM_WORLD, rank % 2, 0, &half);
    Comm other = Comm::from_mpi(half);
    test::run_smoke(other, seed);
    other.close();
    world.close();
    MPI_Comm_free(&half);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "rank %d: %s\nLIBCOLL_TEST_SEED=%llu repeats this run\n", rank, e.what(), seed);
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  if (rank == 0) std::printf("body: passed\n");
  return 0;
}
