// One rank under a real launcher: meets by the environment, exchanges records, checks them.
// Usage: meet_from_environment EXPECTED_SIZE
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "libcoll/bootstrap.hpp"
#include "libcoll/error.hpp"

int main(int argc, char** argv) {
  const int expected = argc > 1 ? std::atoi(argv[1]) : 1;
  try {
    for (int round = 0; round < 2; ++round) {
      const auto b = libcoll::bootstrap_from_environment();
      if (b->size() != expected) {
        std::fprintf(stderr, "the job has %d ranks, expected %d\n", b->size(), expected);
        return 1;
      }
      const long mine = 1000L * round + b->rank();
      std::vector<long> all(static_cast<std::size_t>(b->size()), -1);
      b->allgather(&mine, all.data(), sizeof mine);
      for (int r = 0; r < b->size(); ++r) {
        if (all[static_cast<std::size_t>(r)] != 1000L * round + r) return 1;
      }
      if (b->rank() == 0) std::printf("round %d: %d ranks met\n", round, b->size());
    }
  } catch (const libcoll::Error& e) {
    std::fprintf(stderr, "%s: %s\n", libcoll::name_of(e.code()), e.what());
    return 1;
  }
  return 0;
}
