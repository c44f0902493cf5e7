// Any bytes as a topology file (NCCL's XML above all), and as what nvidia-smi prints: valid Machines, whose
// islands and rails can be told, or a failure.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "topology/describe.hpp"
#include "topology/import.hpp"

namespace {

void use(const std::vector<libcoll::topo::Machine>& machines) {
  using namespace libcoll::topo;
  const auto back = import_topology(to_json(machines));
  if (!back || *back != machines) std::abort();
  const Islands islands = find_islands(machines);
  if (describe(machines, islands, find_rails(machines, islands)).empty()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace libcoll::topo;
  const std::string_view text(reinterpret_cast<const char*>(data), bytes);
  if (const auto machines = import_topology(text)) use(*machines);
  if (const auto m = import_smi_topology(text)) use({*m});
  return 0;
}
