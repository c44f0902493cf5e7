// What links cost, agreed among all ranks of a world: the input of every prediction.
#pragma once

#include <string>

namespace libcoll::planning {

struct Costs {
  // Inside a host (xport::shm::Costs).
  double hop_us = 0.15;           // one rank's flag seen by another, kernel call included
  double copy_gbps = 8;           // reading what another rank wrote
  double staged_gbps = 6;         // staging and reading together
  double ranks_per_cpu = 1;       // where it is worst; above 1 a hop is a round of context switches
  bool crowded() const { return ranks_per_cpu > 1; }
  // Between hosts.
  double alpha_us = 12;           // a message of no bytes, one way
  double network_gbps = 1;        // of one stream of large messages
  double both_gbps = 1;           // of each of two streams between the same two ranks, one each way (sockets cost their CPUs at both ends)
  double send_us = 2;             // of CPU time per message: what a second message at once costs
  // Arithmetic.
  double reduce_gbps = 8;         // bytes of an operand per second, of up to 256 KiB
  double reduce_large_gbps = 5;   // of 1 MiB
  bool measured = false;
};

// For the log.
std::string to_text(const Costs&);

}  // namespace libcoll::planning
