// Files that nobody should write. Each must give a failure or a valid Machine, never a crash.
#include <gtest/gtest.h>

#include "support.hpp"
#include "topology/xml_guard.hpp"

namespace libcoll::topo {
namespace {

// The smallest document that is right, with a hole for more objects and one for the PU's attributes.
std::string document(const std::string& objects, const std::string& after = "") {
  const std::string all = R"( cpuset="0x3" complete_cpuset="0x3" nodeset="0x1" complete_nodeset="0x1")";
  return R"(<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE topology SYSTEM "hwloc2.dtd"><topology version="2.0">)"
         R"(<object type="Machine" os_index="0" allowed_cpuset="0x3" allowed_nodeset="0x1" gp_index="1")" +
         all + ">" + R"(<object type="NUMANode" os_index="0" gp_index="2" local_memory="1024")" + all + "/>" +
         objects + "</object>" + after + "</topology>";
}

std::string pu(int index, const std::string& more = "") {
  const std::string set = index == 0 ? "0x1" : "0x2";
  return R"(<object type="PU" os_index=")" + std::to_string(index) + R"(" gp_index=")" +
         std::to_string(10 + index) + R"(" cpuset=")" + set + R"(" complete_cpuset=")" + set +
         R"(" nodeset="0x1" complete_nodeset="0x1")" + more + "/>";
}

TEST(HostileXml, TheRightOneIsRead) {
  const auto m = import_hwloc_xml(document(pu(0) + pu(1)));
  ASSERT_TRUE(m) << m.error().text;
  EXPECT_EQ(m->cpus().count(), 2);
  EXPECT_EQ(m->count(NodeKind::core), 2);
}

TEST(HostileXml, DevicesAndExtrasNeverReachHwloc) {
  const auto guarded = guard_hwloc_xml(document(
      pu(0) + pu(1) +
          R"(<object type="Misc" name="x" gp_index="1"/><object type="PCIDev" pci_busid="nan"><object type="OSDev"/></object>)",
      R"(<distances2 type="PU" nbobjs="999999999" kind="NaN"><indexes length="-1">nan</indexes></distances2><userdata length="9">x</userdata>)"));
  ASSERT_TRUE(guarded) << guarded.error().text;
  for (const char* word : {"Misc", "PCIDev", "distances", "userdata", "nan"})
    EXPECT_EQ(guarded->find(word), std::string::npos) << word;
}

TEST(HostileXml, EachOfTheseIsRefused) {
  std::string deep, wide, infinite = document(pu(0) + pu(1)), nothing_allowed = infinite;
  nothing_allowed.replace(nothing_allowed.find("allowed_nodeset=\"0x1"), 20, "allowed_nodeset=\"0x2");
  for (int i = 0; i < 100; ++i)
    deep +=
        R"(<object type="Group" cpuset="0x3" complete_cpuset="0x3" nodeset="0x1" complete_nodeset="0x1">)";
  for (int i = 0; i < 1000000; ++i) wide += "<object/>";
  infinite.replace(infinite.find("0x3"), 3, "0xf...f");
  const std::string bad[] = {
      "",
      " ",
      "\n",
      "<",
      "<>",
      "<!-- ",
      "<?xml",
      "<topology",
      "<topology/>",
      "not xml",
      std::string(100, '\0'),
      "<topology version=\"1.0\"></topology>",
      "<topology version=\"2.0\"></topology>",
      "<topology version=\"2.0\"><topology version=\"2.0\"></topology></topology>",
      "<!DOCTYPE topology [<!ENTITY a \"&b;&b;\">]><topology version=\"2.0\"/>",
      document(pu(0)).substr(0, 300),
      document(pu(0) + pu(0)),                      // the same PU twice
      document(pu(0) + pu(1, R"( gp_index="3")")),  // an attribute twice
      document(
          pu(0) +
          R"(<object type="PU" os_index="1" gp_index="10" cpuset="0x2" complete_cpuset="0x2" nodeset="0x1" complete_nodeset="0x1"/>)"),
      document(
          pu(0) +
          R"(<object type="PU" os_index="2" gp_index="11" cpuset="0x4" complete_cpuset="0x4" nodeset="0x1" complete_nodeset="0x1"/>)"),
      document(
          pu(0) +
          R"(<object type="PU" os_index="1" gp_index="11" cpuset="0x3" complete_cpuset="0x3" nodeset="0x1" complete_nodeset="0x1"/>)"),
      document(pu(0, R"( cache_size="NaN")")),
      document(pu(0, R"( cache_size="-1")")),
      document(pu(0, R"( cache_size="1e9")")),
      document(pu(0, R"( cache_size="99999999999999999999")")),
      document(R"(<object type="PU" os_index="0"/>)"),
      document("<object/>"),
      document(R"(<object type="Pancake"/>)"),
      document(R"(<object type="Machine" cpuset="0x3"/>)"),
      document("</object></object>"),
      document(deep),
      document(wide),
      infinite,
      nothing_allowed};
  for (const std::string& text : bad) {
    const auto m = import_hwloc_xml(text);
    ASSERT_FALSE(m) << text.substr(0, 400);
    EXPECT_FALSE(m.error().text.empty());
  }
}

