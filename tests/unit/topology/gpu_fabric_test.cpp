// GPUs of ranks: islands, rails and leaders from records, as golden text and by invariants.
#include "topology/gpu_fabric.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <set>

#include "made_hosts.hpp"
#include "drawing_checks.hpp"
#include "support.hpp"
#include "topology/draw.hpp"
#include "topology/import.hpp"

namespace libcoll::topo {
namespace {

// Made hosts and some files name no PCI addresses.
void number_buses(Machine& m) {
  int bus = 0x1a;
  for (Node& n : m.nodes)
    if (is_device(n.kind) && n.kind != NodeKind::nvswitch && n.bus_id.empty()) n.bus_id = fmt::format("0000:{:02x}:00.0", ++bus);
}

std::vector<std::string> buses_of(const Machine& m) {
  std::vector<std::string> all;
  for (const Node& n : m.nodes)
    if (n.kind == NodeKind::gpu) all.push_back(n.bus_id);
  return all;
}

// One rank for each GPU, host by host.
std::vector<GpuRecord> records_of(std::vector<Machine> machines) {
  std::vector<GpuRecord> all;
  for (std::size_t h = 0; h < machines.size(); ++h) {
    number_buses(machines[h]);
    EXPECT_TRUE(validate(machines[h]));
    for (const std::string& bus : buses_of(machines[h])) all.push_back(gpu_record(machines[h], bus, 100 + h));
  }
  return all;
}

void check_invariants(const GpuFabric& f, std::span<const GpuRecord> records) {
  ASSERT_EQ(f.size, static_cast<int>(records.size()));
  std::vector<int> seen(records.size());
  const auto see = [&](int rank) { ++seen.at(static_cast<std::size_t>(rank)); };
  ASSERT_EQ(f.leaders.size(), f.islands.size());
  for (std::size_t i = 0; i < f.islands.size(); ++i) {
    EXPECT_NE(std::find(f.islands[i].begin(), f.islands[i].end(), f.leaders[i]), f.islands[i].end());
    for (std::size_t r = 0; r < f.islands[i].size(); ++r) {
      const int rank = f.islands[i][r];
      see(rank);
      EXPECT_EQ(f.island_of[static_cast<std::size_t>(rank)], static_cast<int>(i));
      EXPECT_EQ(f.rail_of[static_cast<std::size_t>(rank)], static_cast<int>(r));
      EXPECT_EQ(std::count(f.rails[r].begin(), f.rails[r].end(), rank), 1);
    }
  }
  for (const auto* list : {&f.demoted, &f.unknown, &f.mig, &f.without_gpu}) std::for_each(list->begin(), list->end(), see);
  for (const auto& ranks : f.shared) std::for_each(ranks.begin() + 1, ranks.end(), see);
  for (std::size_t r = 0; r < seen.size(); ++r) EXPECT_EQ(seen[r], 1) << "rank " << r;
  std::size_t on_rails = 0, in_islands = 0;
  for (std::size_t r = 0; r < f.rails.size(); ++r) {
    on_rails += f.rails[r].size();
    EXPECT_EQ(f.rails[r].size() == f.islands.size(), static_cast<int>(r) < f.full_rails);
  }
  for (const auto& island : f.islands) in_islands += island.size();
  EXPECT_EQ(on_rails, in_islands);
  EXPECT_LE(f.reports.size(), max_reports);
}

GpuFabric build(std::span<const GpuRecord> records) {
  const GpuFabric f = build_gpu_fabric(records);
  check_invariants(f, records);
  EXPECT_EQ(build_gpu_fabric(records), f);
  EXPECT_EQ(nlohmann::json::parse(to_json(f, records)).at("rails").get<std::vector<std::vector<int>>>(), f.rails);
  return f;
}

void expect_fabric(const std::string& name, const std::vector<GpuRecord>& records) {
  expect_golden(name, describe(build(records), records), "gpu_fabrics");
}

// Also as maps: the text and the DOT are golden, the SVG is read back.
void expect_map(const std::string& name, const std::vector<GpuRecord>& records) {
  const GpuFabric f = build(records);
  expect_golden(name, to_text(f, records), "gpu_maps");
  const std::string dot = to_dot(name, f, records), svg = to_svg(name, f, records);
  expect_golden(name, dot, "gpu_maps", "dot");
  const ReadSvg seen = read_svg(svg);
  for (int rank = 0; rank < f.size; ++rank) {
    EXPECT_TRUE(seen.ids.contains(fmt::format("r{}", rank))) << rank;
    EXPECT_NE(dot.find(fmt::format("\"r{}\" [label=\"rank {}\\n", rank, rank)), std::string::npos) << rank;
  }
  for (std::size_t i = 0; i < f.islands.size(); ++i) EXPECT_TRUE(seen.ids.contains(fmt::format("i{}", i))) << i;
}

bool is_told(const GpuFabric& f, const std::string& what) {
  return std::any_of(f.reports.begin(), f.reports.end(), [&](const std::string& r) { return r.find(what) != std::string::npos; });
}

TEST(GpuRecords, FindGpusInAnySpelling) {
  Machine m = make_switched_host(2, 2, 18).machine;
  number_buses(m);
  for (const char* spelling : {"0000:1b:00.0", "0000:1B:00.0", "00000000:1B:00.0", "1b:00.0"}) {
    const GpuRecord r = gpu_record(m, spelling, 7);
    EXPECT_TRUE(r.has(GpuRecord::is_listed)) << spelling;
    EXPECT_EQ(unpack_bus(r.bus), "0000:1b:00.0");
    EXPECT_EQ(r.switch_links, 18u);
    EXPECT_EQ(r.nics, 2u);
    EXPECT_STREQ(r.nic[0].name, "nic0");
  }
  EXPECT_FALSE(gpu_record(m, "0001:1b:00.0", 7).has(GpuRecord::is_listed));
  EXPECT_TRUE(gpu_record(m, "nonsense", 7).has(GpuRecord::has_gpu));
  EXPECT_FALSE(gpu_record(m, "", 7).has(GpuRecord::has_gpu));
}

TEST(GpuRecords, HoldAsManyPeersAsFit) {
  MadeHost h = make_host(20, 12);
  number_buses(h.machine);
  for (std::size_t g = 1; g < 20; ++g) link(h.machine, h.gpus[0], h.gpus[g], 2);
  const GpuRecord r = gpu_record(h.machine, "0000:1b:00.0", 1);
  EXPECT_EQ(r.peers, 16u);
  EXPECT_EQ(r.links_elsewhere, 6u);
  EXPECT_EQ(r.nics, 8u);
}

TEST(GpuRecords, LongNamesStayDifferent) {
  MadeHost h = make_switched_host(1, 1, 18);
  number_buses(h.machine);
  const auto cluster = [&](const std::string& name) {
    set_fabric(h, {.cluster = name, .clique = 1, .is_healthy = true});
    return std::string(gpu_record(h.machine, "1b:00.0", 1).cluster);
  };
  EXPECT_EQ(cluster("rack"), "rack");
  EXPECT_NE(cluster(std::string(100, 'x') + "1"), cluster(std::string(100, 'x') + "2"));
}

class CapturedGpus : public testing::TestWithParam<const char*> {};
TEST_P(CapturedGpus, AreAsReviewed) {
  const std::string folder = captured_topologies();
  if (folder.empty()) GTEST_SKIP() << "no captured machines; set LIBCOLL_SHARED to the folder that holds topologies/";
  const auto machines = import_topology_file(folder + "/" + GetParam());
  ASSERT_TRUE(machines) << machines.error().text;
  expect_fabric(std::filesystem::path(GetParam()).stem().string(), records_of(*machines));
}
INSTANTIATE_TEST_SUITE_P(Machines, CapturedGpus,
                         testing::Values("hwloc/nvidiaDGX2.xml", "hwloc/power8gpudistances.xml", "nccl/azure-ndv4-topo.xml",
                                         "nccl/oci-gb300-2trays.xml", "nccl/rccl-topo_8p_90a_1.xml", "smi/dgx1v-topo-m.txt"));

TEST(GpuFabrics, FourGpusAndFourRailsPerHost) {
  expect_fabric("4-hosts-of-4", records_of(std::vector<Machine>(4, make_switched_host(4, 4, 12).machine)));
}

MadeHost tray() {
  MadeHost t = make_switched_host(4, 4, 18);
  set_fabric(t, {.cluster = "rack", .clique = 7, .is_healthy = true});
  return t;
}

TEST(GpuFabrics, OneFabricOverEighteenTrays) {
  const auto records = records_of(std::vector<Machine>(18, tray().machine));
  expect_fabric("nvl72", records);
  expect_map("nvl72", records);
}

// Two racks: rail r joins the r-th GPU of both, and the NIC next to it.
TEST(GpuFabrics, TwoRacks) {
  MadeHost other = tray();
  set_fabric(other, {.cluster = "rack", .clique = 8, .is_healthy = true});
  std::vector<Machine> machines(18, tray().machine);
  machines.insert(machines.end(), 18, other.machine);
  const auto records = records_of(machines);
  const GpuFabric f = build(records);
  ASSERT_EQ(f.islands.size(), 2u);
  EXPECT_EQ(f.full_rails, 72);
  EXPECT_EQ(f.rails[5], (std::vector<int>{5, 77}));
  EXPECT_EQ(f.nic_of[5], 0);
  EXPECT_STREQ(records[5].nic[0].name, "nic1");
}

TEST(GpuFabrics, RoundRobinPlacement) {
  const auto by_host = records_of(std::vector<Machine>(4, make_switched_host(4, 4, 12).machine));
  std::vector<GpuRecord> records;
  for (std::size_t g = 0; g < 4; ++g)
    for (std::size_t h = 0; h < 4; ++h) records.push_back(by_host[h * 4 + g]);
  expect_fabric("round-robin", records);
  expect_map("round-robin", records);
  // Hosts that number their GPUs differently: rails go by the PCI bus, not by rank.
  std::swap(records[1], records[13]);
  const GpuFabric f = build(records);
  EXPECT_EQ(f.islands[1], (std::vector<int>{13, 5, 9, 1}));
  EXPECT_EQ(f.rails[0], (std::vector<int>{0, 13, 2, 3}));
}

// Whatever the order of ranks, the same GPUs are together.
TEST(GpuFabrics, DoNotDependOnTheOrderOfRanks) {
  std::vector<Machine> machines{make_switched_host(4, 4, 12).machine, make_host(3, 1).machine, tray().machine, tray().machine};
  const auto records = records_of(machines);
  const GpuFabric f = build(records);
  std::mt19937 random(5);
  std::vector<std::size_t> order(records.size());
  std::iota(order.begin(), order.end(), 0u);
  for (int round = 0; round < 20; ++round) {
    std::shuffle(order.begin(), order.end(), random);
    std::vector<GpuRecord> shuffled;
    for (const std::size_t r : order) shuffled.push_back(records[r]);
    const GpuFabric g = build(shuffled);
    EXPECT_EQ(g.islands.size(), f.islands.size());
    for (std::size_t a = 0; a < order.size(); ++a)
      for (std::size_t b = 0; b < a; ++b)
        EXPECT_EQ(g.island_of[a] == g.island_of[b], f.island_of[order[a]] == f.island_of[order[b]]);
  }
}

TEST(GpuFabrics, UnequalIslands) {
  const auto records = records_of({make_switched_host(8, 8, 18).machine, make_switched_host(4, 4, 18).machine});
  expect_fabric("8-and-4", records);
  expect_map("8-and-4", records);
}

TEST(GpuFabrics, GpuWithMissingLinksIsDemoted) {
  MadeHost h = make_switched_host(4, 4, 18);
  for (Edge& e : h.machine.edges)
    if (e.kind == EdgeKind::nvlink && e.a == h.gpus[2]) e.links = 9, e.mb_per_s /= 2;
  auto records = records_of({make_switched_host(4, 4, 18).machine, h.machine});
  expect_fabric("missing-links", records);
  records.push_back(gpu_record({}, "", 101));  // and a rank without a GPU
  expect_map("missing-links", records);
}

// As DGX-1V, half of it used: the links to the others are no lack.
TEST(GpuFabrics, OnlyGpusOfRanksCount) {
  MadeHost h = make_host(8, 4);
  for (std::size_t half : {0u, 4u})
    for (std::size_t a = 0; a < 4; ++a)
      for (std::size_t b = 0; b < a; ++b) link(h.machine, h.gpus[half + a], h.gpus[half + b], 1 + (a + b == 3));
  for (std::size_t g = 0; g < 4; ++g) link(h.machine, h.gpus[g], h.gpus[g + 4], g < 2 ? 2 : 1);
  auto records = records_of({h.machine});
  expect_fabric("hybrid-mesh", records);
  expect_map("hybrid-mesh", records);
  records.resize(5);
  expect_fabric("hybrid-mesh-five-ranks", records);
}

TEST(GpuFabrics, ContainerWithThreeOfEightGpus) {
  MadeHost h = make_host(3, 2);
  link(h.machine, h.gpus[0], h.gpus[1], 2);
  for (const int g : h.gpus) h.machine.nodes[static_cast<std::size_t>(g)].links_elsewhere = 4;
  expect_fabric("container-3-of-8", records_of({h.machine}));
}

TEST(GpuFabrics, Slices) {
  MadeHost h = make_switched_host(2, 2, 18);
  h.machine.nodes[static_cast<std::size_t>(h.gpus[0])].is_mig = true;
  std::erase_if(h.machine.edges, [&](const Edge& e) { return e.kind == EdgeKind::nvlink && e.a == h.gpus[0]; });
  number_buses(h.machine);
  std::vector<GpuRecord> records(3, gpu_record(h.machine, "1b:00.0", 1));
  records.push_back(gpu_record(h.machine, "1c:00.0", 1));
  // What they are slices of is one GPU until somebody tells them apart.
  EXPECT_EQ(build(records).shared, (std::vector<std::vector<int>>{{0, 1, 2}}));
  set_uuid(records[0], "MIG-1111");
  set_uuid(records[1], "MIG-2222");
  set_uuid(records[2], "mig-1111");
  expect_fabric("slices", records);
  const GpuFabric f = build(records);
  EXPECT_EQ(f.mig, (std::vector<int>{0, 1}));
  EXPECT_EQ(f.shared, (std::vector<std::vector<int>>{{0, 2}}));
}

TEST(GpuFabrics, RanksThatShareAGpu) {
  Machine m = make_switched_host(2, 1, 12).machine;
  number_buses(m);
  std::vector<GpuRecord> records;
  for (const char* bus : {"1b:00.0", "1c:00.0", "1b:00.0", "0000:1C:00.0"}) records.push_back(gpu_record(m, bus, 1));
  expect_fabric("shared", records);
  // Two containers of one host: ids differ, the GPU is the same.
  records = {gpu_record(m, "1b:00.0", 1), gpu_record(m, "1b:00.0", 2)};
  EXPECT_TRUE(build(records).shared.empty());
  for (GpuRecord& r : records) set_uuid(r, "GPU-8c6d");
  EXPECT_EQ(build(records).shared.size(), 1u);
}

TEST(GpuFabrics, WithoutNvml) {
  Machine m = make_host(4, 4).machine;
  m.knows_nvlinks = false;
  expect_fabric("no-nvml", records_of({m}));
}

TEST(GpuFabrics, WithoutNvlink) { expect_fabric("pcie-only", records_of({make_host(4, 2).machine, make_host(4, 2).machine})); }

TEST(GpuFabrics, RanksWithoutGpusAndWithUnlistedOnes) {
  auto records = records_of({make_switched_host(2, 2, 12).machine});
  records.insert(records.begin() + 1, gpu_record(Machine{}, "", 100));
  records.push_back(gpu_record(Machine{}, "0000:99:00.0", 100));
  expect_fabric("no-gpu-and-unlisted", records);
  const GpuFabric none = build(std::vector<GpuRecord>(3, gpu_record(Machine{}, "", 1)));
  EXPECT_EQ(none.without_gpu, (std::vector<int>{0, 1, 2}));
  EXPECT_TRUE(none.reports.empty() && none.islands.empty());
  EXPECT_EQ(build({}).size, 0);
}

TEST(GpuFabrics, OfAnotherVersionAreUnknown) {
  auto records = records_of({make_switched_host(2, 2, 12).machine});
  records[1].version = 9;
  const GpuFabric f = build(records);
  EXPECT_EQ(f.unknown, std::vector<int>{1});
  EXPECT_TRUE(is_told(f, "rank 1: another version"));
}

TEST(GpuFabrics, EndsThatDisagreeCountAsTheFewer) {
  MadeHost h = make_host(2, 0);
  link(h.machine, h.gpus[0], h.gpus[1], 4);
  auto records = records_of({h.machine});
  EXPECT_EQ(build(records).islands.size(), 1u);
  records[1].peers = 0;
  const GpuFabric f = build(records);
  EXPECT_EQ(f.islands.size(), 2u);
  EXPECT_TRUE(is_told(f, "ranks 0 and 1 disagree"));
}

// Bytes of any kind: nothing is read beyond the record.
TEST(GpuFabrics, SurviveAnyBytes) {
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    auto records = records_of({tray().machine, tray().machine, make_host(3, 2).machine});
    for (GpuRecord& r : records)
      for (int hits = static_cast<int>(random() % 12); hits > 0; --hits)
        reinterpret_cast<unsigned char*>(&r)[16 + random() % (sizeof r - 16)] = static_cast<unsigned char>(random());
    const GpuFabric f = build(records);
    EXPECT_FALSE(describe(f, records).empty());
  }
}

TEST(GpuFabrics, HashTellsResultsApart) {
  std::set<std::uint64_t> hashes;
  std::vector<GpuRecord> records = records_of({tray().machine, tray().machine});
  hashes.insert(build(records).hash());
  records[3].nic[0].path = static_cast<std::uint8_t>(PathClass::sys);
  hashes.insert(build(records).hash());
  records[7].clique = 8;
  hashes.insert(build(records).hash());
  records[0].flags &= ~static_cast<std::uint32_t>(GpuRecord::knows_links);
  hashes.insert(build(records).hash());
  records[0].flags = 0;
  hashes.insert(build(records).hash());
  EXPECT_EQ(hashes.size(), 5u);
}

// The largest job: how long it takes is recorded, not asserted.
TEST(GpuFabrics, ThirteenThousandRanks) {
  const auto time = [](const char* what, const std::vector<GpuRecord>& records) {
    const auto before = std::chrono::steady_clock::now();
    const GpuFabric f = build_gpu_fabric(records);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - before;
    testing::Test::RecordProperty(what, std::to_string(took.count()));
    fmt::print("{}: {:.1f} ms\n", what, took.count());
    return f;
  };
  const auto hosts = records_of(std::vector<Machine>(3400, make_switched_host(4, 4, 12).machine));
  const GpuFabric f = time("3400 hosts of 4", hosts);
  EXPECT_EQ(f.islands.size(), 3400u);
  EXPECT_EQ(f.rails.size(), 4u);
  std::vector<Machine> racks;
  for (unsigned t = 0; t < 3400; ++t) {
    MadeHost h = tray();
    set_fabric(h, {.cluster = "cluster", .clique = t / 18, .is_healthy = true});
    racks.push_back(std::move(h.machine));
  }
  EXPECT_EQ(time("189 racks of 72", records_of(std::move(racks))).islands.size(), 189u);
  const GpuFabric wrong = time("one impossible rack", records_of(std::vector<Machine>(3400, tray().machine)));
  EXPECT_EQ(wrong.unknown.size(), 13600u);
  EXPECT_TRUE(is_told(wrong, "more than 1024"));
}

}  // namespace
}  // namespace libcoll::topo
