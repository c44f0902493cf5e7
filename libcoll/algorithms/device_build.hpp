// What the files of device schedules share.
#pragma once

#include "libcoll/algorithms/compose.hpp"
#include "libcoll/algorithms/device.hpp"

namespace libcoll::algo {

// One rank's place among equal islands. Natives of `mine` and `rail` take members in the order of these teams.
struct DevicePlace {
  DevicePlace(const Problem&, const DeviceGroups&, int rank);
  const std::vector<std::vector<int>>& islands;
  Team mine, rail;                   // rail.me: which island is the rank's
  int island_group, rail_group;      // indices into Problem::groups
  int members() const { return mine.size(); }
  int many() const { return rail.size(); }  // islands
};
inline constexpr int everyone_group = 0;

// How blocks lie, one per rank: what can be given to natives of an island without being copied first.
enum class BlockOrder : std::uint8_t {
  by_island,  // the blocks of every island follow each other, members in order
  by_rail,    // of every rail, islands in order
  mixed,
};
BlockOrder block_order(const std::vector<std::vector<int>>& islands);

// What build_device takes apart: flat forms; whole vectors over islands; blocks over islands.
void build_device_flat(Builder&, const Problem&);
void build_device_vector(Site, const DevicePlace&, bool sliced);
void build_device_blocks(Site, const DevicePlace&, bool sliced);
// By messages, since NCCL has no alltoall in the versions that libcoll takes.
void build_device_alltoall(Site, const DevicePlace&);

// n parts of `each` elements, one after the other.
std::vector<Part> equal_parts(int n, std::int64_t each);
// What alltoall sends: a copy of it, if the call is in place.
Range alltoall_source(Builder&, const Problem&);

}  // namespace libcoll::algo
