// What a shell wrapper or a helper is to the preloaded libraries: a process that never calls MPI_Init. It has no arena.
#include <cstdlib>

#include "integrations/arena/arena.hpp"

int main() {
  for (std::size_t bytes = 1000; bytes < 10000000; bytes *= 10) {
    auto* p = static_cast<char*>(std::malloc(bytes));
    p[bytes - 1] = 1;
    if (libcoll::arena::contains(p)) return 1;
    p = static_cast<char*>(std::realloc(p, 2 * bytes));
    if (libcoll::arena::contains(p) || p[bytes - 1] != 1) return 2;
    std::free(p);
  }
  return libcoll::arena::usage().allocations == 0 && libcoll::arena::region().fd < 0 ? 0 : 3;
}
