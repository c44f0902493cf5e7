// Any bytes as hwloc XML: a valid Machine or a failure.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "topology/describe.hpp"
#include "topology/probe_hwloc.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace libcoll::topo;
  const auto m = import_hwloc_xml({reinterpret_cast<const char*>(data), bytes});
  if (!m) return 0;
  const auto back = machine_from_json(to_json(*m));
  if (!back || *back != *m || describe(*m).empty()) std::abort();
  return 0;
}
