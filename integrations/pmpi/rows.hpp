// Tables of the ranks, brought together for a report.
#pragma once

#include <type_traits>
#include <vector>

#include "flavour.hpp"

namespace libcoll::pmpi {

// Collective over MPI_COMM_WORLD: on rank 0 the rows of all ranks, one rank's behind the other's; elsewhere nothing.
template <class Row>
std::vector<Row> gather_rows(const std::vector<Row>& mine) {
  static_assert(std::is_trivially_copyable_v<Row>);
  int rank = 0, size = 1;
  PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
  PMPI_Comm_size(MPI_COMM_WORLD, &size);
  const int bytes = static_cast<int>(mine.size() * sizeof(Row));
  std::vector<int> counts(static_cast<std::size_t>(size)), places(counts.size());
  PMPI_Gather(&bytes, 1, MPI_INT, counts.data(), 1, MPI_INT, 0, MPI_COMM_WORLD);
  std::size_t total = 0;
  for (std::size_t r = 0; rank == 0 && r < counts.size(); ++r) {
    places[r] = static_cast<int>(total);
    total += static_cast<std::size_t>(counts[r]);
  }
  std::vector<Row> all(total / sizeof(Row));
  PMPI_Gatherv(mine.data(), bytes, MPI_BYTE, all.data(), counts.data(), places.data(), MPI_BYTE, 0, MPI_COMM_WORLD);
  return all;
}

}  // namespace libcoll::pmpi
