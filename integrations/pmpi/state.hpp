// What the interposer knows of a communicator: cached on it as an attribute that dup does not copy, found by the
// last handle used. Collectives run in libcoll once a State is `ready`; all ranks agree on that.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "flavour.hpp"
#include "libcoll/comm.hpp"
#include "report.hpp"

namespace libcoll::pmpi {

struct State {
  MPI_Comm handle = MPI_COMM_NULL;
  int rank = 0, size = 1;
  bool settled = false;               // ready or passed down for good
  Reason reason = Reason::handled;    // why not, unless ready
  Comm comm;                          // open if ready
  std::vector<int> world_ranks;       // of the members
  std::uint32_t compared = 0;         // calls, with LIBCOLL_MPI=compare
  std::uint32_t skip = 0, next_skip = 1;  // calls to pass down before the ranks are asked again
  bool ready() const noexcept { return settled && reason == Reason::handled; }
};

// The last communicator that a thread used, valid while nothing was freed since. Only ready ones are kept here,
// and none at all while calls are watched (report, check).
struct Recent {
  MPI_Comm handle;
  std::uint64_t epoch;
  State* state;
};
extern constinit thread_local Recent recent __attribute__((tls_model("initial-exec")));
extern std::atomic<std::uint64_t> epoch;

inline State* recently(MPI_Comm comm) noexcept {
  return recent.handle == comm && recent.epoch == epoch.load(std::memory_order_relaxed) ? recent.state : nullptr;
}

// Finds the communicator's State and, in the first collective on it, asks all its ranks whether to make it ready:
// collective then. Null with the reason if the call is to be passed down.
State* enter(MPI_Comm comm, Reason& why) noexcept;

// After MPI_Init: registers what must run last when MPI is finalized. Once; does nothing before MPI is initialized.
void start() noexcept;
// A private communicator of this process alone whose errors are returned: for packing.
MPI_Comm self() noexcept;

// An Error of libcoll as an MPI error, raised on the communicator.
int raise(MPI_Comm comm, const char* what) noexcept;

}  // namespace libcoll::pmpi
