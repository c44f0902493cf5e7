// Machines as values, from captured and made-up hosts: golden descriptions, JSON.
#include "topology/machine.hpp"

#include <gtest/gtest.h>
#include <hwloc.h>

#include <nlohmann/json.hpp>

#include "support.hpp"

namespace libcoll::topo {
namespace {

void expect_round_trip(const Machine& m) {
  ASSERT_TRUE(validate(m));
  const auto back = machine_from_json(to_json(m));
  ASSERT_TRUE(back) << back.error().text;
  EXPECT_EQ(*back, m);
  EXPECT_EQ(back->fingerprint(), m.fingerprint());
  EXPECT_EQ(to_json(*back), to_json(m));
}

class Captured : public testing::TestWithParam<const char*> {};

TEST_P(Captured, DescriptionIsAsReviewed) {
  const std::string folder = captured_machines();
  if (folder.empty())
    GTEST_SKIP() << "no captured machines; set LIBCOLL_SHARED to the folder that holds topologies/";
  const auto m = import_hwloc_xml_file(folder + "/" + GetParam() + ".xml");
  ASSERT_TRUE(m) << m.error().text;
  expect_golden(GetParam(), describe(*m));
  expect_round_trip(*m);
}
INSTANTIATE_TEST_SUITE_P(Machines, Captured,
                         testing::Values("16intel64-manyVFs", "32em64t-2n8c2t-pci-wholeio",
                                         "96em64t-4n4d3ca2co-pci", "fakeheterodistances", "nvidiaDGX2",
                                         "power8gpudistances"));

struct Made {
  const char* name;
  const char* description;
};
class Synthetic : public testing::TestWithParam<Made> {};

TEST_P(Synthetic, DescriptionIsAsReviewed) {
  const Machine m = synthetic(GetParam().description);
  expect_golden(std::string("synthetic-") + GetParam().name, describe(m));
  expect_round_trip(m);
}
INSTANTIATE_TEST_SUITE_P(
    Machines, Synthetic,
    testing::Values(
        Made{"epyc-nps4", "package:2 numa:4 l3:2 core:8 pu:2"}, Made{"no-l3", "package:2 numa:2 core:4 pu:1"},
        Made{"shared-l2", "package:1 numa:4 l2:1(size=8388608) core:12 pu:1"},  // like A64FX
        Made{"numa-above-packages", "numa:2 package:2 l3:1 core:2 pu:2"},
        Made{"l3-above-numa", "package:1 l3:1 numa:2 core:4 pu:1"},
        Made{"hbm", "package:2 [numa(memory=68719476736)] [numa(memory=17179869184)] l3:1 core:4 pu:1"},
        Made{"cxl", "[numa(memory=274877906944)] package:2 [numa(memory=68719476736)] l3:1 core:4 pu:1"},
        Made{"one-cpu", "pu:1"}));

// What this version of hwloc writes is read, and says the same.
TEST(Machine, HwlocExportIsReadBack) {
  for (const char* d :
       {"package:2 numa:2 l3:2 core:2 pu:2", "package:2 [numa] [numa] l3:1 core:4 pu:1",
        "numa:2 package:2 l3:1 core:3 pu:1", "package:1 die:2 l3:2 l2:2 core:1 pu:2", "pu:3"}) {
    hwloc_topology_t t = nullptr;
    ASSERT_EQ(hwloc_topology_init(&t), 0);
    ASSERT_EQ(hwloc_topology_set_synthetic(t, d), 0) << d;
    ASSERT_EQ(hwloc_topology_load(t), 0);
    char* xml = nullptr;
    int bytes = 0;
    ASSERT_EQ(hwloc_topology_export_xmlbuffer(t, &xml, &bytes, 0), 0);
    const auto m = import_hwloc_xml(xml);
    hwloc_free_xmlbuffer(t, xml);
    hwloc_topology_destroy(t);
    ASSERT_TRUE(m) << d << ": " << m.error().text;
    EXPECT_EQ(describe(*m), describe(synthetic(d))) << d;
  }
}

TEST(Machine, EveryCpuHasEveryLevel) {
  for (const char* d :
       {"pu:4", "core:2 pu:2", "package:2 pu:3", "numa:3 pu:2", "l3:2 pu:1", "package:2 l2:2 core:2 pu:1"}) {
    const Machine m = synthetic(d);
    EXPECT_TRUE(validate(m)) << d;  // among other things, that
    EXPECT_FALSE(m.notes.empty()) << d;
  }
}

TEST(Machine, LargeOnesAreFast) {
  const Machine m = synthetic("package:8 numa:2 l3:4 core:8 pu:2");
  EXPECT_EQ(m.cpus().count(), 1024);
  EXPECT_EQ(m.count(NodeKind::l3), 64);
  expect_round_trip(m);
}

TEST(Machine, EnclosingFindsTheNarrowestHolder) {
  const Machine m = synthetic("package:2 numa:2 l3:2 core:2 pu:2");  // 2 CPUs a core, 4 an L3, 8 a NUMA node
  EXPECT_GE(m.enclosing(NodeKind::core, cpus("2,3")), 0);
  EXPECT_EQ(m.enclosing(NodeKind::core, cpus("1,2")), -1);
  EXPECT_EQ(m.label(m.enclosing(NodeKind::l3, cpus("1,2"))), 0);
  EXPECT_EQ(m.enclosing(NodeKind::l3, cpus("3,4")), -1);
  EXPECT_EQ(m.label(m.enclosing(NodeKind::numa, cpus("8-15"))), 1);
  EXPECT_EQ(m.label(m.enclosing(NodeKind::package, cpus("8-15"))), 0);
  EXPECT_EQ(m.enclosing(NodeKind::package, cpus("0-31")), -1);
  EXPECT_EQ(m.enclosing(NodeKind::machine, cpus("0-31")), 0);
  EXPECT_EQ(m.enclosing(NodeKind::core, cpus("500")), -1);
}

TEST(Machine, FingerprintFollowsShape) {
  const Machine a = synthetic("package:2 core:4 pu:1");
  Machine b = a;
  b.notes.push_back("something");
  EXPECT_EQ(a.fingerprint(), b.fingerprint());
  EXPECT_NE(a.fingerprint(), synthetic("package:2 core:2 pu:2").fingerprint());
  EXPECT_NE(a.fingerprint(), synthetic("package:4 core:2 pu:1").fingerprint());
}

TEST(Machine, OddNamesSurviveJsonAndDoNotReachTheTerminal) {
  Machine m = synthetic("package:1 core:1 pu:1");
  m.nodes[1].name = "evil\x1b[2J\n\"quoted\" \\ \u00e9";
  const auto back = machine_from_json(to_json(m));
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, m);
  EXPECT_EQ(describe(m).find('\x1b'), std::string::npos);
  m.nodes[1].name = "not UTF-8: \xff\xfe";
  EXPECT_TRUE(machine_from_json(to_json(m)));
}

TEST(Machine, EmptyValueIsHarmless) {
  const Machine m;
  EXPECT_FALSE(validate(m));
  EXPECT_TRUE(m.cpus().empty());
  EXPECT_FALSE(describe(m).empty());
  EXPECT_FALSE(machine_from_json(to_json(m)));
}

}  // namespace
}  // namespace libcoll::topo
