// Islands: GPUs that reach each other through NVLink (or xGMI) alone, and what joins the islands. Pure.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "topology/machine.hpp"

namespace libcoll::topo {

struct GpuRef {
  int host = 0;  // index into the machines
  int node = 0;  // index into that machine's nodes
  friend bool operator==(const GpuRef&, const GpuRef&) = default;
};

// A link between two GPUs of different islands.
struct Bridge {
  int a = 0, b = 0;  // GPUs, a < b
  int links = 0;     // 0 = unknown
  std::uint64_t mb_per_s = 0;
  friend bool operator==(const Bridge&, const Bridge&) = default;
};

// GPUs are numbered over all hosts, host by host in the order of the machines.
struct Islands {
  std::vector<GpuRef> gpus;
  std::vector<std::vector<int>> islands;  // of GPUs, ascending, ordered by their lowest
  std::vector<Bridge> bridges;
  std::vector<int> demoted;  // fewer links than their siblings: in no island, so that they slow down none
  std::vector<int> unknown;  // on hosts whose NVLinks nobody told: in no island either
  std::vector<std::string> reports;

  int island_of(int gpu) const;  // -1 if it is in none
  friend bool operator==(const Islands&, const Islands&) = default;
};

// Joined are GPUs of one host with a direct link or both at NVSwitches, and GPUs at NVSwitches of
// several hosts whose fabric tuples are equal and healthy. A complete and balanced component of that
// graph is an island. Others are parted into the best equal cliques, the links left over being bridges.
// `name` says what the reports call a GPU; gpu_name where there is none.
using GpuNamer = std::function<std::string(GpuRef)>;
Islands find_islands(std::span<const Machine>, const GpuNamer& name = {});

// "GPU 3", or "host-a GPU 3" where there are several machines.
std::string gpu_name(std::span<const Machine>, GpuRef);
std::string host_name(std::span<const Machine>, int host);

}  // namespace libcoll::topo
