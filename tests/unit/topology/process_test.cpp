// CPU quotas from injected /proc and /sys text.
#include "topology/process.hpp"

#include <gtest/gtest.h>

#include <map>

#include "support.hpp"

namespace libcoll::topo {
namespace {

using Files = std::map<std::string, std::string>;

CpuQuota quota(const Files& files, std::uint64_t ns = 1) {
  return cpu_quota(
      [&](const std::string& path) -> std::optional<std::string> {
        const auto it = files.find(path);
        return it == files.end() ? std::nullopt : std::optional(it->second);
      },
      ns);
}

const std::string v2_mount =
    "29 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
const std::string v1_mount =
    "25 20 0:21 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "26 20 0:22 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";

TEST(Quota, CpuMaxText) {
  EXPECT_EQ(parse_cpu_max("max 100000\n"), 0);
  EXPECT_EQ(parse_cpu_max("200000 100000\n"), 2);
  EXPECT_EQ(parse_cpu_max("250000 100000"), 2);  // floor
  EXPECT_EQ(parse_cpu_max("50000 100000"), 1);   // at least 1
  EXPECT_EQ(parse_cpu_max("-1\n 100000\n"), 0);
  EXPECT_EQ(parse_cpu_max("9223372036854775807 1"), 1000000);
  for (const char* odd : {"", " ", "max", "5", "5 0", "5 -1", "nan nan", "x", "99999999999999999999 1"})
    EXPECT_EQ(parse_cpu_max(odd), 0) << odd;
}

TEST(Quota, NoneWithoutFiles) {
  EXPECT_EQ(quota({}), CpuQuota{});
  EXPECT_EQ(quota({{"/proc/self/cgroup", "garbage\n::::\n0:\n"},
                   {"/proc/self/mountinfo", "garbage - \n - cgroup2\n"}})
                .cpus,
            0);
}

TEST(Quota, Version2TakesTheTightestAncestor) {
  Files f{{"/proc/self/cgroup", "0::/slurm/job/step\n"},
          {"/proc/self/mountinfo", v2_mount},
          {"/sys/fs/cgroup/slurm/job/step/cpu.max", "max 100000\n"},
          {"/sys/fs/cgroup/slurm/job/cpu.max", "300000 100000\n"},
          {"/sys/fs/cgroup/slurm/cpu.max", "800000 100000\n"}};
  const CpuQuota job = quota(f);
  EXPECT_EQ(job.cpus, 3);
  f["/proc/self/cgroup"] = "0::/slurm/job/other\n";
  EXPECT_EQ(quota(f), job);  // another step of the same job shares its limit
  f["/sys/fs/cgroup/slurm/job/other/cpu.max"] = "150000 100000";
  EXPECT_EQ(quota(f).cpus, 1);
  EXPECT_NE(quota(f).cgroup, job.cgroup);
}

TEST(Quota, Version1) {
  const Files f{{"/proc/self/cgroup", "4:memory:/a\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n"},
                {"/proc/self/mountinfo", v1_mount},
                {"/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "450000\n"},
                {"/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n"},
                {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"},
                {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"}};
  EXPECT_EQ(quota(f).cpus, 4);
}

TEST(Quota, ContainersAreToldApartByNamespace) {
  const Files f{{"/proc/self/cgroup", "0::/\n"},
                {"/proc/self/mountinfo", v2_mount},
                {"/sys/fs/cgroup/cpu.max", "200000 100000\n"}};
  EXPECT_EQ(quota(f).cpus, 2);
  EXPECT_NE(quota(f, 1).cgroup, quota(f, 2).cgroup);
}

TEST(Quota, MountOfASubtree) {
  Files f{{"/proc/self/cgroup", "0::/docker/abc/inner\n"},
          {"/proc/self/mountinfo", "29 22 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n"},
          {"/sys/fs/cgroup/inner/cpu.max", "500000 100000\n"}};
  EXPECT_EQ(quota(f).cpus, 5);
  f["/proc/self/cgroup"] = "0::/elsewhere\n";
  f["/sys/fs/cgroup/cpu.max"] = "200000 100000\n";
  EXPECT_EQ(quota(f).cpus, 2);
  f["/proc/self/cgroup"] = "0::/../../escape\n";
  EXPECT_EQ(quota(f).cpus, 2);
}

}  // namespace
}  // namespace libcoll::topo
