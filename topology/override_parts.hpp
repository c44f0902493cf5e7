// What an override (see override.hpp) changes: NVLinks, islands, NICs of GPUs. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "topology/machine.hpp"

namespace libcoll::topo {

// Not a machine, which has neither of the keys.
bool is_override(const nlohmann::json&);
// Throws Malformed (json_reader.hpp) that names the key and the value. The result need not be valid.
Machine override_parts(const Machine& probed, const nlohmann::json&);

}  // namespace libcoll::topo
