// What NVML tells of the GPUs that this process may use, as a value. Whatever fails becomes a note.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "topology/devices.hpp"
#include "topology/nvml_table.hpp"

namespace libcoll::topo {

// An active link over which GPUs, or a GPU and its CPU, may access each other's memory.
struct NvmlLink {
  nvml::RemoteType to = nvml::RemoteType::unknown;
  std::optional<PciAddress> peer;
  std::uint64_t mb_per_s = 0;  // one way, 0 = unknown
};

struct NvmlGpu {
  int index = 0;  // NVML's: as nvidia-smi numbers the GPUs
  PciAddress at;
  std::string name, uuid;
  bool is_mig = false;
  NvlinkFabric fabric;
  bool knows_links = false;  // else `links` being empty says nothing
  std::vector<NvmlLink> links;
  int c2c_links = 0;  // to its CPU
  std::uint64_t c2c_mb_per_s = 0;
};

struct NvmlReport {
  std::vector<NvmlGpu> gpus;  // those with a PCI address
  std::vector<std::string> notes;
};

// A failure if NVML does not start, does not count its GPUs or locates none of them. NVML is shut down again.
detail::Result<NvmlReport> read_nvml(const nvml::Table&);

}  // namespace libcoll::topo
