// Islands, bridges and rails of captured machines and of made-up ones, as golden text.
#include "topology/islands.hpp"

#include <gtest/gtest.h>

#include "made_hosts.hpp"
#include "support.hpp"
#include "topology/import.hpp"
#include "topology/rails.hpp"

namespace libcoll::topo {
namespace {

std::string describe_all(const std::vector<Machine>& machines) {
  for (const Machine& m : machines) EXPECT_TRUE(validate(m));
  const Islands islands = find_islands(machines);
  const Rails rails = find_rails(machines, islands);
  EXPECT_EQ(find_islands(machines), islands);
  // Each GPU is in one island, demoted or unknown.
  std::vector<int> seen(islands.gpus.size());
  for (const auto& island : islands.islands)
    for (const int g : island) ++seen[static_cast<std::size_t>(g)];
  for (const auto* list : {&islands.demoted, &islands.unknown})
    for (const int g : *list) ++seen[static_cast<std::size_t>(g)];
  for (const int times : seen) EXPECT_EQ(times, 1);
  EXPECT_EQ(rails.leaders.size(), islands.islands.size());
  return describe(machines, islands, rails);
}

void expect_islands(const std::string& name, const std::vector<Machine>& machines) {
  expect_golden(name, describe_all(machines), "islands");
  // A file of coll-info says the same.
  const auto back = import_topology(to_json(machines));
  ASSERT_TRUE(back) << back.error().text;
  EXPECT_EQ(*back, machines);
}

class CapturedIslands : public testing::TestWithParam<const char*> {};

TEST_P(CapturedIslands, AreAsReviewed) {
  const std::string folder = captured_topologies();
  if (folder.empty())
    GTEST_SKIP() << "no captured machines; set LIBCOLL_SHARED to the folder that holds topologies/";
  const auto machines = import_topology_file(folder + "/" + GetParam());
  ASSERT_TRUE(machines) << machines.error().text;
  expect_islands(std::filesystem::path(GetParam()).stem().string(), *machines);
}
INSTANTIATE_TEST_SUITE_P(
    Machines, CapturedIslands,
    testing::Values("hwloc/nvidiaDGX2.xml", "hwloc/power8gpudistances.xml",
                    "hwloc/32em64t-2n8c2t-pci-wholeio.xml", "hwloc/16intel64-manyVFs.xml",
                    "hwloc/96em64t-4n4d3ca2co-pci.xml", "hwloc/fakeheterodistances.xml",
                    "nccl/aws-p4d-24xl-topo.xml", "nccl/aws-p4de-24xl-topo.xml", "nccl/aws-p5.48xl-topo.xml",
                    "nccl/aws-g5.48xl-topo.xml", "nccl/azure-ndv2-topo.xml", "nccl/azure-ndv4-topo.xml",
                    "nccl/azure-ndv5-topo.xml", "nccl/oci-gb300-2trays.xml", "nccl/rccl-topo_8p_940.xml",
                    "nccl/rccl-topo_8p_90a_1.xml", "nccl/rccl-topo_16p1h.xml", "smi/dgx1v-topo-m.txt"));

TEST(MadeIslands, FourGpusAndFourRailsPerHost) {
  expect_islands("made-4-hosts-of-4", std::vector<Machine>(4, make_switched_host(4, 4, 12).machine));
}

TEST(MadeIslands, OneFabricOverEighteenTrays) {
  MadeHost tray = make_switched_host(4, 4, 18);
  set_fabric(tray, {.cluster = "rack", .clique = 7, .is_healthy = true});
  expect_islands("made-nvl72", std::vector<Machine>(18, tray.machine));
}

TEST(MadeIslands, FabricsJoinOnlyIfEqualAndHealthy) {
  std::vector<Machine> machines;
  const NvlinkFabric fabrics[] = {
      {"rack", 1, true}, {"rack", 1, true}, {"rack", 2, true}, {"other", 1, true}, {"rack", 1, false}};
  for (const NvlinkFabric& fabric : fabrics) {
    MadeHost tray = make_switched_host(2, 2, 18);
    set_fabric(tray, fabric);
    machines.push_back(tray.machine);
  }
  expect_islands("made-five-fabrics", machines);
}

TEST(MadeIslands, UnequalIslands) {
  expect_islands("made-8-and-4",
                 {make_switched_host(8, 8, 18).machine, make_switched_host(4, 4, 18).machine});
}

TEST(MadeIslands, SwitchedGpuWithMissingLinks) {
  MadeHost h = make_switched_host(8, 8, 18);
  for (Edge& e : h.machine.edges)
    if (e.kind == EdgeKind::nvlink && e.a == h.gpus[5]) e.links = 9, e.mb_per_s /= 2;
  std::erase_if(h.machine.edges,
                [&](const Edge& e) { return e.kind == EdgeKind::nvlink && e.a == h.gpus[2]; });
  expect_islands("made-missing-links", {h.machine});
}

TEST(MadeIslands, MeshWithAMissingLink) {
  MadeHost h = make_host(8, 8);
  for (std::size_t a = 0; a < 8; ++a)
    for (std::size_t b = 0; b < a; ++b)
      if (!(a == 6 && b == 3)) link(h.machine, h.gpus[a], h.gpus[b], 1);
  expect_islands("made-mesh-missing-link", {h.machine});
}

TEST(MadeIslands, MeshTooLargeToPart) {
  MadeHost h = make_host(20, 0);
  for (std::size_t g = 0; g < 20; ++g) link(h.machine, h.gpus[g], h.gpus[(g + 1) % 20], 1);
  expect_islands("made-ring-of-20", {h.machine});
}

TEST(MadeIslands, FiveInARowArePartedUnequally) {
  MadeHost h = make_host(5, 1);
  for (std::size_t g = 0; g + 1 < 5; ++g) link(h.machine, h.gpus[g], h.gpus[g + 1], g == 1 ? 4 : 2);
  expect_islands("made-row-of-5", {h.machine});
}

TEST(MadeIslands, WithoutNvlink) { expect_islands("made-pcie-only", {make_host(4, 2).machine}); }

TEST(MadeIslands, WithoutGpus) { expect_islands("made-no-gpus", {make_host(0, 2).machine}); }

TEST(MadeIslands, WithoutAnything) { expect_islands("made-nothing", {synthetic("package:1 core:2 pu:1")}); }

// A container that was given GPUs 0, 3 and 5 of a DGX-1V, seen by nvidia-smi and by NCCL.
TEST(MadeIslands, ContainerWithThreeOfEightGpus) {
  const auto smi = import_topology(
      "\tGPU0\tGPU1\tGPU2\tCPU Affinity\tNUMA Affinity\n"
      "GPU0\t X \tNV2\tSYS\t0-19\t0\n"
      "GPU1\tNV2\t X \tSYS\t0-19\t0\n"
      "GPU2\tSYS\tSYS\t X \t20-39\t1\n");
  ASSERT_TRUE(smi) << smi.error().text;
  expect_islands("made-container-smi", *smi);
  const auto nccl = import_topology(R"(<system version="1">
    <cpu numaid="0" affinity="000fffff" arch="x86_64">
      <pci busid="0000:06:00.0" class="0x030200"><gpu dev="0" sm="70">
        <nvlink target="0000:0a:00.0" count="2" tclass="0x030200"/>
        <nvlink target="0000:07:00.0" count="4" tclass="0x030200"/></gpu></pci>
      <pci busid="0000:0a:00.0" class="0x030200"><gpu dev="1" sm="70">
        <nvlink target="0000:06:00.0" count="2" tclass="0x030200"/>
        <nvlink target="0000:07:00.0" count="4" tclass="0x030200"/></gpu></pci>
    </cpu>
    <cpu numaid="1" affinity="ff,fff00000" arch="x86_64">
      <pci busid="0000:86:00.0" class="0x030200"><gpu dev="2" sm="70">
        <nvlink target="0000:07:00.0" count="6" tclass="0x030200"/></gpu></pci>
    </cpu></system>)");
  ASSERT_TRUE(nccl) << nccl.error().text;
  expect_islands("made-container-nccl", *nccl);
}

TEST(MadeRails, TiesGoRoundRobin) {
  MadeHost h = make_host(4, 4);
  for (Edge& e : h.machine.edges)
    if (e.kind == EdgeKind::pcie) e.path = PathClass::phb;
  const std::vector<Machine> machines{h.machine};
  const Rails rails = find_rails(machines, find_islands(machines));
  for (std::size_t g = 0; g < 4; ++g) EXPECT_EQ(rails.nic_of[g], (NicChoice{h.nics[g], PathClass::phb}));
}

TEST(MadeRails, LeaderIsNearestItsNic) {
  MadeHost h = make_switched_host(4, 1, 12);
  const std::vector<Machine> machines{h.machine};
  const Rails rails = find_rails(machines, find_islands(machines));
  EXPECT_EQ(rails.leaders, std::vector<int>{0});
  for (Edge& e : h.machine.edges)
    if (e.kind == EdgeKind::pcie && e.b == h.nics[0])
      e.path = e.a == h.gpus[2] ? PathClass::pix : PathClass::sys;
  const std::vector<Machine> moved{h.machine};
  EXPECT_EQ(find_rails(moved, find_islands(moved)).leaders, std::vector<int>{2});
}

}  // namespace
}  // namespace libcoll::topo
