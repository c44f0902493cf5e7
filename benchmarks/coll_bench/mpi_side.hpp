// All that touches MPI: mpi_side.cpp is compiled once per MPI, mpi_absent.cpp where there is none.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "coll_bench/library.hpp"
#include "libcoll/comm.hpp"

namespace bench::mpi {

extern const bool built_in;

// Whether MPI has both the type and the operation on it.
bool can_reduce(libcoll::DType, libcoll::Op);
// First line of the library's own version text; empty without MPI.
std::string version();
// Whether waiting ranks yield their CPU, as Open MPI tells; empty if the MPI does not say. After start().
std::string waiting();

void start();  // MPI_Init
void stop();
[[noreturn]] void abort();
int rank();
int size();
void allgather(const void* send, void* recv, std::size_t bytes);
libcoll::Comm make_comm();
std::unique_ptr<Library> library();           // by the names MPI_*
std::unique_ptr<Library> profiled_library();  // by the names PMPI_*, past any preloaded library

}  // namespace bench::mpi
