// NCCL files and nvidia-smi texts that nobody should write: a failure that says what is wrong, or valid
// Machines, never a crash.
#include <gtest/gtest.h>

#include "made_hosts.hpp"
#include "support.hpp"
#include "topology/import.hpp"
#include "topology/islands.hpp"
#include "topology/rails.hpp"

namespace libcoll::topo {
namespace {

std::string nccl(const std::string& inside, const std::string& cpu = R"(numaid="0" affinity="ff")") {
  return R"(<system version="1"><cpu )" + cpu + ">" + inside + "</cpu></system>";
}

std::string gpu(const std::string& bus, const std::string& inside,
                const std::string& more = R"(dev="0" sm="80")") {
  return "<pci busid=\"" + bus + "\" class=\"0x030200\"><gpu " + more + ">" + inside + "</gpu></pci>\n";
}

void use(const std::vector<Machine>& machines) {
  for (const Machine& m : machines) EXPECT_TRUE(validate(m));
  const Islands islands = find_islands(machines);
  EXPECT_FALSE(describe(machines, islands, find_rails(machines, islands)).empty());
  const auto back = import_topology(to_json(machines));
  ASSERT_TRUE(back) << back.error().text;
  EXPECT_EQ(*back, machines);
}

struct Bad {
  std::string text, complaint;
};

TEST(HostileNccl, EachOfTheseIsRefusedAndSaysWhy) {
  std::string deep, wide, links;
  for (int i = 0; i < 100; ++i) deep += R"(<pci busid="0000:01:00.0">)";
  for (int i = 0; i < 1000000; ++i) wide += R"(<pci busid="0:1.0"/>)";
  for (int i = 0; i < 300; ++i) links += R"(<nvlink target="0000:02:00.0" count="1"/>)";
  std::string many;
  for (int i = 0; i < 600; ++i) many += R"(<pci busid="0000:01:00.0" class="0x020000"/>)";
  const Bad bad[] = {
      {R"(<system version="1">)", "line 1"},
      {R"(<system version="3"><cpu/></system>)", "version \"3\""},
      {R"(<system><cpu/></system>)", "version"},
      {R"(<system version="1"></system>)", "no <cpu>"},
      {R"(<root><system version="1"/></root>)", "expected <system>"},
      {R"(<!DOCTYPE a [<!ENTITY b "bb">]><system version="1"><cpu/></system>)", "entities"},
      {nccl("", R"(numaid="x")"), "numaid=\"x\""},
      {nccl("", R"(numaid="0" affinity="xyz")"), "affinity"},
      {nccl(R"(</cpu><cpu numaid="0">)"), "twice on one host"},
      {nccl(R"(<pci busid="banana"/>)"), "<pci>: busid=\"banana\" is not a PCI address"},
      {nccl(R"(<pci busid="0000:01:00.0" class="gpu"/>)"), "class=\"gpu\" is not hexadecimal"},
      {nccl("\n\n" + gpu("0000:01:00.0", R"(<nvlink target="0000:02:00.0" count="-1"/>)")),
       "line 3, <nvlink>: count"},
      {nccl(gpu("0000:01:00.0", R"(<nvlink target="0000:02:00.0" count="1.5"/>)")), "whole"},
      {nccl(gpu("0000:01:00.0", R"(<nvlink target="0000:02:00.0" count="99999999999"/>)")), "count"},
      {nccl(gpu("0000:01:00.0", R"(<nvlink count="1"/>)")), "<nvlink>: target"},
      {nccl(gpu("0000:01:00.0", R"(<c2c bw="nan" count="5"/>)")), "<c2c>: bw=\"nan\""},
      {nccl(gpu("0000:01:00.0", R"(<c2c bw="inf" count="5"/>)")), "<c2c>: bw=\"inf\""},
      {nccl(gpu("0000:01:00.0", R"(<c2c bw="1e300" count="5"/>)")), "<c2c>: bw"},
      {nccl(gpu("0000:01:00.0", "", R"(dev="-7")")), "<gpu>: dev"},
      {nccl(gpu("0000:01:00.0", "", R"(dev="0" sm="NaN")") + gpu("0000:01:00.0", "")), "twice"},
      {nccl(R"(<pci busid="0:1.0" class="0x030200"/><pci busid="0:1.0" class="0x030200"/>)"),
       "<pci>: the GPU at 0:1.0 twice"},
      {nccl(gpu("0000:01:00.0", links)), "too many links"},
      {nccl(R"(<pci busid="0000:05:00.0"><nic><net speed="nan"/></nic></pci>)"), "<net>: speed"},
      {nccl(R"(<pci busid="0000:02:00.0" class="0x020000"/>)" +
            gpu("0000:01:00.0", R"(<nvlink target="0000:02:00.0" count="1"/>)")),
       "NVLink to the NIC"},
      {nccl(deep), "nested too deeply"},
      {nccl(wide), "too many elements"},
      {nccl(many), "too many devices"}};
  for (const Bad& b : bad) {
    const auto m = import_nccl_xml(b.text);
    ASSERT_FALSE(m) << b.text.substr(0, 200);
    EXPECT_NE(m.error().text.find(b.complaint), std::string::npos)
        << m.error().text << "\nfor " << b.text.substr(0, 200);
  }
}

TEST(HostileNccl, OddButHarmless) {
  for (
      const std::string& text :
      {nccl(""), nccl("", ""), nccl("<nic/>"), nccl("<pancake/>"), nccl(gpu("0000:01:00.0", "")),
       // links in a circle, to itself, told by one end only, and to what is not there
       nccl(gpu("0000:01:00.0", R"(<nvlink target="0000:02:00.0" count="1"/>)") +
            gpu("0000:02:00.0", R"(<nvlink target="0000:03:00.0" count="1"/>)", R"(dev="1")") +
            gpu("0000:03:00.0", R"(<nvlink target="0000:01:00.0" count="1"/>)", R"(dev="2")")),
       nccl(gpu("0000:01:00.0", R"(<nvlink target="0000:01:00.0" count="4"/>)")),
       nccl(gpu(
           "0000:01:00.0",
           R"(<nvlink target="0000:09:00.0" count="1000"/><nvlink target="0000:0a:00.0" count="1000"/>)"))}) {
    const auto m = import_nccl_xml(text);
    ASSERT_TRUE(m) << m.error().text << " for " << text;
    use(*m);
  }
}

const std::string small_smi =
    "\t\x1b[4mGPU0\tGPU1\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m\n"
    "GPU0\t X \tNV12\tPXB\t0-3\t0\t\tN/A\n"
    "GPU1\tNV12\t X \tNODE\t0-3\t0\t\tN/A\n"
    "NIC0\tPXB\tNODE\t X \t\t\t\n"
    "\n"
    "Legend:\n\n  X    = Self\n  NV#  = Connection traversing a bonded set of # NVLinks\n\n"
    "NIC Legend:\n\n  NIC0: mlx5_7\n";

TEST(HostileSmi, TheRightOneIsRead) {
  const auto m = import_smi_topology(small_smi);
  ASSERT_TRUE(m) << m.error().text;
  EXPECT_EQ(m->count(NodeKind::gpu), 2);
  EXPECT_EQ(m->nodes.back().name, "mlx5_7");
  EXPECT_EQ(m->cpus().count(), 4);
  EXPECT_EQ(m->edges.front().links, 12);
  use({*m});
}

TEST(HostileSmi, EachOfTheseIsRefusedAndSaysWhy) {
  const auto with = [](const std::string& from, const std::string& to) {
    std::string s = small_smi;
    return s.replace(s.find(from), from.size(), to);
  };
  std::string wide = "GPU0";
  for (int i = 1; i < 1000; ++i) wide += "\tGPU" + std::to_string(i);
  const Bad bad[] = {{"", "no header"},
                     {"GPU0\n", "no row for GPU0"},
                     {"GPU0 GPU0\n", "GPU0 twice"},
                     {wide, "too many columns"},
                     {with("\nGPU1\tNV12", "\nGPU1\tNV11"), "GPU0 and GPU1 are joined one way"},
                     {with("\nGPU1\tNV12", "\nGPU1\tNVx"), "row GPU1: \"NVx\" below GPU0"},
                     {with("\nGPU1\tNV12", "\nGPU1\tNV999999"), "NV999999"},
                     {with("\nGPU1\tNV12", "\nGPU1\tX"), "X in the wrong place"},
                     {with("\nGPU1\tNV12\t X \tNODE\t0-3\t0\t\tN/A", "\nGPU1\tNV12"), "row GPU1: 1 cells"},
                     {with("0-3", "0-99999999"), "row GPU0: CPU affinity"},
                     {small_smi.substr(0, 90), "row"}};
  for (const Bad& b : bad) {
    const auto m = import_smi_topology(b.text);
    ASSERT_FALSE(m) << b.text;
    EXPECT_NE(m.error().text.find(b.complaint), std::string::npos) << m.error().text << "\nfor " << b.text;
  }
}

const std::string small_hwloc = [] {
  const std::string sets = R"( cpuset="0x1" complete_cpuset="0x1" nodeset="0x1" complete_nodeset="0x1")";
  const auto gpu_at = [](const std::string& bus, const std::string& gp, const std::string& name) {
    return R"(<object type="PCIDev" gp_index="1)" + gp + R"(" pci_busid=")" + bus +
           R"(" pci_type="0302 [10de:1db8] [10de:131d] a1"><object type="OSDev" osdev_type="1" gp_index="2)" +
           gp + R"(" name=")" + name + R"("/></object>)";
  };
  return R"(<topology version="2.0"><object type="Machine" os_index="0" gp_index="1" allowed_cpuset="0x1" allowed_nodeset="0x1")" +
         sets + R"(><object type="NUMANode" os_index="0" gp_index="2" local_memory="1024")" + sets +
         R"(/><object type="PU" os_index="0" gp_index="3")" + sets +
         R"(/><object type="Bridge" gp_index="4" bridge_type="0-1">)" + gpu_at("0000:01:00.0", "0", "nvml0") +
         gpu_at("0000:02:00.0", "1", "nvml1") + R"(</object></object>)" +
         R"(<distances2 type="OSDev" nbobjs="2" kind="9" name="NVLinkBandwidth" indexing="gp"><indexes length="5">20 21</indexes>)" +
         R"(<u64values length="15">0 50000 50000 0</u64values></distances2></topology>)";
}();

