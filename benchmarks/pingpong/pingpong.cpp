// A program that uses no collective at all once it runs: the median time of a message there and back between ranks 0 and 1.
// compare.sh runs it with and without the interposer.
#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <vector>

namespace {

double median_us(int rank, int bytes, int rounds) {
  std::vector<char> data(static_cast<std::size_t>(bytes));
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    const double begun = MPI_Wtime();
    if (rank == 0) {
      MPI_Send(data.data(), bytes, MPI_CHAR, 1, 1, MPI_COMM_WORLD);
      MPI_Recv(data.data(), bytes, MPI_CHAR, 1, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else if (rank == 1) {
      MPI_Recv(data.data(), bytes, MPI_CHAR, 0, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      MPI_Send(data.data(), bytes, MPI_CHAR, 0, 2, MPI_COMM_WORLD);
    }
    times.push_back(1e6 * (MPI_Wtime() - begun));
  }
  std::nth_element(times.begin(), times.begin() + rounds / 2, times.end());
  return times[static_cast<std::size_t>(rounds / 2)];
}

}  // namespace

// Prints "bytes us" lines.
int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  constexpr int sizes[][2] = {{8, 200000}, {4096, 100000}, {65536, 10000}, {1 << 20, 1000}};
  for (const auto& [bytes, rounds] : sizes) {
    const double us = median_us(rank, bytes, rounds);
    if (rank == 0) std::printf("%d %.4f\n", bytes, us);
  }
  MPI_Finalize();
}
