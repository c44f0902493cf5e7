// Pictures are read back: all devices in them once, nothing on top of anything, any name at all.
#include "topology/draw.hpp"

#include <gtest/gtest.h>

#include "drawing_checks.hpp"
#include "made_hosts.hpp"
#include "support.hpp"
#include "topology/import.hpp"

namespace libcoll::topo {
namespace {

struct Drawn {
  std::vector<Machine> machines;
  Islands islands;
  Rails rails;
  std::string svg, dot;
};

Drawn draw_all(std::vector<Machine> machines, const std::string& title = "made") {
  Drawn d{std::move(machines), {}, {}, {}, {}};
  d.islands = find_islands(d.machines);
  d.rails = find_rails(d.machines, d.islands);
  const Picture p{.title = title, .machines = d.machines, .islands = d.islands, .rails = d.rails};
  d.svg = to_svg(p);
  d.dot = to_dot(p);
  EXPECT_EQ(to_svg(p), d.svg);
  EXPECT_EQ(to_dot(p), d.dot);
  return d;
}

int count_of(const std::vector<Machine>& machines, NodeKind kind) {
  int n = 0;
  for (const Machine& m : machines) n += m.count(kind);
  return n;
}

// Up to max_hosts_drawn hosts.
void expect_complete(const Drawn& d) {
  const ReadSvg svg = read_svg(d.svg);
  const ReadDot dot = read_dot(d.dot);
  std::set<std::string> areas;
  for (std::size_t i = 0; i < d.islands.islands.size(); ++i)
    for (const int g : d.islands.islands[i]) areas.insert(fmt::format("h{}i{}", d.islands.gpus[static_cast<std::size_t>(g)].host, i));
  EXPECT_EQ(svg.count("island"), static_cast<int>(areas.size()));
  for (const std::string& id : areas) {
    EXPECT_TRUE(svg.ids.contains(id)) << id;
    EXPECT_TRUE(dot.clusters.contains("\"cluster_" + id)) << id;
  }
  for (const NodeKind kind : {NodeKind::gpu, NodeKind::nic}) EXPECT_EQ(svg.count(name_of(kind)), count_of(d.machines, kind));
  for (std::size_t h = 0; h < d.machines.size(); ++h)
    for (std::size_t n = 0; n < d.machines[h].nodes.size(); ++n) {
      const NodeKind kind = d.machines[h].nodes[n].kind;
      if (kind != NodeKind::gpu && kind != NodeKind::nic) continue;
      const std::string id = fmt::format("h{}n{}", h, n);
      EXPECT_TRUE(svg.ids.contains(id)) << id;
      EXPECT_TRUE(dot.nodes.contains("\"" + id)) << id;
    }
}

class DrawnCaptures : public testing::TestWithParam<const char*> {};

TEST_P(DrawnCaptures, AreComplete) {
  const std::string folder = captured_topologies();
  if (folder.empty()) GTEST_SKIP() << "no captured machines; set LIBCOLL_SHARED to the folder that holds topologies/";
  const auto machines = import_topology_file(folder + "/" + GetParam());
  ASSERT_TRUE(machines) << machines.error().text;
  const Drawn d = draw_all(*machines, GetParam());
  expect_complete(d);
  // Each bridge is a line and a label.
  int lines = 0;
  for (std::size_t at = d.svg.find("<title>bridge "); at != std::string::npos; at = d.svg.find("<title>bridge ", at + 1)) ++lines;
  EXPECT_EQ(lines, 2 * static_cast<int>(d.islands.bridges.size()));
}
INSTANTIATE_TEST_SUITE_P(Machines, DrawnCaptures,
                         testing::Values("smi/dgx1v-topo-m.txt", "hwloc/nvidiaDGX2.xml", "hwloc/power8gpudistances.xml",
                                         "hwloc/32em64t-2n8c2t-pci-wholeio.xml", "hwloc/16intel64-manyVFs.xml",
                                         "hwloc/96em64t-4n4d3ca2co-pci.xml", "hwloc/fakeheterodistances.xml",
                                         "nccl/aws-p4d-24xl-topo.xml", "nccl/azure-ndv4-topo.xml", "nccl/azure-ndv5-topo.xml",
                                         "nccl/oci-gb300-2trays.xml", "nccl/rccl-topo_8p_940.xml",
                                         "nccl/rccl-topo_8p_90a_1.xml", "nccl/rccl-topo_16p1h.xml"));

// A host of ours: CPUs, two pairs of GPUs with bridges between them, one NIC for each pair.
Machine small_machine(const std::string& host) {
  Machine m = synthetic("package:2 numa:1 l3:2 core:4 pu:2");
  std::vector<int> numas;
  for (std::size_t i = 0; i < m.nodes.size(); ++i) {
    Node& n = m.nodes[i];
    n.bytes = n.kind == NodeKind::numa ? std::uint64_t{64} << 30 : n.kind == NodeKind::l3 ? std::uint64_t{32} << 20 : 0;
    if (n.kind == NodeKind::numa) numas.push_back(static_cast<int>(i));
    if (n.kind == NodeKind::package) n.name = "Processor";
  }
  std::vector<Device> devices;
  for (int i = 0; i < 6; ++i) {
    const bool is_nic = i >= 4;
    const int pair = is_nic ? i - 4 : i / 2;
    Device d;
    d.kind = is_nic ? NodeKind::nic : NodeKind::gpu;
    d.bus_id = fmt::format("0000:{:02x}:00.0", 16 + i);
    if (is_nic) d.name = fmt::format("nic{}", pair);
    d.os_index = is_nic ? pair : i;
    d.parent = numas[static_cast<std::size_t>(pair)];
    d.host_bridge = pair;
    d.switches = {pair};
    d.mb_per_s = is_nic ? 25000u : 0u;
    devices.push_back(std::move(d));
  }
  const std::vector<int> nodes = add_devices(m, devices);
  link(m, nodes[0], nodes[1], 2);
  link(m, nodes[2], nodes[3], 2);
  link(m, nodes[0], nodes[2], 1);
  link(m, nodes[1], nodes[3], 1);
  m.knows_nvlinks = true;
  m.architecture = "x86_64";
  m.host = host;
  m.notes.clear();
  return m;
}

TEST(Draw, TwoHostsWithRanksAreAsReviewed) {
  const std::vector<Machine> machines{small_machine("alpha"), small_machine("beta")};
  for (const Machine& m : machines) ASSERT_TRUE(validate(m));
  std::vector<RankRecord> records;
  for (const std::uint64_t host : {0u, 1u})
    for (const char* bound : {"0,1", "8,9", "16-31", "0-31"})
      records.push_back(record_on(machines[host], cpus(bound), host));
  const Fabric fabric = build_fabric(records);
  const Hierarchy hierarchy = build_hierarchy(fabric);
  const Islands islands = find_islands(machines);
  const Rails rails = find_rails(machines, islands);
  const Picture p{.title = "two hosts", .machines = machines, .islands = islands, .rails = rails, .fabric = &fabric, .hierarchy = &hierarchy};
  const ReadSvg svg = read_svg(to_svg(p));
  EXPECT_EQ(svg.count("rank") + svg.count("leader"), 8);
  EXPECT_GE(svg.count("leader"), 2);
  for (int r = 0; r < 8; ++r) EXPECT_TRUE(svg.ids.contains(fmt::format("r{}", r)));
  read_dot(to_dot(p));
  expect_golden("two-hosts", to_svg(p), "drawings", "svg");
  expect_golden("two-hosts", to_dot(p), "drawings", "dot");
}

TEST(Draw, NothingAtAll) {
  const ReadSvg none = read_svg(draw_all({}).svg);
  EXPECT_TRUE(none.says("nothing to show"));
  read_dot(draw_all({}).dot);
  expect_complete(draw_all({Machine{}}, ""));
  Machine bare;
  bare.nodes.emplace_back();
  expect_complete(draw_all({bare, bare}));
  expect_complete(draw_all({make_host(0, 2).machine}));
  expect_complete(draw_all({synthetic("package:1 core:2 pu:1")}));
}

TEST(Draw, CoresAreOneGroupHoweverMany) {
  const Drawn d = draw_all({synthetic("package:2 numa:4 l3:2 core:8 pu:2")});
  expect_complete(d);
  const ReadSvg svg = read_svg(d.svg);
  EXPECT_EQ(svg.count("package"), 2);
  EXPECT_EQ(svg.count("numa"), 8);
  EXPECT_EQ(svg.count("l3"), 16);
  EXPECT_TRUE(svg.says("cores 0-7"));
  EXPECT_LT(svg.labels.size(), 100u);
}

TEST(Draw, OneIslandOverEighteenTrays) {
  MadeHost tray = make_switched_host(4, 4, 18);
  set_fabric(tray, {.cluster = "rack", .clique = 7, .is_healthy = true});
  const Drawn d = draw_all(std::vector<Machine>(18, tray.machine));
  expect_complete(d);
  const ReadSvg svg = read_svg(d.svg);
  EXPECT_EQ(svg.count("gpu"), 72);
  EXPECT_EQ(svg.count("island"), 18);
  EXPECT_TRUE(svg.says("4 of its 72 GPUs"));
  EXPECT_GT(svg.page.w, svg.page.h);
}

TEST(Draw, ManyHostsAreCutAndSaidSo) {
  std::vector<Machine> hosts(max_hosts_drawn + 36, make_switched_host(4, 4, 18).machine);
  const Drawn d = draw_all(hosts);
  ReadSvg svg = read_svg(d.svg);
  EXPECT_EQ(svg.count("host"), max_hosts_drawn);
  EXPECT_TRUE(svg.says("and 36 more like it"));
  EXPECT_NE(read_dot(d.dot).nodes.count("\"more"), 0u);
  EXPECT_NE(d.dot.find("and 36 more like it"), std::string::npos);
  hosts.back() = make_host(1, 0).machine;
  EXPECT_TRUE(read_svg(draw_all(hosts).svg).says("and 36 more hosts"));
}

TEST(Draw, AsManyDevicesAsAMachineMayHold) {
  const Drawn d = draw_all({make_switched_host(static_cast<int>(max_devices) - 12, 12, 18).machine});
  expect_complete(d);
  const ReadSvg svg = read_svg(d.svg);
  EXPECT_LT(svg.page.w, 6000);
  EXPECT_LT(svg.page.h, 6000);
  EXPECT_LT(d.svg.size(), 1u << 20);
}

TEST(Draw, MeshesBecomeLinesAndTooManyBecomeANote) {
  MadeHost ring = make_host(20, 2);
  for (std::size_t g = 0; g < 20; ++g) link(ring.machine, ring.gpus[g], ring.gpus[(g + 1) % 20], 1);
  const Drawn d = draw_all({ring.machine});
  expect_complete(d);
  EXPECT_EQ(d.islands.bridges.size(), 20u);
  EXPECT_NE(d.svg.find("bridge GPU 0 - GPU 19: 1 link"), std::string::npos);
  MadeHost torus = make_host(40, 0);
  for (std::size_t g = 0; g < 40; ++g)
    for (const std::size_t step : {1u, 7u}) link(torus.machine, torus.gpus[g], torus.gpus[(g + step) % 40], 1);
  const Drawn many = draw_all({torus.machine});
  expect_complete(many);
  EXPECT_TRUE(read_svg(many.svg).says("80 bridges, too many to draw"));
}

TEST(Draw, DemotedAndUnknownAreApart) {
  MadeHost h = make_switched_host(8, 8, 18);
  for (Edge& e : h.machine.edges)
    if (e.kind == EdgeKind::nvlink && e.a == h.gpus[5]) e.links = 9, e.mb_per_s /= 2;
  Machine silent = make_host(2, 1).machine;
  silent.knows_nvlinks = false;
  const Drawn d = draw_all({h.machine, silent});
  expect_complete(d);
  const ReadSvg svg = read_svg(d.svg);
  EXPECT_EQ(svg.count("demoted"), 1);
  EXPECT_EQ(svg.count("unknown"), 1);
  EXPECT_TRUE(svg.says("demoted: fewer links than siblings"));
  EXPECT_NE(d.svg.find("demoted: fewer links than its siblings"), std::string::npos);
}

TEST(Draw, HostileNamesAreText) {
  const std::string evil = "</text><script>alert(\"1\")</script>&amp;\x01\x1b[0m\xff\xc3\\\"]; \"x\" -- \"y\"; {'\n";
  MadeHost h = make_switched_host(3, 3, 2);
  h.machine.host = evil;
  h.machine.architecture = evil;
  h.machine.notes = {evil, std::string(5000, 'W')};
  for (Node& n : h.machine.nodes)
    if (&n != &h.machine.nodes[0]) n.name = n.bus_id = evil;
  h.machine.nodes[1].kind = NodeKind::package;
  h.machine.nodes[1].name = std::string(3000, 'M');
  const Drawn d = draw_all({h.machine, h.machine}, evil + std::string(2000, 'i'));
  expect_complete(d);
  EXPECT_EQ(d.svg.find("<script"), std::string::npos);
  EXPECT_TRUE(read_svg(d.svg).says("</text><script>"));
  for (const std::string* text : {&d.svg, &d.dot})
    for (const char c : *text) EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 || c == '\n');
  EXPECT_EQ(read_dot(d.dot).rest.find('x'), read_dot(draw_all({make_switched_host(3, 3, 2).machine}).dot).rest.find('x'));
  EXPECT_LT(read_svg(d.svg).page.w, 4000);
}

TEST(Draw, HierarchyAsGroupsInGroups) {
  const auto h = hierarchy_from_json(R"({"libcoll_hierarchy": 1, "size": 6, "levels": [
      {"level": "host", "groups": [{"ranks": [0, 3]}, {"ranks": [1, 4], "leader": 4}, {"ranks": [2, 5]}]},
      {"level": "group", "groups": [{"ranks": [0, 1, 3, 4]}, {"ranks": [2, 5]}]}]})");
  ASSERT_TRUE(h) << h.error().text;
  const ReadSvg svg = read_svg(to_svg("<h>", *h));
  EXPECT_EQ(svg.count("rank") + svg.count("leader"), 6);
  EXPECT_TRUE(svg.says("host 1 \xc2\xb7 2 ranks"));
  EXPECT_TRUE(svg.says("host: 3 groups of 2 ranks, led by 0,2,4"));
  const ReadDot dot = read_dot(to_dot("\"h", *h));
  EXPECT_EQ(dot.nodes.size(), 6u);
  EXPECT_EQ(dot.clusters.size(), 6u);  // the world, 2 groups, 3 hosts
}

