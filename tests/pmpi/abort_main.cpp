// One rank aborts while the others wait in libcoll. The job ends with its code, and nothing is left behind.
#include <unistd.h>

#include "check.hpp"

int main(int argc, char** argv) {
  using namespace pmpi_test;
  MPI_Init(&argc, &argv);
  std::vector<double> in(100000, 1), out(100000);
  for (int i = 0; i < 50; ++i) MPI_Allreduce(in.data(), out.data(), 100000, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  if (rank_of() == size_of() - 1) usleep(20000), MPI_Abort(MPI_COMM_WORLD, 7);
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Finalize();
}
