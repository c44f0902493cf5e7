// The conformance suite of GPU memory: every collective on buffers of GPUs against the same call on host memory. Runs on
// the double (double_test) and on real CUDA and NCCL (gpu_main, ./test.sh --gpu).
#pragma once

#include <cstdint>

#include "libcoll/libcoll.hpp"
#include "transports/nccl/runtime.hpp"

namespace libcoll::test {

struct DeviceBodyOptions {
  std::uint64_t seed = 1;          // equal on all ranks
  int random_cases = 150;          // beyond every type and operation, and every form
  bool islands = false;            // also by schedules over islands, which there must be
  Count most_count = 5000;         // elements of a block
};

// Collective. The current device is this rank's. Throws std::runtime_error that names the case and the first wrong element.
void run_device_body(Comm&, const device::Runtime&, const DeviceBodyOptions&);
// The same of calls that are captured: an allreduce, an allgather and a bcast as one graph, replayed with other data; what a
// capture refuses, and that the communicator goes on afterwards.
void run_device_graphs(Comm&, const device::Runtime&, std::uint64_t seed);
// And of calls on three streams and two communicators at once.
void run_device_streams(Comm&, const device::Runtime&, std::uint64_t seed, int rounds);

}  // namespace libcoll::test
