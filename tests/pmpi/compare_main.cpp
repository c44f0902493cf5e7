// For LIBCOLL_MPI=compare: sums that round and cancel, movement, calls from two named places, and an operation that is not a
// function of its operands, so that its two runs differ.
#include <cmath>

#include "check.hpp"

using namespace pmpi_test;

// Each use gives more than the last.
int uses = 0;
void fickle(void* in, void* inout, int* count, MPI_Datatype*) {
  ++uses;
  for (int i = 0; i < *count; ++i) static_cast<int*>(inout)[i] += static_cast<int*>(in)[i] + (i == 3 ? 1000 * uses : 0);
}

extern "C" [[gnu::noinline]] void sum_with_cancellation(int count) {
  std::vector<float> in(static_cast<std::size_t>(count)), out(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = std::sin(static_cast<float>(i) + 1) * std::pow(10.0f, static_cast<float>(i % 9)) * (rank_of() % 2 == 0 ? 1.0f : -1.0f) + 1e-3f * static_cast<float>(rank_of());
  MPI_Allreduce(in.data(), out.data(), count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  MPI_Allreduce(MPI_IN_PLACE, in.data(), count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  require(in == out, "the MPI's sums in place");
}

extern "C" [[gnu::noinline]] void move_blocks() {
  const int n = size_of(), me = rank_of();
  std::vector<int> all(static_cast<std::size_t>(n), -1);
  MPI_Allgather(&me, 1, MPI_INT, all.data(), 1, MPI_INT, MPI_COMM_WORLD);
  for (int r = 0; r < n; ++r) require(all[static_cast<std::size_t>(r)] == r, "allgather");
  all.assign(static_cast<std::size_t>(n), me);
  MPI_Alltoall(MPI_IN_PLACE, 0, MPI_INT, all.data(), 1, MPI_INT, MPI_COMM_WORLD);
  for (int r = 0; r < n; ++r) require(all[static_cast<std::size_t>(r)] == r, "alltoall in place");
}

// Usage: pmpi_compare [fickle].
int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  for (int i = 0; i < 4; ++i) {
    sum_with_cancellation(5000);
    move_blocks();
    MPI_Barrier(MPI_COMM_WORLD);
  }
  if (argc > 1) {
    MPI_Op op;
    MPI_Op_create(fickle, 1, &op);
    int in[5] = {1, 1, 1, 1, 1}, out[5] = {};
    MPI_Allreduce(in, out, 5, MPI_INT, op, MPI_COMM_WORLD);
    require(out[0] == size_of() && out[3] > 1000, "the operation");
    std::printf("rank %d goes on with %d\n", rank_of(), out[3]);
    MPI_Op_free(&op);
  }
  passed();
  MPI_Finalize();
}
