// GpuFabric: which GPUs of the ranks reach each other through NVLink alone, and who exchanges with whom between
// such islands. Pure: ranks that hold the same records build the same value. A rank is a record's index.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "topology/gpu_record.hpp"
#include "topology/islands.hpp"

namespace libcoll::topo {

// Each rank is in exactly one of: an island, `demoted`, `unknown`, `mig`, `without_gpu`, or behind the first
// in a list of `shared`. Only GPUs that ranks use count: links to others are links elsewhere.
struct GpuFabric {
  int size = 0;
  // Ordered by their lowest ranks. The members of an island are in RAIL ORDER, not ascending: host by host,
  // in the order of the hosts' lowest ranks, on each by PCI address. GPUs that no NVLink joins are islands of one.
  std::vector<std::vector<int>> islands;
  std::vector<int> leaders;     // by island: the member nearest its NIC, the first of those
  std::vector<Bridge> bridges;  // a, b: ranks
  // Rail r: islands[i][r] of every island i that has so many members, in the order of the islands.
  std::vector<std::vector<int>> rails;
  int full_rails = 0;                    // rails 0 to full_rails - 1 run through all islands
  std::vector<int> demoted;              // fewer NVLinks than their siblings
  std::vector<int> unknown;              // nobody told their NVLinks
  std::vector<int> mig;                  // slices: of no island, as they have no NVLinks
  std::vector<int> without_gpu;          // all ascending
  std::vector<std::vector<int>> shared;  // ranks of one GPU, ascending; the first stands for it in the rest
  std::vector<int> island_of, rail_of;   // by rank, -1 if in none
  std::vector<int> nic_of;               // by rank: index into its record's `nic`, -1 if none
  std::vector<std::string> reports;      // sentences about what to note, at most max_reports

  // Equal on all ranks that hold the same records; compare it before relying on anything else.
  std::uint64_t hash() const;
  friend bool operator==(const GpuFabric&, const GpuFabric&) = default;
};

inline constexpr std::size_t max_reports = 64;
// Of one host, or joined by one multi-node fabric: pairs of them are looked at.
inline constexpr int max_joined_gpus = 1024;

GpuFabric build_gpu_fabric(std::span<const GpuRecord> by_rank);

// For people (a tree) and programs.
std::string describe(const GpuFabric&, std::span<const GpuRecord> by_rank);
std::string to_json(const GpuFabric&, std::span<const GpuRecord> by_rank);

}  // namespace libcoll::topo
