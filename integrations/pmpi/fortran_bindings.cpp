// The names that Fortran programs call: mpif.h and `use mpi` in the spellings of all compilers, and those of `use mpi_f08`
// that take plain addresses (all of Open MPI's; MPICH's others end in the C names by themselves). Each turns handles and
// sentinels into C's and calls the C name.
#include <dlfcn.h>

#include <vector>

#include "below.hpp"
#include "state.hpp"

// A definition of mpi_x_ and its other names.
#define LIBCOLL_EXPORT __attribute__((visibility("default")))
#define LIBCOLL_FORTRAN(lower, upper, parameters)                                                     \
  extern "C" LIBCOLL_EXPORT void lower##_ parameters;                                                 \
  extern "C" LIBCOLL_EXPORT void lower parameters __attribute__((alias(#lower "_")));                 \
  extern "C" LIBCOLL_EXPORT void lower##__ parameters __attribute__((alias(#lower "_")));             \
  extern "C" LIBCOLL_EXPORT void upper parameters __attribute__((alias(#lower "_")));                 \
  extern "C" LIBCOLL_EXPORT void lower##_f08_ parameters __attribute__((alias(#lower "_")));          \
  void lower##_ parameters

namespace {

using Int = MPI_Fint;

// Sentinels are addresses: of common blocks in one MPI, kept in variables that MPI_INIT sets in the other.
const void* sentinel(const char* open_mpi, const char* mpich) {
  void* symbol = dlsym(RTLD_DEFAULT, libcoll::pmpi::is_mpich ? mpich : open_mpi);
  return symbol == nullptr || !libcoll::pmpi::is_mpich ? symbol : *static_cast<void**>(symbol);
}

void* buffer(void* p) {
  static const void* const in_place = sentinel("mpi_fortran_in_place_", "MPIR_F_MPI_IN_PLACE");
  static const void* const bottom = sentinel("mpi_fortran_bottom_", "MPIR_F_MPI_BOTTOM");
  if (p != nullptr && p == in_place) return MPI_IN_PLACE;
  if (p != nullptr && p == bottom) return MPI_BOTTOM;
  return p;
}

MPI_Comm comm_of(const Int* c) { return PMPI_Comm_f2c(*c); }
MPI_Datatype type_of(const Int* t) { return PMPI_Type_f2c(*t); }
MPI_Op op_of(const Int* o) { return PMPI_Op_f2c(*o); }

bool is_inter(MPI_Comm c) {
  int inter = 0;
  PMPI_Comm_test_inter(c, &inter);
  return inter != 0;
}

// `use mpi_f08` may leave it out.
void report(Int* ierror, int code) {
  if (ierror != nullptr) *ierror = code;
}

}  // namespace

using libcoll::pmpi::start;

// Initialisation is left to the Fortran function below, which sets its sentinels.
extern "C" LIBCOLL_EXPORT void mpi_init_(Int* ierror) {
  using Init = void (*)(Int*);
  if (const auto f = reinterpret_cast<Init>(dlsym(RTLD_NEXT, "mpi_init_"))) f(ierror);
  start();
}
extern "C" LIBCOLL_EXPORT void mpi_init_f08_(Int* ierror) {
  using Init = void (*)(Int*);
  if (const auto f = reinterpret_cast<Init>(dlsym(RTLD_NEXT, "mpi_init_f08_"))) f(ierror);
  start();
}
extern "C" LIBCOLL_EXPORT void mpi_init_thread_(Int* required, Int* provided, Int* ierror) {
  using Init = void (*)(Int*, Int*, Int*);
  if (const auto f = reinterpret_cast<Init>(dlsym(RTLD_NEXT, "mpi_init_thread_"))) f(required, provided, ierror);
  start();
}
extern "C" LIBCOLL_EXPORT void mpi_init_thread_f08_(Int* required, Int* provided, Int* ierror) {
  using Init = void (*)(Int*, Int*, Int*);
  if (const auto f = reinterpret_cast<Init>(dlsym(RTLD_NEXT, "mpi_init_thread_f08_"))) f(required, provided, ierror);
  start();
}

// A block of the arena comes back under any of these names, and `baseptr` is a pointer in all of them.
LIBCOLL_FORTRAN(mpi_alloc_mem, MPI_ALLOC_MEM, (MPI_Aint* bytes, Int* info, void* result, Int* ierror)) {
  report(ierror, MPI_Alloc_mem(*bytes, PMPI_Info_f2c(*info), result));
}
LIBCOLL_FORTRAN(mpi_alloc_mem_cptr, MPI_ALLOC_MEM_CPTR, (MPI_Aint* bytes, Int* info, void* result, Int* ierror)) {
  report(ierror, MPI_Alloc_mem(*bytes, PMPI_Info_f2c(*info), result));
}
LIBCOLL_FORTRAN(mpi_free_mem, MPI_FREE_MEM, (void* memory, Int* ierror)) { report(ierror, MPI_Free_mem(memory)); }

LIBCOLL_FORTRAN(mpi_barrier, MPI_BARRIER, (Int* comm, Int* ierror)) { report(ierror, MPI_Barrier(comm_of(comm))); }

LIBCOLL_FORTRAN(mpi_bcast, MPI_BCAST, (void* data, Int* count, Int* type, Int* root, Int* comm, Int* ierror)) {
  report(ierror, MPI_Bcast(buffer(data), *count, type_of(type), *root, comm_of(comm)));
}

LIBCOLL_FORTRAN(mpi_reduce, MPI_REDUCE, (void* send, void* recv, Int* count, Int* type, Int* op, Int* root, Int* comm, Int* ierror)) {
  report(ierror, MPI_Reduce(buffer(send), buffer(recv), *count, type_of(type), op_of(op), *root, comm_of(comm)));
}

LIBCOLL_FORTRAN(mpi_allreduce, MPI_ALLREDUCE, (void* send, void* recv, Int* count, Int* type, Int* op, Int* comm, Int* ierror)) {
  report(ierror, MPI_Allreduce(buffer(send), buffer(recv), *count, type_of(type), op_of(op), comm_of(comm)));
}

LIBCOLL_FORTRAN(mpi_reduce_scatter_block, MPI_REDUCE_SCATTER_BLOCK, (void* send, void* recv, Int* count, Int* type, Int* op, Int* comm, Int* ierror)) {
  report(ierror, MPI_Reduce_scatter_block(buffer(send), buffer(recv), *count, type_of(type), op_of(op), comm_of(comm)));
}

LIBCOLL_FORTRAN(mpi_reduce_scatter, MPI_REDUCE_SCATTER, (void* send, void* recv, Int* counts, Int* type, Int* op, Int* comm, Int* ierror)) {
  report(ierror, MPI_Reduce_scatter(buffer(send), buffer(recv), counts, type_of(type), op_of(op), comm_of(comm)));
}

LIBCOLL_FORTRAN(mpi_scan, MPI_SCAN, (void* send, void* recv, Int* count, Int* type, Int* op, Int* comm, Int* ierror)) {
  report(ierror, MPI_Scan(buffer(send), buffer(recv), *count, type_of(type), op_of(op), comm_of(comm)));
}

LIBCOLL_FORTRAN(mpi_exscan, MPI_EXSCAN, (void* send, void* recv, Int* count, Int* type, Int* op, Int* comm, Int* ierror)) {
  report(ierror, MPI_Exscan(buffer(send), buffer(recv), *count, type_of(type), op_of(op), comm_of(comm)));
}

LIBCOLL_FORTRAN(mpi_allgather, MPI_ALLGATHER, (void* send, Int* ns, Int* st, void* recv, Int* nr, Int* rt, Int* comm, Int* ierror)) {
  report(ierror, MPI_Allgather(buffer(send), *ns, type_of(st), buffer(recv), *nr, type_of(rt), comm_of(comm)));
}

LIBCOLL_FORTRAN(mpi_allgatherv, MPI_ALLGATHERV, (void* send, Int* ns, Int* st, void* recv, Int* nr, Int* displs, Int* rt, Int* comm, Int* ierror)) {
  report(ierror, MPI_Allgatherv(buffer(send), *ns, type_of(st), buffer(recv), nr, displs, type_of(rt), comm_of(comm)));
}

LIBCOLL_FORTRAN(mpi_gather, MPI_GATHER, (void* send, Int* ns, Int* st, void* recv, Int* nr, Int* rt, Int* root, Int* comm, Int* ierror)) {
  report(ierror, MPI_Gather(buffer(send), *ns, type_of(st), buffer(recv), *nr, type_of(rt), *root, comm_of(comm)));
}

LIBCOLL_FORTRAN(mpi_gatherv, MPI_GATHERV, (void* send, Int* ns, Int* st, void* recv, Int* nr, Int* displs, Int* rt, Int* root, Int* comm, Int* ierror)) {
  report(ierror, MPI_Gatherv(buffer(send), *ns, type_of(st), buffer(recv), nr, displs, type_of(rt), *root, comm_of(comm)));
}

LIBCOLL_FORTRAN(mpi_scatter, MPI_SCATTER, (void* send, Int* ns, Int* st, void* recv, Int* nr, Int* rt, Int* root, Int* comm, Int* ierror)) {
  report(ierror, MPI_Scatter(buffer(send), *ns, type_of(st), buffer(recv), *nr, type_of(rt), *root, comm_of(comm)));
}

LIBCOLL_FORTRAN(mpi_scatterv, MPI_SCATTERV, (void* send, Int* ns, Int* displs, Int* st, void* recv, Int* nr, Int* rt, Int* root, Int* comm, Int* ierror)) {
  report(ierror, MPI_Scatterv(buffer(send), ns, displs, type_of(st), buffer(recv), *nr, type_of(rt), *root, comm_of(comm)));
}

LIBCOLL_FORTRAN(mpi_alltoall, MPI_ALLTOALL, (void* send, Int* ns, Int* st, void* recv, Int* nr, Int* rt, Int* comm, Int* ierror)) {
  report(ierror, MPI_Alltoall(buffer(send), *ns, type_of(st), buffer(recv), *nr, type_of(rt), comm_of(comm)));
}

LIBCOLL_FORTRAN(mpi_alltoallv, MPI_ALLTOALLV, (void* send, Int* ns, Int* sd, Int* st, void* recv, Int* nr, Int* rd, Int* rt, Int* comm, Int* ierror)) {
  report(ierror, MPI_Alltoallv(buffer(send), ns, sd, type_of(st), buffer(recv), nr, rd, type_of(rt), comm_of(comm)));
}

LIBCOLL_FORTRAN(mpi_alltoallw, MPI_ALLTOALLW, (void* send, Int* ns, Int* sd, Int* st, void* recv, Int* nr, Int* rd, Int* rt, Int* comm, Int* ierror)) {
  const MPI_Comm c = comm_of(comm);
  int peers = 0;  // an intercommunicator's are the other side's
  if (is_inter(c)) PMPI_Comm_remote_size(c, &peers);
  else PMPI_Comm_size(c, &peers);
  void* const from = buffer(send);
  std::vector<MPI_Datatype> send_types, recv_types;
  for (int r = 0; r < peers; ++r) {
    if (from != MPI_IN_PLACE) send_types.push_back(type_of(&st[r]));
    recv_types.push_back(type_of(&rt[r]));
  }
  report(ierror, MPI_Alltoallw(from, ns, sd, send_types.data(), buffer(recv), nr, rd, recv_types.data(), c));
}

LIBCOLL_FORTRAN(mpi_reduce_local, MPI_REDUCE_LOCAL, (void* in, void* inout, Int* count, Int* type, Int* op, Int* ierror)) {
  report(ierror, MPI_Reduce_local(buffer(in), buffer(inout), *count, type_of(type), op_of(op)));
}
