// What stands between an untrusted hwloc XML file and hwloc's parser.
#pragma once

#include <string>
#include <string_view>

#include "libcoll/core/result.hpp"

namespace libcoll::topo {

// Checks a document (well-formed, format 2, bounded size, depth and counts, nested CPU sets, unique
// CPUs and ids, plain numbers) and returns its CPU side alone: devices, distances, user data and
// everything else that this library does not read never reaches hwloc.
detail::Result<std::string> guard_hwloc_xml(std::string_view text);

}  // namespace libcoll::topo
