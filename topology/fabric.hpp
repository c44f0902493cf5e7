// Fabric: all ranks and where they run, as every rank learns it from ONE allgather of RankRecord.
// A pure value: ranks that hold the same records build the same Fabric.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "topology/machine.hpp"

namespace libcoll::topo {

// A part of the machine that holds all of a rank's CPUs. `key` is its identity on the host (see
// Node::key), `label` what people read. Unbound: the rank's CPUs span several such parts.
struct Place {
  std::int32_t key = -1;
  std::int32_t label = -1;
  bool bound() const noexcept { return key >= 0; }
  friend bool operator==(const Place&, const Place&) = default;
};

// CPU sets of any machine in fixed space: 32 ranges of numbers. Sets of more ranges are encoded as
// the smallest superset that fits, closing the narrowest gaps.
struct PackedCpus {
  static constexpr int max_ranges = 32;
  std::uint16_t first[max_ranges];
  std::uint16_t last[max_ranges];
  std::uint32_t ranges;
  std::uint32_t exact;  // 1, or 0 for a superset
};
PackedCpus pack(const CpuSet&);
CpuSet unpack(const PackedCpus&);

// What each rank contributes. No padding: the bytes are sent and hashed as they are. Zeroed by {}.
struct RankRecord {
  static constexpr std::uint32_t current_version = 1;
  std::uint32_t version;  // a rank of another libcoll shows here, whatever else moved
  std::uint32_t flags;    // reserved, zero
  std::uint64_t host_id;
  std::uint64_t machine_fingerprint;
  std::uint64_t pid_namespace;
  std::uint64_t quota_cgroup;  // ranks with the same one share quota_cpus
  std::int32_t quota_cpus;     // 0: no limit on CPU time
  std::int32_t usable_cpus;    // of this rank alone: affinity, bounded by the quota; at least 1
  std::int32_t pid;
  std::uint32_t uid;
  std::int32_t pu;  // the CPU if bound to one, else -1
  std::int32_t reserved;
  Place core, l3, numa, package;
  PackedCpus affinity;
  char host_name[64];  // always terminated

  std::string_view host() const noexcept;
};
static_assert(std::is_trivially_copyable_v<RankRecord> && sizeof(RankRecord) == 296);
static_assert(std::has_unique_object_representations_v<RankRecord>);

// The calling process. Reads LIBCOLL_HOST_ID.
RankRecord local_record(const Machine&);
// Pure: sets affinity, pu, core, l3, numa, package, usable_cpus (from the quota already there) and
// machine_fingerprint of a rank that may run on `affinity`.
void place(RankRecord&, const Machine&, const CpuSet& affinity);

struct Host {
  std::uint64_t id = 0;
  std::string name;
  std::vector<int> ranks;       // ascending
  CpuSet cpus;                  // union of the ranks' affinities
  int usable_cpus = 0;          // those, bounded by the cgroups' CPU time
  bool oversubscribed = false;  // more ranks than usable CPUs: spinning waits would starve peers
  friend bool operator==(const Host&, const Host&) = default;
};

struct Fabric {
  std::vector<RankRecord> records;  // by rank
  std::vector<Host> hosts;          // in the order of their lowest ranks
  std::vector<int> host_of;         // by rank: index into hosts

  int size() const noexcept { return static_cast<int>(records.size()); }
  // Equal on all ranks that hold the same records; compare it before relying on anything else.
  std::uint64_t hash() const;
};

Fabric build_fabric(std::vector<RankRecord> records_by_rank);
std::string to_json(const Fabric&);

}  // namespace libcoll::topo
