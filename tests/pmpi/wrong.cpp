// A library to be preloaded behind the interposer, hence the MPI below: of whatever MPI_Allgather moves, byte 4 is one too many
// on rank 1. LIBCOLL_MPI=compare must see it.
#include <mpi.h>

extern "C" int MPI_Allgather(const void* send, int send_count, MPI_Datatype send_type, void* recv, int recv_count, MPI_Datatype recv_type, MPI_Comm comm) {
  const int code = PMPI_Allgather(send, send_count, send_type, recv, recv_count, recv_type, comm);
  int rank = 0;
  PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 1) ++static_cast<unsigned char*>(recv)[4];
  return code;
}
