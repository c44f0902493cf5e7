// Comm::from_mpi: header only, compiled against the program's own MPI, so that libcoll.so links none.
#pragma once

#include <mpi.h>

#include "libcoll/comm.hpp"

namespace libcoll {
namespace detail {

// Whether this thread may call MPI now; a progress hook on a foreign thread must stay away.
inline bool may_call_mpi() {
  int finalized = 0, provided = 0, main_thread = 0;
  MPI_Finalized(&finalized);
  if (finalized) return false;
  MPI_Query_thread(&provided);
  if (provided == MPI_THREAD_MULTIPLE) return true;
  MPI_Is_thread_main(&main_thread);
  return main_thread != 0;
}

// While we wait, MPI's point-to-point, RMA and non-blocking traffic goes on: without it a large
// MPI_Isend posted before our barrier could never complete. (On MPI_COMM_SELF, MPICH looks without any progress.)
inline void progress_mpi(void*) {
  if (!may_call_mpi()) return;
  int flag;
  MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE);
}

}  // namespace detail

// Collective over `mpi`, an intracommunicator; uses MPI_Allgather on it during the call only.
template <class MpiComm>
Comm Comm::from_mpi(MpiComm mpi, const Config& config) {
  int initialized = 0, rank = 0, size = 0;
  MPI_Initialized(&initialized);
  if (!initialized) throw Error(Errc::invalid_argument, "libcoll: from_mpi: MPI is not initialized");
  if (mpi == MPI_COMM_NULL) throw Error(Errc::invalid_argument, "libcoll: from_mpi: the communicator is MPI_COMM_NULL");
  MPI_Comm_rank(mpi, &rank);
  MPI_Comm_size(mpi, &size);
  Comm comm = from_callback(rank, size, [mpi](const void* send, void* recv, std::size_t bytes) {
    const int n = static_cast<int>(bytes);
    if (MPI_Allgather(send, n, MPI_BYTE, recv, n, MPI_BYTE, mpi) != MPI_SUCCESS)
      throw Error(Errc::bootstrap, "libcoll: from_mpi: MPI_Allgather failed");
  }, config);
  comm.set_progress_hook(&detail::progress_mpi, nullptr);
  return comm;
}

}  // namespace libcoll
