// MPI_THREAD_MULTIPLE: several threads of each rank, each on its own communicators, which overlap those of others.
#include <thread>

#include "check.hpp"

int main(int argc, char** argv) {
  using namespace pmpi_test;
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 300;
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
  if (provided < MPI_THREAD_MULTIPLE) {
    std::printf("pmpi test: passed (this MPI has no MPI_THREAD_MULTIPLE)\n");
    MPI_Finalize();
    return 0;
  }
  constexpr int threads = 3;
  MPI_Comm comms[threads];
  MPI_Comm_dup(MPI_COMM_WORLD, &comms[0]);
  MPI_Comm_dup(MPI_COMM_WORLD, &comms[1]);
  MPI_Comm_split(MPI_COMM_WORLD, rank_of() / 2, 0, &comms[2]);
  // None of them was used yet: all make their libcoll communicators, and the world, at once and in any order.
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      const MPI_Comm c = comms[t];
      const int n = size_of(c), me = rank_of(c);
      for (int i = 0; i < rounds; ++i) {
        long in = me + i, out = 0;
        MPI_Allreduce(&in, &out, 1, MPI_LONG, MPI_SUM, c);
        require(out == static_cast<long>(n) * (n - 1) / 2 + static_cast<long>(n) * i, "sum of a thread");
        std::vector<int> mine(300, me * 10 + t), got(300 * static_cast<std::size_t>(n));
        MPI_Allgather(mine.data(), 300, MPI_INT, got.data(), 300, MPI_INT, c);
        require(got[299] == t && got.back() == (n - 1) * 10 + t, "allgather of a thread");
        if (i % 50 == 0) {
          MPI_Comm copy;
          MPI_Comm_dup(c, &copy);
          MPI_Allreduce(&in, &out, 1, MPI_LONG, MPI_MAX, copy);
          require(out == n - 1 + i, "max over a thread's dup");
          MPI_Comm_free(&copy);
        }
      }
    });
  for (std::thread& t : all) t.join();
  for (MPI_Comm& c : comms) MPI_Comm_free(&c);
  passed();
  MPI_Finalize();
}
