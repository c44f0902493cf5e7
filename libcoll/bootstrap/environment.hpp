// Which job this process belongs to and where its ranks meet, from environment variables alone. Pure.
//
// First match wins:
//   LIBCOLL_RANK, LIBCOLL_SIZE   by hand; several ranks also need LIBCOLL_ROOT
//   RANK, WORLD_SIZE             torchrun: meets at MASTER_ADDR, ports MASTER_PORT+LIBCOLL_PORT_OFFSET+0..7
//                                (MASTER_PORT itself is the TCPStore's)
//   OMPI_COMM_WORLD_RANK, _SIZE  Open MPI, PRRTE: several hosts meet on that of mpirun, with rank 0 there
//   PMI_RANK, PMI_SIZE           MPICH and other Hydra launchers: several hosts need LIBCOLL_ROOT
//   SLURM_PROCID, SLURM_STEP_ID  srun: several nodes meet on the step's first node, with rank 0 there
//   none                         a job of one; so is a Slurm batch script
// And for all of them:
//   LIBCOLL_ROOT         host:port, [v6]:port or unix:NAME: where, not who. Rank 0 listens there.
//   LIBCOLL_SECRET       the same random text on all ranks. Required between hosts; Open MPI's random
//                        OMPI_MCA_orte_precondition_transports serves in its place.
//   LIBCOLL_TIMEOUT      seconds to wait for others, 0.001 to a week (120)
//   LIBCOLL_PORT_OFFSET  see torchrun (1)
// Ranks that the launcher says share one host, and ranks whose root is a loopback address without a
// secret, meet at an abstract UNIX socket that admits our user only.
//
// Limits: the ranks of one host must share its network namespace, those of one job an address family.
// Ports derived under Open MPI and Slurm (20000 + hash of the job id modulo 10000, and the next 7) must be
// open between the hosts, as must ephemeral ports from 32768 for the tree. Addresses must mean the same
// everywhere (no NAT). Hydra leaves no job id: ranks of one host find each other by their common proxy
// process. A child process that inherits a rank's environment looks like that rank. Nothing is encrypted,
// and whoever sees the traffic can test guesses of the secret: it must be random.
#pragma once

#include "libcoll/bootstrap/env_parse.hpp"

namespace libcoll::detail {

struct MeetingPoint {
  enum class Kind { nowhere, unix_socket, tcp };
  Kind kind = Kind::nowhere;
  std::string unix_key;                // unix_socket: what to hash, with the user id, into its name
  bool process_tree_key = false;       // unix_socket: the launcher left no job id; use its process
  std::vector<std::string> hosts;      // tcp: names or addresses of rank 0's host
  std::uint16_t port = 0;              // tcp: first of
  int ports = 1;                       //      this many candidates
  bool loopback_only = false;          // tcp: rank 0 listens on loopback alone
  bool root_may_be_elsewhere = false;  // tcp: rank 0 checks that it is on that host
};

struct JobInfo {
  int rank = 0;
  int size = 1;
  std::optional<int> local_size;  // ranks on this host, if the launcher tells
  std::string launcher = "none";  // "libcoll", "torchrun", "openmpi", "hydra", "slurm"
  std::string job_id;             // equal on all ranks; may be empty
  std::string secret;             // empty: only a UNIX socket will do
  std::chrono::milliseconds timeout{120'000};
  MeetingPoint meeting;
};

// Errc::bootstrap: names the variable and its value, or the variable to set.
Result<JobInfo> detect_job(const EnvLookup&);

}  // namespace libcoll::detail
