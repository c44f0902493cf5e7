// What the library found: hosts, levels, where each rank runs, and what the links cost.
#include <libcoll/libcoll.hpp>

#include <cstdio>

int main() {
  using namespace libcoll;
  try {
    Comm world = Comm::from_environment();
    if (world.rank() == 0) {
      std::printf("%s\n%s\n", world.topology().describe().c_str(), world.describe().c_str());
      for (const TopologyLevel& level : world.topology().levels)
        std::printf("level %-8s %zu group(s)\n", name_of(level.level), level.groups.size());
    }
    Comm host = world.split(Level::host);
    std::printf("rank %d is %d of %d on its host\n", world.rank(), host.rank(), host.size());
    host.close();
    world.close();
    return 0;
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
