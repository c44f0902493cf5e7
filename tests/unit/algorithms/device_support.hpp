// Proofs of device schedules: what device_test and device_scale_test share.
#pragma once

#include <string>
#include <vector>

#include "libcoll/algorithms/device.hpp"
#include "tests/support/proofs.hpp"

namespace libcoll::test {

enum class Placement : std::uint8_t { blocks, round_robin, random };

// `many` islands of `members` ranks.
algo::DeviceGroups equal_islands(int many, int members, Placement, std::uint64_t seed = 1);

std::vector<sched::Schedule> build_device_all(const sched::Problem&, const algo::DeviceGroups&, const algo::DeviceRecipe&);
// The schedule as one CUDA stream runs it: in its order, messages that follow each other at once.
sched::Schedule in_one_stream(const sched::Schedule&);
// What a device cannot do: another step, another native, unequal parts where `equal` (NCCL would need a call for each). "" if nothing.
std::string foreign_to_devices(const sched::Schedule&, bool equal);

// "" or what is wrong, with the problem and the recipe. Fills the problem's groups. `streams`: proves the order of one stream, too.
std::string prove_device(sched::Problem, const algo::DeviceGroups&, const algo::DeviceRecipe&, bool streams = true);

}  // namespace libcoll::test
