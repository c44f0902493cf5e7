// Machines from files that other tools wrote. Any text at all gives valid Machines or a failure that
// names the line, the element and what is wrong. What a file does not tell is noted, never guessed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "topology/machine.hpp"

namespace libcoll::topo {

// NCCL's and RCCL's topology XML, versions 1 and 2 (NCCL_TOPO_DUMP_FILE, or what clouds ship for
// NCCL_TOPO_FILE). One Machine for each host in it, in the order of the file; the CPU side ends at NUMA
// nodes.
detail::Result<std::vector<Machine>> import_nccl_xml(std::string_view text);

// The matrix that `nvidia-smi topo -m` prints.
detail::Result<Machine> import_smi_topology(std::string_view text);

// Any of the above, hwloc XML, or this library's JSON of a Machine or of several: told apart by content.
detail::Result<std::vector<Machine>> import_topology(std::string_view text);
// The same; failures begin with the path.
detail::Result<std::vector<Machine>> import_topology_file(const std::string& path);

// The other direction: one Machine, or an array of them.
std::string to_json(const std::vector<Machine>&);

// GPUs, NICs, NVSwitches and NVLinks of an hwloc XML document whose CPU side `m` already holds.
detail::Result<void> import_hwloc_devices(Machine& m, std::string_view text);

}  // namespace libcoll::topo
