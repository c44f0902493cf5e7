// The probe on the host that runs the test, whatever that is. Variations run in a child process, so
// that affinity and environment of the others stay as they are.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>

#include "support.hpp"
#include "topology/process.hpp"

namespace libcoll::topo {
namespace {

// Exit code of `body` in a child: 0 if it returns an empty text, which is printed otherwise.
int in_child(const std::function<std::string()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string complaint = body();
    if (!complaint.empty()) std::fprintf(stderr, "child: %s\n", complaint.c_str());
    std::fflush(stderr);
    ::_exit(complaint.empty() ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Probe, ThisHostMakesSense) {
  const auto m = probe_host();
  ASSERT_TRUE(m) << m.error().text;
  EXPECT_TRUE(validate(*m));
  EXPECT_TRUE(m->cpus().includes(affinity_of_process()));
  EXPECT_GE(m->line_bytes, 16u);
  EXPECT_EQ(*machine_from_json(to_json(*m)), *m);
  EXPECT_EQ(probe_host()->fingerprint(), m->fingerprint());
}

TEST(Probe, LocalRecordIsThisProcess) {
  const auto m = probe_host();
  ASSERT_TRUE(m);
  const RankRecord r = local_record(*m);
  EXPECT_EQ(r.pid, ::getpid());
  EXPECT_EQ(r.uid, ::getuid());
  EXPECT_NE(r.host_id, 0u);
  EXPECT_FALSE(r.host().empty());
  EXPECT_EQ(unpack(r.affinity), affinity_of_process());
  EXPECT_GE(r.usable_cpus, 1);
  EXPECT_LE(r.usable_cpus, affinity_of_process().count());
  EXPECT_EQ(r.machine_fingerprint, m->fingerprint());
}

// What `taskset -c N` does.
TEST(Probe, BoundProcessIsPlacedOnItsCpu) {
  const CpuSet before = affinity_of_process();
  for (const int cpu : before.to_vector()) {
    const int code = in_child([&]() -> std::string {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(static_cast<std::size_t>(cpu), &one);
      if (::sched_setaffinity(0, sizeof one, &one) != 0) return "sched_setaffinity";
      const auto m = probe_host();
      if (!m) return m.error().text;
      if (!m->cpus().includes(before)) return "the machine shrank to the affinity";
      const RankRecord r = local_record(*m);
      if (affinity_of_process() != CpuSet::range(cpu, cpu)) return "the probe changed the affinity";
      if (r.pu != cpu || r.usable_cpus != 1) return "not on its CPU";
      if (!r.core.bound() || !r.l3.bound() || !r.numa.bound() || !r.package.bound()) return "unbound";
      return "";
    });
    EXPECT_EQ(code, 0) << "CPU " << cpu;
    if (cpu >= 8) break;
  }
}

// hwloc reads /proc and /sys below this folder: an empty one is a container that hides both.
TEST(Probe, HiddenSysfsIsSaidSo) {
  char folder[] = "/tmp/libcoll-empty-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  const int code = in_child([&]() -> std::string {
    ::setenv("HWLOC_FSROOT", folder, 1);
    ::setenv("HWLOC_COMPONENTS", "-x86", 1);  // or it would ask the processor itself
    ::setenv("HWLOC_THISSYSTEM", "1", 1);
    const auto m = probe_host();
    if (!m) return m.error().text;
    if (auto ok = validate(*m); !ok) return ok.error().text;
    if (m->notes.empty()) return "nothing said about what is hidden";
    if (describe(*m).find("not probed") == std::string::npos) return "not in the description";
    return "";
  });
  EXPECT_EQ(code, 0);
  std::filesystem::remove_all(folder);
}

TEST(Probe, ReplacedTopologyIsSaidSo) {
  const int code = in_child([]() -> std::string {
    ::setenv("HWLOC_SYNTHETIC", "package:2 core:2 pu:1", 1);
    const auto m = probe_host();
    if (!m) return m.error().text;
    if (m->count(NodeKind::package) != 2) return "the replacement was not used";
    for (const std::string& note : m->notes)
      if (note.find("HWLOC_") != std::string::npos) return "";
    return "no note";
  });
  EXPECT_EQ(code, 0);
}

TEST(Probe, HostIdCanBeGiven) {
  const std::uint64_t own = host_id();
  EXPECT_EQ(host_id(), own);
  const int code = in_child([&]() -> std::string {
    ::setenv("LIBCOLL_HOST_ID", "node-a", 1);
    const std::uint64_t a = host_id();
    ::setenv("LIBCOLL_HOST_ID", "node-b", 1);
    if (host_id() == a || a == own) return "not distinct";
    ::setenv("LIBCOLL_HOST_ID", "", 1);
    return host_id() == own ? "" : "empty is not unset";
  });
  EXPECT_EQ(code, 0);
}

TEST(Probe, MissingFilesAreFailures) {
  EXPECT_FALSE(import_hwloc_xml_file("/nonexistent.xml"));
  EXPECT_FALSE(import_hwloc_xml_file("/tmp"));
  EXPECT_FALSE(synthetic_machine("pancake:3"));
  EXPECT_FALSE(synthetic_machine(""));
}

}  // namespace
}  // namespace libcoll::topo
