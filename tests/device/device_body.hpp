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
  bool needs_nccl = true;          // fails where plans do not go through NCCL
  Count most_count = 5000;         // elements of a block
};

// Collective. The current device is this rank's. Throws std::runtime_error that names the case and the first wrong element.
void run_device_body(Comm&, const device::Runtime&, const DeviceBodyOptions&);
// Captures a few calls in a graph and replays it.
void run_capture(Comm&, const device::Runtime&);

}  // namespace libcoll::test
