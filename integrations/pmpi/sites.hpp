// Where in the program a collective was called, and what LIBCOLL_MPI=compare measured there.
#pragma once

#include <cstdint>
#include <string>

#include "report.hpp"

namespace libcoll::pmpi {

// The return address in the program: the first frame that is neither ours nor in the MPI's own libraries, whose Fortran
// names end in ours.
const void* call_site() noexcept;
// "solve+0x1f (app)", or "app+0x12af" for addr2line where the file does not export the function's name.
std::string text_of_site(const void* address);

// Thread-safe.
void add_to_site(const void* site, Coll, std::uint64_t bytes, std::uint64_t ours_ns, std::uint64_t mpis_ns, bool differs);
// Collective over MPI_COMM_WORLD: rank 0 prints the sums over all ranks to stderr.
void print_sites() noexcept;

}  // namespace libcoll::pmpi
