// GpuRecord: what one rank tells all others about its GPU. A fixed size without pointers, for one allgather.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "topology/machine.hpp"

namespace libcoll::topo {

// No padding: the bytes are sent and hashed as they are. Zeroed by {}; then it is a rank without a GPU once
// `version` is set. Whoever reads one from another process goes through gpu_fabric, which trusts no count in it.
struct GpuRecord {
  static constexpr std::uint32_t current_version = 1;
  static constexpr int max_peers = 16, max_nics = 8;
  enum Flag : std::uint32_t {
    has_gpu = 1,       // the rank uses a GPU
    is_listed = 2,     // its machine shows that GPU; else nothing below but `bus` and `uuid` is known
    knows_links = 4,   // else the absence of NVLinks says nothing
    is_mig = 8,        // a slice of a GPU
    is_healthy = 16    // its multi-node NVLink fabric
  };
  // Direct NVLinks to a GPU of the host, whether or not a rank uses that.
  struct Peer {
    std::uint64_t bus;
    std::uint32_t links, mb_per_s;  // 0 = unknown
  };
  struct Nic {
    std::uint64_t bus;  // 0: it has no PCI address
    std::uint32_t mb_per_s;
    std::uint16_t ordinal;  // among the NICs of its machine
    std::uint8_t path;      // PathClass
    std::uint8_t reserved;
    char name[24];  // always terminated
  };

  std::uint32_t version;
  std::uint32_t flags;
  std::uint64_t host_id;  // RankRecord's: equal where ranks run on one host
  std::uint64_t bus;      // pack_bus of its PCI address, 0 = unknown
  char uuid[56];          // of the GPU or, where is_mig, of the slice; empty = unknown
  char cluster[48];       // multi-node NVLink fabric; empty: in none
  std::uint32_t clique;
  std::uint32_t switch_links, switch_mb_per_s;  // NVLinks to NVSwitches together
  std::uint32_t cpu_links, cpu_mb_per_s;        // and to the CPU
  std::uint32_t links_elsewhere;                // to what its machine does not show
  std::uint32_t peers, nics;                    // how many of these hold something
  Peer peer[max_peers];
  Nic nic[max_nics];  // nearest first, those worth using only (see find_rails)

  bool has(Flag f) const noexcept { return (flags & f) != 0; }
};
static_assert(std::is_trivially_copyable_v<GpuRecord> && sizeof(GpuRecord) == 736);
static_assert(std::has_unique_object_representations_v<GpuRecord>);

// "0000:1b:00.0", "00000000:1B:00.0" and "1b:00.0" as one number; 0 if it is no PCI address.
std::uint64_t pack_bus(std::string_view bus_id);
std::string unpack_bus(std::uint64_t);  // "0000:1b:00.0", empty for 0

// The record of a rank that uses the machine's GPU at that PCI address, in any of the spellings above; of one
// without a GPU where the address is empty. A GPU that the machine does not list has unknown links, and
// build_gpu_fabric reports it. Of a slice (MIG) the machine knows no UUID: see set_uuid.
GpuRecord gpu_record(const Machine&, std::string_view bus_id, std::uint64_t host_id);

// "GPU-8c6d..." or "MIG-...", as nvidia-smi -L prints them; the latter makes it a slice. Slices of one GPU
// count as one GPU until their UUIDs are set.
void set_uuid(GpuRecord&, std::string_view uuid);

}  // namespace libcoll::topo
