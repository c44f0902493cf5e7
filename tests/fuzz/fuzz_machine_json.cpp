// Any bytes as the JSON of a Machine and of a Hierarchy: a valid value that round-trips, or a failure.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "topology/describe.hpp"
#include "topology/hierarchy.hpp"
#include "topology/machine.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace libcoll::topo;
  const std::string_view text(reinterpret_cast<const char*>(data), bytes);
  if (const auto m = machine_from_json(text)) {
    const auto back = machine_from_json(to_json(*m));
    if (!back || *back != *m || describe(*m).empty()) std::abort();
  }
  if (const auto h = hierarchy_from_json(text)) {
    const auto back = hierarchy_from_json(to_json(*h));
    if (!back || *back != *h) std::abort();
  }
  return 0;
}
