// The body started by any launcher that libcoll knows from the environment: hosts.py, torchrun, mpirun.
#include <cstdio>
#include <exception>

#include "libcoll/libcoll.hpp"
#include "tests/multiproc/body.hpp"
#include "tests/support/values.hpp"

int main() {
  using namespace libcoll;
  unsigned long long seed = test::test_seed();
  int rank = -1;
  try {
    Comm world = Comm::from_environment();
    rank = world.rank();
    world.bcast(&seed, 1, DType::u64, 0);
    test::run_body(world, {.seed = seed, .scale = test::test_scale(), .every_type = world.size() <= 3});
    world.close();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "rank %d: %s\nLIBCOLL_TEST_SEED=%llu repeats this run\n", rank, e.what(), seed);
    return 1;
  }
  if (rank == 0) std::printf("body: passed\n");
  return 0;
}
