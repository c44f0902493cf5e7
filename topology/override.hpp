// LIBCOLL_TOPOLOGY: what a user says of a machine instead of what was probed, or on top of it. Pure. The format is
// described in docs/topology.md.
#pragma once

#include <string_view>

#include "topology/machine.hpp"

namespace libcoll::topo {

// The machine that `text` describes, or `probed` with what `text` overrides. A whole machine is anything that
// import_topology reads; of several the one named like probed.host. One without CPUs keeps those of `probed` and
// replaces its devices. A failure says which key or value is wrong; the caller knows the file's name.
detail::Result<Machine> apply_topology(const Machine& probed, std::string_view text);

// Whether `text` speaks of devices by what probing them tells: then `probed` must hold this host's devices.
bool wants_probed_devices(std::string_view text);

}  // namespace libcoll::topo
