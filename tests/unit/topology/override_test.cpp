// LIBCOLL_TOPOLOGY: whole machines and parts of them, and what is refused.
#include "topology/override.hpp"

#include <gtest/gtest.h>

#include "made_hosts.hpp"
#include "support.hpp"
#include "topology/import.hpp"
#include "topology/rails.hpp"

namespace libcoll::topo {
namespace {

// GPUs at 0000:1b:00.0 on, NICs at 0000:5b:00.0 on, as probed on a host named "here".
MadeHost addressed(MadeHost h) {
  for (std::size_t i = 0; i < h.gpus.size(); ++i) h.machine.nodes[static_cast<std::size_t>(h.gpus[i])].bus_id = fmt::format("0000:{:02x}:00.0", 0x1b + i);
  for (std::size_t i = 0; i < h.nics.size(); ++i) h.machine.nodes[static_cast<std::size_t>(h.nics[i])].bus_id = fmt::format("0000:{:02x}:00.0", 0x5b + i);
  h.machine.host = "here";
  return h;
}
MadeHost meshed(int gpus, int links) {
  MadeHost h = addressed(make_host(gpus, gpus));
  for (std::size_t a = 0; a < h.gpus.size(); ++a)
    for (std::size_t b = 0; b < a; ++b) link(h.machine, h.gpus[a], h.gpus[b], links);
  return h;
}

std::string override_with(const std::string& inner) { return R"({"libcoll_topology": 1, "override": {)" + inner + "}}"; }

Machine applied(const Machine& probed, const std::string& text) {
  auto m = apply_topology(probed, text);
  EXPECT_TRUE(m) << (m ? "" : m.error().text);
  if (!m) return {};
  EXPECT_TRUE(validate(*m));
  return *m;
}
Islands islands_of(const Machine& m) { return find_islands(std::span(&m, 1)); }
std::vector<std::vector<int>> groups(const Machine& m) { return islands_of(m).islands; }
std::vector<int> nodes_of(const Machine& m, NodeKind kind) {
  std::vector<int> all;
  for (std::size_t i = 0; i < m.nodes.size(); ++i)
    if (m.nodes[i].kind == kind) all.push_back(static_cast<int>(i));
  return all;
}
bool notes(const Machine& m, const std::string& what) {
  return std::any_of(m.notes.begin(), m.notes.end(), [&](const std::string& n) { return n.find(what) != std::string::npos; });
}

using Groups = std::vector<std::vector<int>>;

TEST(Override, AnNvlink) {
  MadeHost h = meshed(4, 2);
  std::erase_if(h.machine.edges, [&](const Edge& e) { return e.kind == EdgeKind::nvlink && e.a == h.gpus[0] && e.b == h.gpus[1]; });
  ASSERT_NE(groups(h.machine), (Groups{{0, 1, 2, 3}}));
  const Machine m = applied(h.machine, override_with(R"("nvlinks": [{"a": "1C:00.0", "b": "00000000:1B:00.0", "links": 2}])"));
  EXPECT_EQ(groups(m), (Groups{{0, 1, 2, 3}}));
  EXPECT_EQ(m.edges.back().mb_per_s, 50000u);  // as fast as the others
  EXPECT_TRUE(notes(m, "sets the NVLinks between GPUs 0000:1c:00.0 and 0000:1b:00.0: 2"));
  // And back.
  const Machine without = applied(m, override_with(R"("nvlinks": [{"a": "0000:1b:00.0", "b": "0000:1c:00.0", "links": 0}])"));
  EXPECT_EQ(groups(without), groups(h.machine));
}

TEST(Override, NvlinksWhereNoneWereKnown) {
  MadeHost h = addressed(make_host(2, 2));
  h.machine.knows_nvlinks = false;
  ASSERT_EQ(islands_of(h.machine).unknown.size(), 2u);
  const Machine m = applied(h.machine, override_with(R"("nvlinks": [{"a": "1b:00.0", "b": "1c:00.0", "links": 4, "mb_per_s": 100000}])"));
  EXPECT_EQ(groups(m), (Groups{{0, 1}}));
  EXPECT_TRUE(notes(m, "counts as telling all of them"));
}

TEST(Override, AnIslandOfAMesh) {
  const Machine m = applied(meshed(4, 2).machine, override_with(R"("islands": [["0000:1b:00.0", "0000:1d:00.0"]])"));
  const Islands islands = islands_of(m);
  EXPECT_EQ(islands.islands, (Groups{{0, 2}, {1, 3}}));
  EXPECT_TRUE(islands.demoted.empty() && islands.bridges.empty());
}

TEST(Override, IslandsAtSwitches) {
  MadeHost h = addressed(make_switched_host(8, 8, 18));
  set_fabric(h, {.cluster = "rack", .clique = 1, .is_healthy = true});
  const Machine m = applied(h.machine, override_with(R"("islands": [["1b:00.0", "1c:00.0", "1d:00.0"], ["22:00.0"]])"));
  EXPECT_EQ(groups(m), (Groups{{0, 1, 2}, {3, 4, 5, 6}, {7}}));
  EXPECT_TRUE(islands_of(m).demoted.empty());
  // It ends at the host as well.
  const std::vector<Machine> two{m, h.machine};
  EXPECT_EQ(find_islands(two).islands[0], (std::vector<int>{0, 1, 2}));
}

TEST(Override, AnIslandThatNothingJoined) {
  const Machine m = applied(addressed(make_host(4, 4)).machine, override_with(R"("islands": [["1b:00.0", "1c:00.0"]])"));
  EXPECT_EQ(groups(m), (Groups{{0, 1}, {2}, {3}}));
}

TEST(Override, TheNicOfAGpu) {
  MadeHost h = meshed(4, 2);
  h.machine.nodes[static_cast<std::size_t>(h.nics[3])].mb_per_s = 1000;  // too slow to be used unasked
  const auto nic_of_0 = [](const Machine& m) { return find_rails(std::span(&m, 1), islands_of(m)).nic_of[0]; };
  ASSERT_EQ(nic_of_0(h.machine).nic, h.nics[0]);
  EXPECT_EQ(nic_of_0(applied(h.machine, override_with(R"("nics": [{"gpu": "1b:00.0", "nic": "nic2"}])"))), (NicChoice{h.nics[2], PathClass::pix}));
  EXPECT_EQ(nic_of_0(applied(h.machine, override_with(R"("nics": [{"gpu": "1b:00.0", "nic": "0000:5e:00.0"}])"))).nic, h.nics[3]);
}

TEST(Override, OfOtherHostsOnly) {
  const Machine m = meshed(4, 2).machine;
  const std::string what = R"(, "islands": [["0000:1b:00.0"]])";
  EXPECT_EQ(applied(m, override_with(R"("hosts": ["there", "elsewhere"])" + what)), m);
  EXPECT_NE(applied(m, override_with(R"("hosts": ["there", "here"])" + what)), m);
  EXPECT_EQ(applied(m, override_with("")), m);
}

struct Refused {
  const char* name;
  std::string text;
  const char* says;
};
void PrintTo(const Refused& r, std::ostream* out) { *out << r.name; }
class OverrideRefused : public testing::TestWithParam<Refused> {};
TEST_P(OverrideRefused, NamesKeyAndValue) {
  const auto m = apply_topology(meshed(4, 2).machine, GetParam().text);
  ASSERT_FALSE(m);
  EXPECT_EQ(m.error().code, Errc::invalid_argument);
  EXPECT_NE(m.error().text.find(GetParam().says), std::string::npos) << m.error().text;
}
INSTANTIATE_TEST_SUITE_P(
    Texts, OverrideRefused,
    testing::Values(
        Refused{"nothing", "", "none of"}, Refused{"no_json", "{", "not JSON"},
        Refused{"no_version", R"({"override": {}})", "libcoll_topology: expected 1"},
        Refused{"future_version", R"({"libcoll_topology": 2, "override": {}})", "not 2"},
        Refused{"no_override", R"({"libcoll_topology": 1})", "override: missing"},
        Refused{"key_at_top", R"({"libcoll_topology": 1, "override": {}, "pancake": 3})", R"("pancake" (value 3))"},
        Refused{"key", override_with(R"("nvlink": [])"), R"("nvlink" (value []))"},
        Refused{"key_of_entry", override_with(R"("nvlinks": [{"a": "1b:00.0", "b": "1c:00.0", "links": 1, "count": 2}])"), R"(override.nvlinks[0]: there is no key "count" (value 2))"},
        Refused{"unknown_gpu", override_with(R"("nvlinks": [{"a": "0000:99:00.0", "b": "1c:00.0", "links": 1}])"), R"(override.nvlinks[0].a: this machine has no GPU "0000:99:00.0")"},
        Refused{"nic_as_gpu", override_with(R"("islands": [["0000:5b:00.0"]])"), R"(no GPU "0000:5b:00.0")"},
        Refused{"negative", override_with(R"("nvlinks": [{"a": "1b:00.0", "b": "1c:00.0", "links": -1}])"), "override.nvlinks[0].links: expected an integer from 0 to 1024, not -1"},
        Refused{"fraction", override_with(R"("nvlinks": [{"a": "1b:00.0", "b": "1c:00.0", "links": 1.5}])"), "not 1.5"},
        Refused{"too_fast", override_with(R"("nvlinks": [{"a": "1b:00.0", "b": "1c:00.0", "links": 1, "mb_per_s": 99999999999}])"), "mb_per_s: expected"},
        Refused{"no_count", override_with(R"("nvlinks": [{"a": "1b:00.0", "b": "1c:00.0"}])"), "links: missing"},
        Refused{"to_itself", override_with(R"("nvlinks": [{"a": "1b:00.0", "b": "0000:1b:00.0", "links": 1}])"), "one GPU"},
        Refused{"number_as_gpu", override_with(R"("islands": [[3]])"), "not 3"}, Refused{"empty_island", override_with(R"("islands": [[]])"), "islands[0]"},
        Refused{"islands_no_list", override_with(R"("islands": {})"), "override.islands: expected a list"},
        Refused{"gpu_twice", override_with(R"("islands": [["1b:00.0"], ["1b:00.0"]])"), "in an island already"},
        Refused{"unknown_nic", override_with(R"("nics": [{"gpu": "1b:00.0", "nic": "mlx5_9"}])"), R"(override.nics[0].nic: this machine has no NIC "mlx5_9"; it has: nic0)"},
        Refused{"two_nics", override_with(R"("nics": [{"gpu": "1b:00.0", "nic": "nic1"}, {"gpu": "1b:00.0", "nic": "nic2"}])"), "has a NIC already"},
        Refused{"no_hosts", override_with(R"("hosts": [])"), "override.hosts: expected a list"},
        Refused{"unknown_key_for_others", override_with(R"("hosts": ["there"], "nics": [{"cpu": 1}])"), R"("cpu" (value 1))"}),
    [](const auto& test) { return test.param.name; });

// A file about devices: CPUs stay as probed, GPUs go to the NUMA nodes of the same numbers.
TEST(Replace, DevicesOnly) {
  Machine probed = synthetic("package:2 numa:1 core:2 pu:1");
  probed.host = "here";
  Machine file = meshed(4, 2).machine;
  file.host = "anywhere";
  const Machine m = applied(probed, to_json(file));
  EXPECT_EQ(m.cpus(), probed.cpus());
  EXPECT_EQ(m.count(NodeKind::core), 4);
  EXPECT_EQ(m.host, "here");
  EXPECT_EQ(groups(m), (Groups{{0, 1, 2, 3}}));
  const std::vector<int> gpus = nodes_of(m, NodeKind::gpu);
  EXPECT_EQ(m.label(m.ancestor(gpus[0], NodeKind::numa)), 0);
  EXPECT_EQ(m.label(m.ancestor(gpus[3], NodeKind::numa)), 1);
  // And again: what the first file brought is gone.
  EXPECT_EQ(applied(m, to_json(meshed(2, 2).machine)).count(NodeKind::gpu), 2);
}

TEST(Replace, EverythingWhereTheFileHasCpus) {
  const Machine probed = meshed(4, 2).machine, file = synthetic("package:1 core:8 pu:1");
  const Machine m = applied(probed, to_json(file));
  EXPECT_EQ(m.cpus(), file.cpus());
  EXPECT_EQ(m.count(NodeKind::gpu), 0);
}

TEST(Replace, TheHostOfThisName) {
  Machine here = meshed(2, 1).machine, there = meshed(3, 1).machine;
  there.host = "there";
  const std::string text = to_json(std::vector<Machine>{there, here});
  EXPECT_EQ(applied(here, text).count(NodeKind::gpu), 2);
  EXPECT_EQ(applied(there, text).count(NodeKind::gpu), 3);
  here.host = "lost";
  const auto none = apply_topology(here, text);
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().text.find("2 hosts, none of them named \"lost\": there here"), std::string::npos) << none.error().text;
}

// nvidia-smi tells no addresses, and UUIDs only elsewhere.
TEST(Replace, BorrowsIdentities) {
  Machine probed = addressed(make_host(2, 0)).machine;
  for (Node& n : probed.nodes) n.uuid = n.kind == NodeKind::gpu ? "GPU-" + n.bus_id : "";
  const std::string smi = "\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\nGPU0\t X \tNV2\t0-1\t0\nGPU1\tNV2\t X \t0-1\t0\n";
  EXPECT_TRUE(wants_probed_devices(smi));
  const Machine m = applied(probed, smi);
  const std::vector<int> gpus = nodes_of(m, NodeKind::gpu);
  ASSERT_EQ(gpus.size(), 2u);
  EXPECT_EQ(m.nodes[static_cast<std::size_t>(gpus[1])].bus_id, "0000:1c:00.0");
  EXPECT_EQ(m.nodes[static_cast<std::size_t>(gpus[1])].uuid, "GPU-0000:1c:00.0");
  EXPECT_TRUE(notes(applied(addressed(make_host(3, 0)).machine, smi), "nobody finds its GPU"));
}

TEST(Replace, SaysWhenItNeedsTheDevices) {
  EXPECT_TRUE(wants_probed_devices(override_with("")));
  EXPECT_FALSE(wants_probed_devices(to_json(meshed(2, 1).machine)));
  EXPECT_FALSE(wants_probed_devices(" <system version=\"1\"/>"));
}

class CapturedReplacements : public testing::TestWithParam<const char*> {};
TEST_P(CapturedReplacements, KeepIslandsAndNics) {
  const std::string folder = captured_topologies();
  if (folder.empty()) GTEST_SKIP() << "no captured machines; set LIBCOLL_SHARED to the folder that holds topologies/";
  const auto text = read_file(folder + "/" + GetParam(), 16u << 20);
  ASSERT_TRUE(text);
  const auto files = import_topology(*text);
  ASSERT_TRUE(files && files->size() == 1);
  const Machine m = applied(synthetic("package:2 numa:2 core:2 pu:1"), *text);
  EXPECT_EQ(groups(m), groups(files->front()));
  const Rails was = find_rails(*files, find_islands(*files)), is = find_rails(std::span(&m, 1), islands_of(m));
  EXPECT_EQ(is.rails, was.rails);
}
INSTANTIATE_TEST_SUITE_P(Machines, CapturedReplacements,
                         testing::Values("nccl/azure-ndv4-topo.xml", "nccl/rccl-topo_8p_90a_1.xml", "smi/dgx1v-topo-m.txt", "hwloc/nvidiaDGX2.xml"));

}  // namespace
}  // namespace libcoll::topo
