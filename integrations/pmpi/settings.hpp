// LIBCOLL_MPI, read once: what the interposer does in this process.
#pragma once

namespace libcoll::pmpi {

enum class Mode { on, off, report, check, compare };

// Unknown values end the program with a clear message: a misspelt `off` must not go unnoticed.
Mode mode() noexcept;

}  // namespace libcoll::pmpi
