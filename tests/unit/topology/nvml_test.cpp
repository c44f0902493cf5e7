// NVML's answers, scripted, in machines as the PCI bus shows them: which islands follow, and what is noted.
// The double stands in for the driver; it can't show timing, nor what drivers really answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nvml_support.hpp"

namespace libcoll::topo {
namespace {

using nvml::FabricHealth;
using nvml::FabricState;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Links and MB/s of each edge of that kind.
std::vector<std::pair<int, std::uint64_t>> edges_of(const Machine& m, EdgeKind kind) {
  std::vector<std::pair<int, std::uint64_t>> all;
  for (const Edge& e : m.edges)
    if (e.kind == kind) all.emplace_back(e.links, e.mb_per_s);
  return all;
}

int links_between(const Machine& m, int a, int b) {
  int links = 0;
  for (const Edge& e : m.edges)
    if (e.kind == EdgeKind::nvlink && e.a == std::min(a, b) && e.b == std::max(a, b)) links += e.links;
  return links;
}

TEST(Nvml, EightGpusOnSwitches) {
  FakeNvml fake;
  fake.add_gpus(8).add_switches(4, 4);
  const Machine m = with(bus_with(8, 8), fake);
  const Islands found = islands_of(m);
  EXPECT_THAT(found.islands, ElementsAre(ElementsAre(0, 1, 2, 3, 4, 5, 6, 7)));
  EXPECT_TRUE(m.knows_nvlinks);
  EXPECT_EQ(m.count(NodeKind::nvswitch), 4);
  const auto gpus = gpus_of(m);
  ASSERT_EQ(gpus.size(), 8u);
  for (int g = 0; g < 8; ++g) {
    EXPECT_EQ(gpus[static_cast<std::size_t>(g)]->os_index, g);
    EXPECT_THAT(gpus[static_cast<std::size_t>(g)]->name, HasSubstr("FAKE"));
    EXPECT_THAT(gpus[static_cast<std::size_t>(g)]->uuid, HasSubstr("GPU-FAKE-"));
  }
  EXPECT_EQ(edges_of(m, EdgeKind::nvlink), std::vector(32, std::pair(4, std::uint64_t{100000})));
}

// A DGX-1V: two quads of GPUs, each joined to its like in the other quad.
TEST(Nvml, HybridCubeMesh) {
  FakeNvml fake;
  fake.add_gpus(8);
  for (const int quad : {0, 4})
    fake.link(quad, quad + 1, 1, 2).link(quad, quad + 2, 1, 2).link(quad, quad + 3, 2, 2).link(quad + 1, quad + 2, 2, 2)
        .link(quad + 1, quad + 3, 1, 2).link(quad + 2, quad + 3, 2, 2);
  fake.link(0, 4, 2, 2).link(1, 5, 2, 2).link(2, 6, 1, 2).link(3, 7, 1, 2);
  const Islands found = islands_of(with(bus_with(8), fake));
  EXPECT_THAT(found.islands, ElementsAre(ElementsAre(0, 1, 2, 3), ElementsAre(4, 5, 6, 7)));
  ASSERT_EQ(found.bridges.size(), 4u);
  EXPECT_EQ(found.bridges[0], (Bridge{0, 4, 2, 50000}));
}

TEST(Nvml, OneFabricAcrossTwoHosts) {
  FakeNvml a, b, c;
  grace_hopper(a).set_fabric(0x5a, 3);
  grace_hopper(b).set_fabric(0x5a, 3);
  grace_hopper(c).set_fabric(0x5a, 4);
  const std::vector<Machine> hosts{with(bus_with(4, 4), a), with(bus_with(4, 4), b), with(bus_with(4, 4), c)};
  EXPECT_THAT(islands_of(hosts).islands, ElementsAre(ElementsAre(0, 1, 2, 3, 4, 5, 6, 7), ElementsAre(8, 9, 10, 11)));
  const Node& gpu = *gpus_of(hosts[0])[0];
  EXPECT_EQ(gpu.fabric, (NvlinkFabric{"5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a", 3, true}));
  EXPECT_EQ(hosts[0].count(NodeKind::nvswitch), 1);
  EXPECT_EQ(edges_of(hosts[0], EdgeKind::c2c), std::vector(4, std::pair(5, std::uint64_t{223560})));
}

struct Ill {
  const char* name;
  FabricState state;
  FabricHealth health;
  unsigned mask;
  const char* note;
};
class NvmlFabric : public testing::TestWithParam<Ill> {};

TEST_P(NvmlFabric, OtherwiseThanCompletedAndHealthyJoinsNoHosts) {
  const Ill& ill = GetParam();
  FakeNvml a, b;
  grace_hopper(a).set_fabric(0x5a, 3);
  grace_hopper(b).set_fabric(0x5a, 3, ill.state, ill.health, ill.mask);
  if (ill.state == FabricState::completed && ill.health == FabricHealth::healthy)
    for (auto& g : b.gpus) g.fabric.status = nvml::error_unknown;
  const std::vector<Machine> hosts{with(bus_with(4), a), with(bus_with(4), b)};
  EXPECT_EQ(islands_of(hosts).islands.size(), 2u);
  EXPECT_THAT(hosts[1].notes, Contains(HasSubstr(ill.note)));
}
INSTANTIATE_TEST_SUITE_P(
    States, NvmlFabric,
    testing::Values(
        Ill{"unhealthy", FabricState::completed, FabricHealth::unhealthy, 0x1a9,
            "GPUs 0-3: multi-node NVLink: not healthy (degraded bandwidth)"},
        Ill{"limited", FabricState::completed, FabricHealth::limited_capacity, 0, "limited capacity"},
        Ill{"by_mask", FabricState::completed, FabricHealth::not_supported, 0x59a, "route unhealthy"},
        Ill{"status", FabricState::completed, FabricHealth::healthy, 0, "multi-node NVLink: FAKE error"},
        Ill{"unknown_health", FabricState::completed, static_cast<FabricHealth>(9), 0, "unknown health 9"},
        Ill{"in_progress", FabricState::in_progress, FabricHealth::not_supported, 0, "being set up"},
        Ill{"not_started", FabricState::not_started, FabricHealth::not_supported, 0, "has not begun"},
        Ill{"unknown_state", static_cast<FabricState>(9), FabricHealth::healthy, 0, "unknown state 9"}),
    [](const auto& test) { return test.param.name; });

// As on most machines: nothing that coll-info --check should find.
TEST(Nvml, NoMultiNodeFabricIsNoFinding) {
  FakeNvml fake;
  fake.add_gpus(4).add_switches(1, 18);
  const Machine m = with(bus_with(4), fake);
  for (const std::string& note : m.notes) EXPECT_EQ(note.find("multi-node"), std::string::npos) << note;
  EXPECT_EQ(islands_of(m).islands.size(), 1u);
}

TEST(Nvml, GpuWithMissingLinksIsDemoted) {
  FakeNvml fake;
  fake.add_gpus(8).add_switches(1, 18);
  for (int l = 0; l < 9; ++l) fake.gpus[5].links[static_cast<std::size_t>(l)].is_active = false;
  const Islands found = islands_of(with(bus_with(8), fake));
  EXPECT_THAT(found.demoted, ElementsAre(5));
  EXPECT_THAT(found.islands, ElementsAre(ElementsAre(0, 1, 2, 3, 4, 6, 7)));
}

TEST(Nvml, SleepingLinksCount) {
  FakeNvml fake;
  fake.add_gpus(2).link(0, 1, 4);
  for (auto& g : fake.gpus)
    for (auto& l : g.links) l.is_asleep = true;
  const Machine m = with(bus_with(2), fake);
  EXPECT_THAT(islands_of(m).islands, ElementsAre(ElementsAre(0, 1)));
}

TEST(Nvml, LinksThatCannotCarryMemoryDoNotCount) {
  FakeNvml fake;
  fake.add_gpus(2).link(0, 1, 4);
  for (auto& g : fake.gpus)
    for (auto& l : g.links) l.has_p2p = false;
  const Machine m = with(bus_with(2), fake);
  EXPECT_EQ(islands_of(m).islands.size(), 2u);
  EXPECT_THAT(m.notes, Contains(HasSubstr("GPUs 0,1: 4 NVLinks without access to memory")));
}

TEST(Nvml, MigIsInNoIsland) {
  FakeNvml fake;
  fake.add_gpus(4).add_switches(1, 18).set_fabric(1, 1);
  fake.gpus[2].is_mig = true;
  const Machine m = with(bus_with(4), fake);
  const Islands found = islands_of(m);
  EXPECT_THAT(found.islands, ElementsAre(ElementsAre(0, 1, 3)));
  EXPECT_THAT(found.demoted, ElementsAre(2));
  EXPECT_THAT(m.notes, Contains(HasSubstr("GPU 2: parted by MIG")));
  EXPECT_EQ(gpus_of(m)[2]->fabric, NvlinkFabric{});
}

TEST(Nvml, MigPeerIsElsewhere) {
  FakeNvml fake;
  fake.add_gpus(3).link(0, 1, 4).link(0, 2, 4).link(1, 2, 4);
  fake.gpus[2].is_mig = true;
  const Machine m = with(bus_with(3), fake);
  EXPECT_THAT(islands_of(m).islands, ElementsAre(ElementsAre(0, 1)));
  EXPECT_EQ(gpus_of(m)[0]->links_elsewhere, 4);
}

// A container with GPUs 0, 3 and 5 of a DGX-1V: the bus shows all eight, NVML three, numbered anew.
TEST(Nvml, ThreeOfEightVisible) {
  FakeNvml fake;
  fake.add_gpus(3);
  const int whole[] = {0, 3, 5};
  for (std::size_t g = 0; g < 3; ++g) fake.gpus[g].bus_id = FakeNvml::bus_id(whole[g]);
  const auto told = [&](std::size_t g, int peer, int links) {
    FakeNvml::Link l;
    l.peer = FakeNvml::bus_id(peer);
    fake.gpus[g].links.insert(fake.gpus[g].links.end(), static_cast<std::size_t>(links), l);
  };
  told(0, 3, 2), told(0, 1, 4), told(1, 0, 2), told(1, 2, 4), told(2, 7, 6);
  const Machine m = with(bus_with(8, 4), fake);
  EXPECT_EQ(m.count(NodeKind::gpu), 3);
  EXPECT_EQ(m.count(NodeKind::nic), 4);
  const auto gpus = gpus_of(m);
  EXPECT_EQ(gpus[1]->bus_id, FakeNvml::bus_id(3));
  EXPECT_EQ(gpus[1]->os_index, 1);
  EXPECT_EQ(gpus[0]->links_elsewhere, 4);
  EXPECT_EQ(gpus[2]->links_elsewhere, 6);
  EXPECT_THAT(m.notes, Contains(HasSubstr(FakeNvml::bus_id(7) + " left out")));
  EXPECT_THAT(m.notes, Contains(HasSubstr("GPUs 0,1: 4 NVLinks to devices that are not shown")));
  const Islands found = islands_of(m);
  EXPECT_THAT(found.islands, ElementsAre(ElementsAre(0, 1), ElementsAre(2)));
  EXPECT_THAT(found.demoted, IsEmpty());
}

TEST(Nvml, OtherVendorsGpusStay) {
  FakeNvml fake;
  fake.add_gpus(1);
  const auto files = [](const std::string& path) -> std::optional<std::string> {
    if (path == "/sys/bus/pci/devices/" + FakeNvml::bus_id(1) + "/vendor") return "0x1002\n";
    if (path == "/sys/bus/pci/devices/" + FakeNvml::bus_id(2) + "/vendor") return "0x10de\n";
    return std::nullopt;
  };
  const Machine m = with(bus_with(3), fake, files);
  ASSERT_EQ(m.count(NodeKind::gpu), 2);
  EXPECT_EQ(gpus_of(m)[1]->bus_id, FakeNvml::bus_id(1));
  EXPECT_EQ(gpus_of(m)[0]->os_index, -1);  // or it might collide with the other one's position
}

TEST(Nvml, LinksToldByOneEndDoNotCount) {
  FakeNvml fake;
  fake.add_gpus(2).link(0, 1, 2).link_told_by(0, 1, 2);
  Machine m = with(bus_with(2), fake);
  EXPECT_EQ(links_between(m, static_cast<int>(m.nodes.size()) - 2, static_cast<int>(m.nodes.size()) - 1), 2);
  EXPECT_THAT(m.notes, Contains(HasSubstr("disagree about the links")));
  FakeNvml alone;
  alone.add_gpus(2).link_told_by(1, 0, 2);
  EXPECT_EQ(islands_of(with(bus_with(2), alone)).islands.size(), 2u);
}

TEST(Nvml, LinksToItselfAreIgnored) {
  FakeNvml fake;
  fake.add_gpus(2).link(0, 1, 2).link_told_by(0, 0, 1);
  EXPECT_THAT(with(bus_with(2), fake).notes, Contains(HasSubstr("GPU 0: 1 NVLink to itself")));
}

TEST(Nvml, GpuThatTheBusDoesNotShow) {
  FakeNvml fake;
  fake.add_gpus(3).add_switches(1, 12);
  const Machine m = with(bus_with(2, 2), fake);
  EXPECT_EQ(m.count(NodeKind::gpu), 3);
  EXPECT_THAT(islands_of(m).islands, ElementsAre(ElementsAre(0, 1, 2)));
  EXPECT_THAT(m.notes, Contains(HasSubstr("NVML shows GPU 2 that the PCI bus does not")));
  EXPECT_EQ(with(bus_with(0), fake).count(NodeKind::gpu), 3);
}

TEST(Nvml, UnknownLinkVersionLeavesCounts) {
  FakeNvml fake;
  fake.add_gpus(2).link(0, 1, 4, 99).link(0, 1, 1, 6);
  const Machine m = with(bus_with(2), fake);
  EXPECT_EQ(m.edges.back().links, 5);
  EXPECT_EQ(m.edges.back().mb_per_s, 0u);
  EXPECT_THAT(m.notes, Contains(HasSubstr("unknown rate")));
}

TEST(Nvml, GpusOfPowerReachTheirCpu) {
  FakeNvml fake;
  fake.add_gpus(2).link(0, 1, 3);
  for (auto& g : fake.gpus)
    g.links.insert(g.links.end(), 3, {.to = nvml::RemoteType::ibm_npu, .peer = "0004:00:00.0", .version = 2});
  const Machine m = with(bus_with(2), fake);
  int to_cpu = 0;
  for (const Edge& e : m.edges)
    if (e.kind == EdgeKind::nvlink && m.nodes[static_cast<std::size_t>(e.a)].kind == NodeKind::numa) to_cpu += e.links;
  EXPECT_EQ(to_cpu, 6);
  EXPECT_THAT(islands_of(m).islands, ElementsAre(ElementsAre(0, 1)));
}

// Drivers without the type of the other end: the addresses of GPUs, switches on the bus and hidden ones tell.
TEST(Nvml, TypesOfPeersFollowFromAddresses) {
  FakeNvml direct, hidden;
  direct.add_gpus(2).link(0, 1, 4).lack("nvmlDeviceGetNvLinkRemoteDeviceType");
  hidden.add_gpus(2).add_hidden_switch(18).fail("nvmlDeviceGetNvLinkRemoteDeviceType", nvml::error_not_supported);
  EXPECT_THAT(islands_of(with(bus_with(2), direct)).islands, ElementsAre(ElementsAre(0, 1)));
  EXPECT_THAT(islands_of(with(bus_with(2), hidden)).islands, ElementsAre(ElementsAre(0, 1)));
}

}  // namespace
}  // namespace libcoll::topo
