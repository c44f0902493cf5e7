// Every knob of the library: its environment variable, default and meaning. A value type.
// The variables of the meeting itself (LIBCOLL_RANK, LIBCOLL_SIZE, LIBCOLL_ROOT, LIBCOLL_SECRET, ...)
// are documented in docs/environment.md.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "libcoll/types.hpp"

namespace libcoll {

// Memory of the caller's own that the ranks of a host may map: a memfd, and where the caller has mapped all of it.
// It must stay so until the world is closed. fd < 0: none.
struct LentMemory {
  int fd = -1;
  void* base = nullptr;
  std::uint64_t bytes = 0;
};

struct Config {
  // LIBCOLL_CALL_TIMEOUT, seconds > 0: a collective whose peers have not arrived by then throws
  // Errc::timeout. A peer that dies is noticed within a second whatever this says.
  double timeout_s = 1800;
  // LIBCOLL_ARENA_BYTES (suffix K, M, G): address space reserved per rank for shared memory and
  // Comm::allocate. Pages cost memory only once touched. 0: the machine's memory, at most 64 GiB.
  std::uint64_t arena_bytes = 0;
  // LIBCOLL_SPIN_US, microseconds >= 0: how long a waiting rank spins before it yields; -1: a few
  // microseconds, or none where ranks outnumber CPUs.
  double spin_us = -1;
  // LIBCOLL_YIELD_US, microseconds >= 0: how long it then yields before it sleeps on a futex.
  double yield_us = 100;
  // LIBCOLL_SINGLE_COPY=auto|on|off: process_vm_readv for large private buffers. `auto` probes every
  // pair with a real read and measures; `on` uses it above 16 KiB wherever the probe succeeds.
  std::string single_copy = "auto";
  // LIBCOLL_FD_PASSING=auto|proc|socket: how ranks of a host find each other's memory: through
  // /proc/<pid>/fd, or over an abstract UNIX socket where process namespaces differ.
  std::string fd_passing = "auto";
  // LIBCOLL_CALIBRATE=on|off: measure link costs at the first world; off: use built-in guesses.
  bool calibrate = true;
  // LIBCOLL_CHECK=on|off: before every blocking collective compare operation, count, type and root across
  // ranks with an extra exchange and name the odd one out, also where a rooted call would not notice.
  bool check = false;
  // LIBCOLL_HIERARCHY=file: a hierarchy (JSON) to use in place of the probed one. Its groups of level
  // host count as hosts: ranks of different ones do not share memory.
  std::string hierarchy_file;
  // LIBCOLL_GPU=auto|on|off: buffers in GPU memory. `auto`: where a rank's process uses CUDA when its world is made;
  // `on`: CUDA is loaded on every rank, or creation fails and says why not; `off`: buffers are host memory.
  std::string gpu = "auto";
  // LIBCOLL_GPU_OVERLAP=auto|on|off: NCCL operations of an island beside those of a rail, on two streams of a GPU. That is
  // safe where kernels of all GPUs start in the order of their launches: `auto` if NCCL_LAUNCH_ORDER_IMPLICIT=1 is set on all ranks.
  std::string gpu_overlap = "auto";
  // LIBCOLL_TOPOLOGY=file: a machine to use in place of the probed one, or a part of it to override: NVLinks, islands,
  // NICs of GPUs. See docs/topology.md. The same text on all ranks.
  std::string topology_file;
  // LIBCOLL_NETWORK=auto|on: `auto` sets UCX up where ranks are on several hosts, or where an algorithm
  // below is set; `on` also for ranks of one host, so that calls may ask for algorithms that send messages.
  std::string network = "auto";
  // LIBCOLL_PROGRESS_THREAD=on|off: a thread that moves non-blocking collectives on.
  bool progress_thread = false;
  // LIBCOLL_TUNING=file: which algorithms were measured to be best (coll-bench --all-algorithms --tune).
  std::string tuning_file;
  // LIBCOLL_ALLREDUCE=ring, LIBCOLL_BCAST=host/k_nomial:radix=4, ...: the algorithm of a collective, by
  // its name in small letters ("allreduce" -> "ring"). See docs/algorithms.md.
  std::map<std::string, std::string> algorithms;
  // No variable: buffers in it are read and written in place by the other ranks of the host, like those of
  // Comm::allocate. Each rank may lend or not; where one cannot map another's, nobody lends.
  LentMemory lent{};

  // Reads the variables above; throws Error{invalid_argument} naming the variable and its value.
  LIBCOLL_API static Config from_environment();
};

}  // namespace libcoll