TEST(HostileXml, EveryTruncationOfARealFile) {
  const std::string text = document(pu(0) + pu(1));
  for (std::size_t n = 0; n + 1 < text.size(); ++n) EXPECT_FALSE(import_hwloc_xml(text.substr(0, n))) << n;
}

// One byte changed anywhere: whatever comes out must be a valid machine.
TEST(HostileXml, EveryByteMutated) {
  const std::string text = document(pu(0) + pu(1));
  for (std::size_t n = 0; n < text.size(); n += 3)
    for (const char c : {'<', '"', '0', '9', 'x', '\xff'}) {
      std::string odd = text;
      odd[n] = c;
      const auto m = import_hwloc_xml(odd);
      EXPECT_TRUE(!m || validate(*m));
    }
}

TEST(HostileXml, CapturedMachinesMutated) {
  const std::string folder = captured_machines();
  if (folder.empty())
    GTEST_SKIP() << "no captured machines; set LIBCOLL_SHARED to the folder that holds topologies/";
  const auto text = read_file(folder + "/power8gpudistances.xml", 1u << 20);
  ASSERT_TRUE(text);
  std::mt19937 random(11);
  for (int i = 0; i < 400; ++i) {
    std::string odd = *text;
    for (unsigned k = 0; k <= random() % 3; ++k) {
      const std::size_t at = random() % odd.size(), n = random() % 40;
      if (random() % 2)
        odd.erase(at, n);
      else
        odd.insert(at, odd.substr(random() % odd.size(), n));
    }
    const auto m = import_hwloc_xml(odd);
    EXPECT_TRUE(!m || validate(*m));
  }
}

TEST(HostileJson, EachOfTheseIsRefused) {
  const std::string good = to_json(synthetic("package:1 core:2 pu:1"));
  ASSERT_TRUE(machine_from_json(good));
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string s = good;
    const std::size_t at = s.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return s.replace(at, from.size(), to);
  };
  const std::string bad[] = {"",
                             "null",
                             "[]",
                             "{}",
                             "{",
                             "\xff",
                             std::string(100000, '['),
                             "{\"libcoll_machine\": NaN}",
                             with("\"libcoll_machine\": 1", "\"libcoll_machine\": 2"),
                             with("\"line_bytes\": 64", "\"line_bytes\": 63"),
                             with("\"line_bytes\": 64", "\"line_bytes\": 1e300"),
                             with("\"line_bytes\": 64", "\"line_bytes\": \"64\""),
                             with("\"l2_bytes\": ", "\"l2_bytes\": -7"),
                             with("\"parent\": 0", "\"parent\": 5"),
                             with("\"parent\": 0", "\"parent\": 1.5"),
                             with("\"parent\": 0", "\"parent\": -1"),
                             with("\"kind\": \"package\"", "\"kind\": \"cake\""),
                             with("\"kind\": \"package\"", "\"kind\": \"pu\""),
                             with("\"kind\": \"package\"", "\"kind\": \"machine\""),
                             with("\"kind\": \"package\"", "\"kind\": \"numa\""),
                             with("\"cpus\": \"0,1\"", "\"cpus\": \"0-65535\""),
                             with("\"cpus\": \"0,1\"", "\"cpus\": \"0\""),
                             with("\"cpus\": \"0,1\"", "\"cpus\": \"4294967296\""),
                             with("\"cpus\": \"0,1\"", "\"cpus\": 3"),
                             with("\"nodes\"", "\"knots\""),
                             with("\"notes\": [", "\"notes\": [1,"),
                             good.substr(0, good.size() / 2)};
  for (const std::string& text : bad) EXPECT_FALSE(machine_from_json(text)) << text.substr(0, 300);
}

TEST(HostileJson, SmallFileCannotAskForMuchMemory) {
  std::string s =
      R"({"libcoll_machine":1,"architecture":"","line_bytes":64,"l2_bytes":0,"l3_bytes":0,"notes":[],"nodes":[)";
  for (int i = 0; i < 90000; ++i)
    s += std::string(i ? "," : "") + R"({"kind":"pu","parent":-1,"cpus":"65535"})";
  EXPECT_FALSE(machine_from_json(s + "]}"));
}

}  // namespace
}  // namespace libcoll::topo
