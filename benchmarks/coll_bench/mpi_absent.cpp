#include <cstdlib>

#include "coll_bench/mpi_side.hpp"

namespace bench::mpi {

// parse() refuses what would need MPI, so none of the rest is reached.
const bool built_in = false;
bool can_reduce(libcoll::DType, libcoll::Op) { return false; }
std::string version() { return {}; }
std::string waiting() { return {}; }
void start() {}
void stop() {}
void abort() { std::_Exit(1); }
int rank() { return 0; }
int size() { return 1; }
void allgather(const void*, void*, std::size_t) {}
libcoll::Comm make_comm() { return {}; }
std::unique_ptr<Library> library() { return {}; }
std::unique_ptr<Library> profiled_library() { return {}; }

}  // namespace bench::mpi
