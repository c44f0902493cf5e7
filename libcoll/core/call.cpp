#include "libcoll/core/call.hpp"

#include <fmt/format.h>

#include <array>

namespace libcoll::detail {

const char* name_of(Coll coll) noexcept {
  static constexpr std::array<const char*, coll_count> names{
      "barrier", "bcast", "reduce", "allreduce", "reduce_scatter_block", "reduce_scatter", "allgather", "allgatherv",
      "gather", "gatherv", "scatter", "scatterv", "alltoall", "alltoallv", "scan", "exscan"};
  const auto i = static_cast<std::size_t>(coll);
  return i < names.size() ? names[i] : "unknown collective";
}

const char* name_of(Algorithm algorithm) noexcept {
  static constexpr std::array<const char*, 4> names{"automatic", "direct", "sliced", "grouped"};
  return names[static_cast<std::size_t>(algorithm) % names.size()];
}

std::string to_text(const Call& c) {
  return fmt::format("{}(count {}, {}, {}, root {}, algorithm {})", name_of(c.coll), c.count, libcoll::name_of(c.dtype), libcoll::name_of(c.op),
                     c.root, name_of(c.algorithm));
}

}  // namespace libcoll::detail
