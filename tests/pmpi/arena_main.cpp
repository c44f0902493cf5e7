// Buffers of every origin in one allreduce of 1 MiB each, against the MPI's own. The report tells how many of them
// were lent: arena_test.sh compares.
#include <malloc.h>

#include <functional>
#include <memory>
#include <new>

#include "check.hpp"
#include "integrations/arena/arena.hpp"

namespace {

using namespace pmpi_test;
namespace arena = libcoll::arena;

std::size_t bytes = std::size_t{1} << 20;

// A way to get memory, and its counterpart.
struct Origin {
  const char* name;
  std::function<void*()> get;
  std::function<void(void*)> give;
};

const std::vector<Origin>& origins() {
  static const std::vector<Origin> all{
      {"malloc", [] { return std::malloc(bytes); }, std::free},
      {"calloc", [] { return std::calloc(bytes / 8, 8); }, std::free},
      {"realloc", [] { return std::realloc(std::malloc(100), bytes); }, std::free},
      {"reallocarray", [] { return reallocarray(nullptr, bytes / 8, 8); }, std::free},
      {"posix_memalign", [] { void* p = nullptr; return posix_memalign(&p, 1 << 16, bytes) == 0 ? p : nullptr; }, std::free},
      {"aligned_alloc", [] { return std::aligned_alloc(4096, bytes); }, std::free},
      {"memalign", [] { return memalign(64, bytes); }, std::free},
      {"new", [] { return static_cast<void*>(new double[bytes / 8]); }, [](void* p) { delete[] static_cast<double*>(p); }},
      {"aligned new", [] { return operator new(bytes, std::align_val_t{256}); }, [](void* p) { operator delete(p, std::align_val_t{256}); }},
  };
  return all;
}
const Origin alloc_mem{
    "MPI_Alloc_mem", [] { void* p = nullptr; return MPI_Alloc_mem(bytes, MPI_INFO_NULL, &p) == MPI_SUCCESS ? p : nullptr; }, [](void* p) { MPI_Free_mem(p); }};

// Whether both buffers lay in the arena.
bool check_sum(const Origin& origin) {
  auto* in = static_cast<double*>(origin.get());
  auto* out = static_cast<double*>(origin.get());
  require(in != nullptr && out != nullptr, std::string(origin.name) + " returned null");
  const std::size_t n = bytes / sizeof(double);
  std::vector<double> mpis(n);
  for (std::size_t i = 0; i < n; ++i) in[i] = static_cast<double>(i % 1000) + rank_of();
  MPI_Allreduce(in, out, static_cast<int>(n), MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  PMPI_Allreduce(in, mpis.data(), static_cast<int>(n), MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  require(std::memcmp(out, mpis.data(), bytes) == 0, std::string("allreduce of memory from ") + origin.name);
  const bool both = arena::contains(in) && arena::contains(out);
  origin.give(in);
  origin.give(out);
  return both;
}

// What functions promise at their edges, wherever the memory comes from.
void check_promises() {
  volatile std::size_t much = std::size_t{1} << 40;
  require(std::calloc(much, much) == nullptr && errno == ENOMEM, "calloc: overflow");
  require(std::malloc(much << 22) == nullptr && errno == ENOMEM, "malloc: more than there is");
  void* none = &none;
  require(posix_memalign(&none, 24, bytes) == EINVAL && none == &none, "posix_memalign: alignment");
  void* zero = std::malloc(0);
  require(zero != nullptr, "malloc(0)");
  std::free(zero);
  std::free(nullptr);
  auto* p = static_cast<unsigned char*>(std::malloc(bytes));
  for (std::size_t i = 0; i < bytes; ++i) p[i] = static_cast<unsigned char>(i * 7);
  for (const std::size_t size : {2 * bytes, 9 * bytes, bytes, std::size_t{70000}, std::size_t{1000}, std::size_t{200000}, 3 * bytes}) {
    p = static_cast<unsigned char*>(std::realloc(p, size));
    require(p != nullptr && malloc_usable_size(p) >= size, "realloc");
    for (std::size_t i = 0; i < 999; ++i) require(p[i] == static_cast<unsigned char>(i * 7), "realloc keeps contents");
    p[size - 1] = 1;
  }
  require(std::realloc(p, 0) == nullptr, "realloc to nothing frees");
  p = static_cast<unsigned char*>(std::malloc(bytes));
  std::memset(p, 0xff, bytes);
  std::free(p);
  p = static_cast<unsigned char*>(std::calloc(1, bytes));
  for (std::size_t i = 0; i < bytes; ++i) require(p[i] == 0, "calloc gives zeros");
  errno = 77;
  std::free(p);
  require(errno == 77, "free keeps errno");
}

}  // namespace

// Usage: pmpi_arena N A [MIB of a buffer]: how many of the nine origins besides MPI_Alloc_mem must lie in the arena, and whether its own must.
int main(int argc, char** argv) {
  if (argc < 3) return 2;
  if (argc > 3) bytes = static_cast<std::size_t>(std::atoi(argv[3])) << 20;
  const auto early = std::make_unique<double[]>(bytes / 8);  // before there is an arena
  MPI_Init(&argc, &argv);
  require(!arena::contains(early.get()), "memory from before MPI_Init lies in the arena");
  check_promises();
  const std::size_t before = arena::usage().live_bytes;
  int served = 0;
  for (const Origin& o : origins()) served += check_sum(o) ? 1 : 0;
  require(served == std::atoi(argv[1]), std::to_string(served) + " origins were served from the arena");
  require(check_sum(alloc_mem) == (std::atoi(argv[2]) != 0), "MPI_Alloc_mem: in the arena or not");
  // Less than one of the blocks: the MPI has some of its own.
  require(arena::usage().live_bytes < before + bytes, "blocks were not given back");
  auto* kept = static_cast<char*>(std::malloc(bytes));
  std::memset(kept, 5, bytes);
  passed();
  MPI_Finalize();
  const bool alive = kept[0] == 5 && kept[bytes - 1] == 5;
  std::free(kept);
  return alive && arena::usage().live_bytes <= before ? 0 : 1;
}
