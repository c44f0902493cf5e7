// The devices of this host: what the PCI bus shows, and what NVML tells of the NVIDIA GPUs on it. Never
// fails: what could not be had is said in the notes.
#pragma once

#include <functional>
#include <string>

#include "topology/files.hpp"
#include "topology/machine.hpp"
#include "topology/nvml_reader.hpp"

namespace libcoll::topo {

// GPUs, NICs and NVLinks of this host into what probe_host gave. Milliseconds without NVIDIA devices, up to
// seconds with them, as NVML may have to wake up the driver. Not for each rank of a host: one can tell all.
void probe_devices(Machine&);

// NVML's answers into a machine that may know the GPUs from the PCI bus: joined by PCI address. GPUs on the
// bus that NVML does not show are not this process's and go; those that only NVML shows come without
// locality. `read` tells other vendors' GPUs by /sys/bus/pci.
void add_nvml(Machine&, const nvml::Table&, const FileReader& read = system_files());

// The part of it that is pure. `keeps` tells GPUs that NVML need not show, by bus id.
void join_nvml(Machine&, const NvmlReport&, const std::function<bool(const std::string& bus_id)>& keeps);

// How to tell what a machine did not.
inline constexpr const char* how_to_supply_gpus =
    "coll-info --topology-file shows those in the output of nvidia-smi topo -m, or in what NCCL writes to "
    "NCCL_TOPO_DUMP_FILE";

}  // namespace libcoll::topo
