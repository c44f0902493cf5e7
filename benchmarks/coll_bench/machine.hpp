// What a reader of the numbers must know of the machine.
#pragma once

#include <string>

#include "coll_bench/job.hpp"

namespace bench {

struct Machine {
  int ranks = 1, hosts = 1;
  bool oversubscribed = false;
  std::string cpu, bindings;  // bindings: the CPUs each rank may use, for few ranks
  double timer_ns = 0;        // one reading of the clock, on average over ranks
  bool clock_kept = false;    // in the times
  double line_ns = -1;        // one-way transfer of a cache line, ranks 0 and 1; -1: not measured
  double line_after_ns = -1;  // the same at the end: virtual CPUs move
  std::string libcoll_says;   // Comm::describe() of rank 0
  std::string libcoll_version, mpi_version;
  std::string host_names;     // "a: ranks 0-1; b: ranks 2-3", the first few
  std::string mpi_waiting;    // what the MPI's waiting ranks do, if it says so
  bool progress_thread = false;
};

// Collective, takes a few milliseconds.
Machine examine(Job&, bool with_mpi);
// Collective. Fastest of 20 batches of a ping-pong; -1 where two ranks cannot run at once.
double line_transfer_ns(Job&);
// Rank 0's last cache; collective.
std::size_t last_cache_bytes(Job&);

}  // namespace bench
