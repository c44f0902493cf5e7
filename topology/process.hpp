// What the kernel lets this process have: CPUs, a share of them, a host to call its own.
#pragma once

#include <cstdint>
#include <string>

#include "topology/cpuset.hpp"
#include "topology/files.hpp"

namespace libcoll::topo {

// sched_getaffinity for any number of CPUs; empty if the kernel refuses.
CpuSet affinity_of_process();

// The tightest CPU bandwidth limit on the way from this process's cgroup to the root.
struct CpuQuota {
  int cpus = 0;              // whole CPUs' worth of time, at least 1; 0 = no limit
  std::uint64_t cgroup = 0;  // identity of the limiting cgroup: its members share the limit
  friend bool operator==(const CpuQuota&, const CpuQuota&) = default;
};

// Version 2 (cpu.max) and version 1 (cpu.cfs_quota_us). `cgroup_namespace` tells apart cgroups that
// containers see under the same path.
CpuQuota cpu_quota(const FileReader&, std::uint64_t cgroup_namespace);

// CPUs of "max 100000" or "250000 100000" (0: no limit, or not understood).
int parse_cpu_max(std::string_view text);

// Inode of /proc/self/ns/<name>, 0 if it can't be read.
std::uint64_t namespace_inode(const char* name);

// Equal for processes that share a kernel, a network and a host name, so that shared memory and
// loopback among them may work. LIBCOLL_HOST_ID, if set, replaces all of that.
std::uint64_t host_id();
std::string host_name();

}  // namespace libcoll::topo