// hwloc writes such a matrix where all its objects are of one type.
TEST(HostileHwlocDevices, TheRightOneIsRead) {
  const auto m = import_topology(small_hwloc);
  ASSERT_TRUE(m) << m.error().text;
  EXPECT_EQ(find_islands(*m).islands, (std::vector<std::vector<int>>{{0, 1}}));
  EXPECT_EQ(m->front().edges.back().mb_per_s, 50000u);
  use(*m);
}

TEST(HostileHwlocDevices, EachOfTheseIsRefusedAndSaysWhy) {
  const auto with = [](const std::string& from, const std::string& to) {
    std::string s = small_hwloc;
    return s.replace(s.find(from), from.size(), to);
  };
  const Bad bad[] = {{with("0 50000 50000 0", "0 NaN 50000 0"), "<u64values>: \"NaN\""},
                     {with("0 50000 50000 0", "0 -1 50000 0"), "<u64values>: \"-1\""},
                     {with("0 50000 50000 0", "0 99999999999999999999 0 0"), "<u64values>"},
                     {with("0 50000 50000 0", "0 50000"), "2 values for 2 objects"},
                     {with("0 50000 50000 0", "0 1 2 3 4"), "more values than pairs"},
                     {with("20 21", "20 x"), "<indexes>: \"x\""},
                     {with("20 21", ""), "no objects"},
                     {with(" indexing=\"gp\"", ""), "not indexed by gp"},
                     {with("0302 [10de:1db8]", "0302 10de:1db8"), "<object>: pci_type"},
                     {with("0000:02:00.0", "0000"), "<object>: pci_busid"}};
  for (const Bad& b : bad) {
    const auto m = import_topology(b.text);
    ASSERT_FALSE(m) << b.complaint;
    EXPECT_NE(m.error().text.find(b.complaint), std::string::npos) << m.error().text;
  }
}

