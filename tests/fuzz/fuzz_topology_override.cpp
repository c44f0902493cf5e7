// Any bytes as LIBCOLL_TOPOLOGY: a valid Machine whose islands and rails can be told, or a failure.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "tests/unit/topology/made_hosts.hpp"
#include "topology/override.hpp"
#include "topology/rails.hpp"

namespace {

// GPUs 0000:00:00.0 to 0000:03:00.0, NICs nic0 to nic3.
libcoll::topo::Machine probed() {
  using namespace libcoll::topo;
  MadeHost h = make_switched_host(4, 4, 18);
  link(h.machine, h.gpus[0], h.gpus[1], 2);
  for (std::size_t g = 0; g < 4; ++g) h.machine.nodes[static_cast<std::size_t>(h.gpus[g])].bus_id = "0000:0" + std::to_string(g) + ":00.0";
  return h.machine;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace libcoll::topo;
  static const Machine machine = probed();
  const std::string_view text(reinterpret_cast<const char*>(data), bytes);
  wants_probed_devices(text);
  const auto m = apply_topology(machine, text);
  if (!m) return m.error().text.empty() ? (std::abort(), 0) : 0;
  if (!validate(*m)) std::abort();
  const std::vector<Machine> machines{*m};
  find_rails(machines, find_islands(machines));
  return 0;
}
