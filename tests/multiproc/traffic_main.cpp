// Counts what collectives send between the hosts that a launcher made. "traffic: passed" from rank 0, else the bounds
// that do not hold. An argument: print all counts too.
#include <cstdio>
#include <exception>

#include "libcoll/libcoll.hpp"
#include "tests/multiproc/traffic.hpp"

int main(int argc, char**) {
  using namespace libcoll;
  try {
    Comm world = Comm::from_environment();
    std::string report;
    const auto wrong = test::check_traffic(world, argc > 1 ? &report : nullptr);
    if (world.rank() == 0) {
      std::printf("%s", report.c_str());
      for (const std::string& line : wrong) std::fprintf(stderr, "%s\n", line.c_str());
      if (wrong.empty()) std::printf("traffic: passed\n");
    }
    world.close();
    return wrong.empty() ? 0 : 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