TEST(Draw, PlacementsOfAnyShape) {
  std::mt19937 random(11);
  for (int i = 0; i < 40; ++i) {
    const Fabric f = random_fabric(random);
    const Hierarchy h = build_hierarchy(f);
    std::vector<Machine> machines(f.hosts.size(), synthetic("package:2 numa:2 l3:2 core:2 pu:2"));
    const Islands islands = find_islands(machines);
    const Rails rails = find_rails(machines, islands);
    const Picture p{.title = "any", .machines = machines, .islands = islands, .rails = rails, .fabric = &f, .hierarchy = &h};
    const ReadSvg svg = read_svg(to_svg(p));
    EXPECT_EQ(svg.count("rank") + svg.count("leader"), f.size());
    read_dot(to_dot(p));
    const ReadSvg bare = read_svg(to_svg("any", h));
    EXPECT_EQ(bare.count("rank") + bare.count("leader"), f.size());
    read_dot(to_dot("any", h));
  }
}

TEST(Draw, GraphvizReadsIt) {
  if (std::system("command -v dot >/dev/null 2>&1") != 0) GTEST_SKIP() << "no dot here";
  const Drawn d = draw_all({small_machine("a\"b\\"), small_machine("&lt;")}, "\\N <b>");
  const std::string path = testing::TempDir() + "libcoll_draw_test.dot";
  ASSERT_TRUE(write_file(path, d.dot));
  EXPECT_EQ(std::system(fmt::format("dot -Tsvg '{}' >'{}.svg' 2>'{}.log' && test ! -s '{}.log'", path, path, path, path).c_str()), 0);
  const auto drawn = read_file(path + ".svg", 1u << 24);
  ASSERT_TRUE(drawn);
  EXPECT_NE(drawn->find("\\N &lt;b&gt;"), std::string::npos);  // as they are
  EXPECT_NE(drawn->find("&amp;lt;"), std::string::npos);
}

}  // namespace
}  // namespace libcoll::topo
