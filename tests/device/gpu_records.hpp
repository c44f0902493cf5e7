// What a machine with GPUs looks like, as files that later become fixtures.
#pragma once

#include <string>
#include <vector>

namespace libcoll::test {

// HOST.hwloc.xml and HOST.machine.json (with NVML's answers) in the directory, which is made; returns what was written.
// Throws where that fails.
std::vector<std::string> record_machine(const std::string& directory);
// What NCCL is to write there (NCCL_TOPO_DUMP_FILE).
std::string nccl_dump_name(const std::string& directory);

}  // namespace libcoll::test
