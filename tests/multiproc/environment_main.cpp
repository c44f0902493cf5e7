// The body started by any launcher that libcoll knows from the environment: hosts.py, torchrun, mpirun. With the
// argument "splits": random sub-communicators, and many that come and go; "messages": messages between two ranks; "choices":
// that all ranks would run calls alike.
#include <cstdio>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "libcoll/libcoll.hpp"
#include "tests/multiproc/body.hpp"
#include "tests/multiproc/messages.hpp"
#include "tests/multiproc/subcomms.hpp"
#include "tests/support/values.hpp"

namespace {

// Every way that is considered, and what it is predicted to take.
void check_choices(libcoll::Comm& world) {
  using namespace libcoll;
  for (const char* collective : {"allreduce", "allgather", "bcast", "alltoall", "reduce", "reduce_scatter", "gather", "scatter", "barrier"})
    for (Count count = 1; count <= Count{1} << 22; count *= 2) {
      std::string all;
      for (const Candidate& c : world.candidates(collective, count, DType::f32)) all += c.recipe + " " + std::to_string(c.predicted_us) + (c.chosen ? " *\n" : "\n");
      std::vector<std::size_t> hashes(static_cast<std::size_t>(world.size()));
      const std::size_t mine = std::hash<std::string>{}(all);
      world.allgather(&mine, hashes.data(), sizeof mine, DType::byte);
      for (const std::size_t h : hashes)
        if (h != mine) throw std::runtime_error(std::string(collective) + " of " + std::to_string(count) + ": ranks differ; here\n" + all);
    }
}

}  // namespace

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
    } else if (part == "choices") {
      check_choices(world);
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
