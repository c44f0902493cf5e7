// The names that C programs call.
#include "below.hpp"
#include "memory.hpp"
#include "movement.hpp"
#include "reductions.hpp"
#include "vector_forms.hpp"

using namespace libcoll::pmpi;

extern "C" {

int MPI_Init(int* argc, char*** argv) {
  const int code = LIBCOLL_BELOW(Init)(argc, argv);
  start();
  return code;
}

int MPI_Init_thread(int* argc, char*** argv, int required, int* provided) {
  const int code = LIBCOLL_BELOW(Init_thread)(argc, argv, required, provided);
  start();
  return code;
}

int MPI_Alloc_mem(MPI_Aint bytes, MPI_Info info, void* result) {
  return allocate_memory(bytes, info, result) ? MPI_SUCCESS : LIBCOLL_BELOW(Alloc_mem)(bytes, info, result);
}

int MPI_Free_mem(void* memory) {
  return free_memory(memory) ? MPI_SUCCESS : LIBCOLL_BELOW(Free_mem)(memory);
}

// Windows are MPI's; barriers must know of them.
int MPI_Win_create(void* base, MPI_Aint bytes, int unit, MPI_Info info, MPI_Comm comm, MPI_Win* window) {
  one_sided = true;
  return LIBCOLL_BELOW(Win_create)(base, bytes, unit, info, comm, window);
}

int MPI_Win_create_dynamic(MPI_Info info, MPI_Comm comm, MPI_Win* window) {
  one_sided = true;
  return LIBCOLL_BELOW(Win_create_dynamic)(info, comm, window);
}

int MPI_Win_allocate(MPI_Aint bytes, int unit, MPI_Info info, MPI_Comm comm, void* base, MPI_Win* window) {
  one_sided = true;
  return LIBCOLL_BELOW(Win_allocate)(bytes, unit, info, comm, base, window);
}

int MPI_Win_allocate_shared(MPI_Aint bytes, int unit, MPI_Info info, MPI_Comm comm, void* base, MPI_Win* window) {
  one_sided = true;
  return LIBCOLL_BELOW(Win_allocate_shared)(bytes, unit, info, comm, base, window);
}

int MPI_Barrier(MPI_Comm comm) {
  return barrier(comm, [&] { return LIBCOLL_BELOW(Barrier)(comm); });
}

#define LIBCOLL_NAME(name) MPI_##name
#define LIBCOLL_DOWN(name) LIBCOLL_BELOW(name)
#define N int
#define D int
#include "c_collectives.inc"
#undef LIBCOLL_NAME
#undef LIBCOLL_DOWN
#undef N
#undef D

#if LIBCOLL_MPI_HAS_LARGE_COUNTS
#define LIBCOLL_NAME(name) MPI_##name##_c
#define LIBCOLL_DOWN(name) LIBCOLL_BELOW_IF_THERE(name##_c)
#define N MPI_Count
#define D MPI_Aint
#include "c_collectives.inc"
#undef LIBCOLL_NAME
#undef LIBCOLL_DOWN
#undef N
#undef D
#endif

}  // extern "C"
