// The collectives that can be measured, and what a size in bytes means for each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "libcoll/comm.hpp"

namespace bench {

using libcoll::Count;

enum class Coll {
  barrier,
  bcast,
  reduce,
  allreduce,
  reduce_scatter,
  allgather,
  gather,
  scatter,
  alltoall,
  scan,
  exscan,
  allgatherv,
  gatherv,
  scatterv,
  alltoallv,
};

struct CollInfo {
  Coll coll;
  const char* name;
  const char* title;  // as OSU spells it
  bool reduces;
  bool has_root;
};

std::span<const CollInfo> all_collectives();
const CollInfo& info_of(Coll);
// What libcoll calls it.
const char* library_name(Coll);
// Null if there is no such collective.
const CollInfo* find_collective(std::string_view name);

// What one call of one rank looks like: a value, without buffers.
struct Shape {
  Coll coll = Coll::barrier;
  libcoll::DType dtype = libcoll::DType::f32;
  libcoll::Op op = libcoll::Op::sum;
  int root = 0, rank = 0, ranks = 1;
  Count count = 0;                       // the call's count argument
  std::uint64_t bytes = 0;               // the size this cell is reported under
  Count send_count = 0, recv_count = 0;  // elements in this rank's buffers (also where it does not use them)
  std::vector<Count> counts = {}, displs = {};  // of the v-forms; all ranks' counts are equal, as in OSU
  std::size_t element_bytes() const { return libcoll::size_of(dtype); }
};

// `bytes` is rounded down to whole elements (for reduce_scatter: to whole blocks), but not to none.
Shape make_shape(Coll, std::uint64_t bytes, libcoll::DType, libcoll::Op, int root, int rank, int ranks);
// Powers of two times the smallest; without repeats after rounding. {0} for a barrier.
std::vector<std::uint64_t> sizes_for(Coll, std::uint64_t min, std::uint64_t max, std::size_t element_bytes,
                                     int ranks);

}  // namespace bench
