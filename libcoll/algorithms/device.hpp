// Schedules for buffers in the memory of GPUs. Natives are NCCL calls on a group's communicator, messages are grouped
// ncclSend and ncclRecv on the communicator of all ranks, copies stay on the device. Nothing else exists there: no device
// schedule holds a reduce or a finish, and an average is NCCL's own in every native that reduces (islands are equal, so
// that averages of averages are right): builders take no notice of Problem::averages.
// Natives used: barrier, bcast, reduce, allreduce, reduce_scatter, allgatherv. Pure functions, equal on all ranks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "libcoll/algorithms/algorithm.hpp"

namespace libcoll::algo {

// Ranks of the communicator. Islands hold every rank once. Rail r: the r-th member of every island, in the order of the
// islands; rails count only if all islands are equally large.
struct DeviceGroups {
  std::vector<std::vector<int>> islands, rails;
};
// With the rails that these islands have; without any if they are unequal.
DeviceGroups device_groups(std::vector<std::vector<int>> islands);
// Problem::groups of device schedules, a communicator each: everyone (always the first), islands of two ranks or more,
// then rails of two or more; a list of ranks that has come already does not come again.
std::vector<std::vector<int>> device_group_list(int size, const DeviceGroups&);

// "nccl": one NCCL call over everyone (or all messages at once). "island/nccl": over islands and rails.
// Options of the latter, as of other recipes: "chunk=65536" and "slices=1", for example "island/nccl:chunk=65536".
struct DeviceRecipe {
  bool over_islands = false;
  std::int64_t chunk = 0;  // elements (of every block, where there are blocks) per pipelined chunk; 0: the whole at once
  // What crosses between islands is cut among their members: each card carries its part. false ("slices=1"): fewer calls,
  // but every card that is used carries all; for small operations.
  bool sliced = true;
  friend bool operator==(const DeviceRecipe&, const DeviceRecipe&) = default;
};
// Errors name the part that is wrong.
detail::Result<DeviceRecipe> parse_device_recipe(std::string_view);
std::string to_text(const DeviceRecipe&);

// Why not, or nothing. Never depends on the rank. Problem::groups must hold device_group_list's.
std::string refuses_device(const Problem&, const DeviceGroups&, const DeviceRecipe&);
// Of a recipe that is not refused.
Schedule build_device(const Problem&, const DeviceGroups&, const DeviceRecipe&, int rank);
// All that are worth considering and not refused, plain NCCL first, in one order on all ranks. Empty: NCCL alone cannot.
std::vector<DeviceRecipe> device_candidates(const Problem&, const DeviceGroups&);

}  // namespace libcoll::algo
