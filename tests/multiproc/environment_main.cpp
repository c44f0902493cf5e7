// The body started by any launcher that libcoll knows from the environment: hosts.py, torchrun, mpirun. With the
// argument "splits": random sub-communicators, and many that come and go; with "messages": messages between two ranks.
#include <cstdio>
#include <exception>
#include <string_view>

#include "libcoll/libcoll.hpp"
#include "tests/multiproc/body.hpp"
#include "tests/multiproc/messages.hpp"
#include "tests/multiproc/subcomms.hpp"
#include "tests/support/values.hpp"

int main(int argc, char** argv) {
  using namespace libcoll;
  const std::string_view part = argc > 1 ? argv[1] : "";
  unsigned long long seed = test::test_seed();
  int rank = -1;
  try {
    Comm world = Comm::from_environment();
    rank = world.rank();
    world.bcast(&seed, 1, DType::u64, 0);
    if (part == "messages") {
      test::check_messages(world, {.many = 3000, .network = true, .seed = seed});
    } else if (part == "splits") {
      test::check_random_splits(world, seed, 12);
      test::check_churn(world, 500);
    } else {
      test::run_body(world, {.seed = seed, .scale = test::test_scale(), .every_type = world.size() <= 3});
    }
    world.close();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "rank %d: %s\nLIBCOLL_TEST_SEED=%llu repeats this run\n", rank, e.what(), seed);
    return 1;
  }
  if (rank == 0) std::printf("body: passed\n");
  return 0;
}
