// Messages beyond 2^31 bytes, by a derived type and, where the MPI has it, by a large count.
#include "check.hpp"

int main(int argc, char** argv) {
  using namespace pmpi_test;
  MPI_Init(&argc, &argv);
  constexpr std::size_t chunk = 1 << 20, chunks = 2049, bytes = chunk * chunks;
  std::vector<char> data(bytes);
  const auto mark = [&](char c) { data[5] = data[bytes / 2] = data[bytes - 3] = c; };
  const auto is_marked = [&](char c) { return data[5] == c && data[bytes / 2] == c && data[bytes - 3] == c; };
  MPI_Datatype t;
  MPI_Type_contiguous(chunk, MPI_CHAR, &t);
  MPI_Type_commit(&t);
  if (rank_of() == 0) mark('x');
  require(MPI_Bcast(data.data(), chunks, t, 0, MPI_COMM_WORLD) == MPI_SUCCESS && is_marked('x'), "bcast of 2049 MiB");
  MPI_Type_free(&t);
#if MPI_VERSION >= 4
  if (rank_of() == 0) mark('y');
  require(MPI_Bcast_c(data.data(), bytes, MPI_CHAR, 0, MPI_COMM_WORLD) == MPI_SUCCESS && is_marked('y'), "MPI_Bcast_c of 2049 MiB");
#endif
  passed();
  MPI_Finalize();
}
