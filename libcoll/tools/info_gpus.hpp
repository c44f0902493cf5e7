// What coll-info asks a job about its GPUs. Collective where it says so.
#pragma once

#include <string>
#include <vector>

#include "libcoll/bootstrap.hpp"
#include "topology/fabric.hpp"
#include "topology/gpu_fabric.hpp"

namespace libcoll::info {

struct JobGpus {
  std::vector<topo::GpuRecord> records;  // by rank
  topo::GpuFabric fabric;
  bool any() const { return static_cast<int>(fabric.without_gpu.size()) < fabric.size; }
};

// Collective. `m` counts on the first rank of each host only, which has probed its devices. The i-th rank of a host
// uses the i-th of `buses` (PCI addresses), or of the GPUs that its machine shows, over and over.
JobGpus gather_gpus(Bootstrap&, const topo::Machine& m, const topo::Fabric&, const std::vector<std::string>& buses);

// As if each GPU of these hosts had a rank, host by host in the order of addresses. GPUs without one get one.
JobGpus gpus_with_ranks(std::vector<topo::Machine>);

// By GPU, numbered as find_islands does over these machines, the fabric's i-th host being the i-th: its ranks. The
// machines may be copies of one; what a record knows better, the fabric of the GPU, is put in.
std::vector<std::vector<int>> ranks_of_gpus(std::vector<topo::Machine>& machines, const topo::Fabric&, const JobGpus&);

}  // namespace libcoll::info
