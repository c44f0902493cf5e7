// Which job this process belongs to and where its ranks meet, from environment variables alone. Pure.
//
// First match wins:
//   LIBCOLL_RANK, LIBCOLL_SIZE     by hand; several ranks also need LIBCOLL_ROOT
//   RANK, WORLD_SIZE               torchrun: MASTER_ADDR, ports MASTER_PORT + LIBCOLL_PORT_OFFSET + 0..7
//                                  (MASTER_PORT itself is the TCPStore's)
//   OMPI_COMM_WORLD_RANK, _SIZE    Open MPI, PRRTE: several hosts meet on the host of mpirun, where rank 0
//   must run PMI_RANK, PMI_SIZE             MPICH and other Hydra launchers: several hosts need LIBCOLL_ROOT
//   SLURM_PROCID, SLURM_STEP_ID    srun: several nodes meet on the first node of the step, where rank 0 must
//   run none                           a job of one
// LIBCOLL_ROOT overrides where, not who. Ranks that the launcher says share one host, and ranks whose root
// is a loopback address without a secret, meet at an abstract UNIX socket that admits our user only.
//
// Limits: all ranks of one host must share its network namespace. Ports derived under Open MPI and Slurm
// (20000 + hash of the job id modulo 10000, and the next 7) must be open between the hosts. A child process
// that inherits a rank's environment looks like that rank. srun's batch script is a job of one.
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
