// A rank is killed between collectives; the others are in libcoll then. Nothing may be left behind.
#include <csignal>

#include "check.hpp"

int main(int argc, char** argv) {
  using namespace pmpi_test;
  MPI_Init(&argc, &argv);
  std::vector<double> in(100000, 1), out(100000);
  for (int i = 0; i < 100; ++i) {
    MPI_Allreduce(in.data(), out.data(), 100000, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    if (i == 50 && rank_of() == size_of() - 1) std::raise(SIGKILL);
  }
  MPI_Finalize();
}