TEST(HostileFile, FailuresNameIt) {
  const auto missing = import_topology_file("/nonexistent.xml");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().text.find("/nonexistent.xml"), std::string::npos);
  const std::string path = testing::TempDir() + "libcoll-not-a-topology";
  ASSERT_TRUE(write_file(path, "<system version=\"9\"/>"));
  const auto odd = import_topology_file(path);
  ASSERT_FALSE(odd);
  EXPECT_TRUE(odd.error().text.starts_with(path)) << odd.error().text;
  std::filesystem::remove(path);
  for (const char* text : {"", " ", "pancake", "[]", "[1]", "{}", "<", "<topology/>"})
    EXPECT_FALSE(import_topology(text)) << text;
}

TEST(HostileFile, JsonOfDevices) {
  MadeHost h = make_switched_host(2, 1, 4);
  set_fabric(h, {.cluster = "rack", .clique = 3, .is_healthy = true});
  const std::string good = to_json(h.machine);
  use({h.machine});
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string s = good;
    EXPECT_NE(s.find(from), std::string::npos) << from;
    return s.replace(s.find(from), from.size(), to);
  };
  for (const std::string& text :
       {with("\"a\": 3", "\"a\": 99"), with("\"a\": 3", "\"a\": -1"), with("\"a\": 3", "\"a\": 0"),
        with("\"b\": 4", "\"b\": 3"), with("\"kind\": \"nvlink\"", "\"kind\": \"string\""),
        with("\"links\": 4", "\"links\": 1e300"), with("\"path\": \"SYS\"", "\"path\": \"PUB\""),
        with("\"mb_per_s\": 100000", "\"mb_per_s\": -1"), with("\"healthy\": true", "\"healthy\": 1"),
        with("\"clique\": 3", "\"clique\": 4294967296"), with("\"cluster\": \"rack\"", "\"cluster\": \"\""),
        with("\"knows_nvlinks\": true", "\"knows_nvlinks\": null"), with("\"edges\": [", "\"edges\": [7,")})
    EXPECT_FALSE(import_topology(text)) << text.substr(0, 400);
}

// Cut anywhere, and with pieces removed or doubled.
TEST(HostileFile, CapturedOnesMutated) {
  const std::string folder = captured_topologies();
  if (folder.empty())
    GTEST_SKIP() << "no captured machines; set LIBCOLL_SHARED to the folder that holds topologies/";
  std::mt19937 random(17);
  for (const char* name : {"/nccl/oci-gb300-2trays.xml", "/nccl/rccl-topo_8p_90a_1.xml",
                           "/smi/dgx1v-topo-m.txt", "/hwloc/power8gpudistances.xml"}) {
    const auto text = read_file(folder + name, 1u << 20);
    ASSERT_TRUE(text);
    for (int i = 0; i < 150; ++i) {
      std::string odd = *text;
      if (i % 3 == 0) odd.resize(random() % odd.size());
      for (unsigned k = 0; k <= random() % 4 && !odd.empty(); ++k) {
        const std::size_t at = random() % odd.size(), n = random() % 60;
        if (random() % 2)
          odd.erase(at, n);
        else
          odd.insert(at, odd.substr(random() % odd.size(), n));
      }
      if (const auto m = import_topology(odd)) use(*m);
    }
  }
}

}  // namespace
}  // namespace libcoll::topo
