// Checks of the interposer's test programs: the first that fails ends the job.
#pragma once

#include <mpi.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace pmpi_test {

inline int rank_of(MPI_Comm c = MPI_COMM_WORLD) {
  int r = 0;
  MPI_Comm_rank(c, &r);
  return r;
}
inline int size_of(MPI_Comm c = MPI_COMM_WORLD) {
  int n = 0;
  MPI_Comm_size(c, &n);
  return n;
}

inline void require(bool ok, const std::string& what) {
  if (ok) return;
  std::fprintf(stderr, "pmpi test: rank %d: %s\n", rank_of(), what.c_str());
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // MPICH's launcher may lose what a rank says just before it aborts
  MPI_Abort(MPI_COMM_WORLD, 1);
  std::abort();
}

// Says so once all ranks are here.
inline int passed() {
  PMPI_Barrier(MPI_COMM_WORLD);
  if (rank_of() == 0) std::printf("pmpi test: passed\n");
  std::fflush(stdout);
  return 0;
}

using Bytes = std::vector<unsigned char>;

inline void require_equal(const Bytes& ours, const Bytes& mpis, const std::string& what) {
  if (ours == mpis) return;
  std::size_t i = 0;
  while (ours[i] == mpis[i]) ++i;
  require(false, what + ": byte " + std::to_string(i) + " of " + std::to_string(ours.size()) + " is " + std::to_string(ours[i]) + ", MPI's is " + std::to_string(mpis[i]));
}

inline int class_of(int code) {
  int c = 0;
  if (code != MPI_SUCCESS) MPI_Error_class(code, &c);
  return c;
}

}  // namespace pmpi_test
