#include "topology/fabric.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support.hpp"

namespace libcoll::topo {
namespace {

const Machine& two_packages() {
  static const Machine m = synthetic("package:2 numa:1 l3:2 core:2 pu:1");  // CPUs 0-7
  return m;
}

TEST(Fabric, HostsKeepRankOrder) {
  std::vector<RankRecord> r;
  for (const std::uint64_t host : {7, 3, 7, 9, 3, 7})
    r.push_back(record_on(two_packages(), cpus("0-7"), host));
  const Fabric f = build_fabric(r);
  ASSERT_EQ(f.hosts.size(), 3u);
  EXPECT_EQ(f.hosts[0].ranks, (std::vector{0, 2, 5}));
  EXPECT_EQ(f.hosts[1].ranks, (std::vector{1, 4}));
  EXPECT_EQ(f.hosts[2].ranks, (std::vector{3}));
  EXPECT_EQ(f.host_of, (std::vector{0, 1, 0, 2, 1, 0}));
  EXPECT_EQ(f.hosts[1].name, "h3");
}

TEST(Fabric, OversubscriptionComparesRanksWithTheUnionOfMasks) {
  std::vector<RankRecord> r{record_on(two_packages(), cpus("0"), 1), record_on(two_packages(), cpus("1"), 1)};
  EXPECT_FALSE(build_fabric(r).hosts[0].oversubscribed);
  r.push_back(record_on(two_packages(), cpus("0,1"), 1));
  EXPECT_TRUE(build_fabric(r).hosts[0].oversubscribed);
  r.push_back(record_on(two_packages(), cpus("4-7"), 1));
  EXPECT_EQ(build_fabric(r).hosts[0].usable_cpus, 6);
  EXPECT_FALSE(build_fabric(r).hosts[0].oversubscribed);
}

TEST(Fabric, QuotasCountOncePerCgroup) {
  std::vector<RankRecord> r;
  for (int i = 0; i < 4; ++i) {
    RankRecord x{};
    x.host_id = 1;
    x.quota_cpus = 2;
    x.quota_cgroup = 77;
    place(x, two_packages(), cpus("0-7"));
    EXPECT_EQ(x.usable_cpus, 2);
    r.push_back(x);
  }
  EXPECT_EQ(build_fabric(r).hosts[0].usable_cpus, 2);
  EXPECT_TRUE(build_fabric(r).hosts[0].oversubscribed);
  r[2].quota_cgroup = r[3].quota_cgroup = 78;  // two containers of two CPUs' time each
  EXPECT_EQ(build_fabric(r).hosts[0].usable_cpus, 4);
  EXPECT_FALSE(build_fabric(r).hosts[0].oversubscribed);
  r[3].quota_cpus = 0;  // unlimited: bounded by the masks alone
  EXPECT_EQ(build_fabric(r).hosts[0].usable_cpus, 8);
}

TEST(Fabric, PlacesAreThoseOfTheAffinity) {
  const RankRecord core = record_on(two_packages(), cpus("5"), 1);
  EXPECT_EQ(core.pu, 5);
  EXPECT_EQ(core.core.key, 5);
  EXPECT_EQ(core.l3.key, 4);
  EXPECT_EQ(core.package.label, 1);
  const RankRecord l3 = record_on(two_packages(), cpus("2,3"), 1);
  EXPECT_EQ(l3.pu, -1);
  EXPECT_FALSE(l3.core.bound());
  EXPECT_EQ(l3.l3.key, 2);
  const RankRecord all = record_on(two_packages(), cpus("0-7"), 1);
  EXPECT_FALSE(all.package.bound());
  EXPECT_EQ(all.usable_cpus, 8);
}

// Two containers of one host, each shown its own half of the L3 by its cpuset: hwloc removes the
// other half, and "the first L3" of the two would be different things but for the keys.
TEST(Fabric, CgroupsOfOneHostAgreeOnIdentity) {
  Machine left = two_packages(), right = two_packages();
  for (Node& n : left.nodes) n.cpus &= cpus("4,6");
  for (Node& n : right.nodes) n.cpus &= cpus("5,7");
  for (Machine* m : {&left, &right}) {
    Machine cut = *m;
    cut.nodes.clear();
    std::vector<int> moved(m->nodes.size(), -1);
    for (std::size_t i = 0; i < m->nodes.size(); ++i) {
      if (m->nodes[i].cpus.empty()) continue;
      moved[i] = static_cast<int>(cut.nodes.size());
      cut.nodes.push_back(m->nodes[i]);
      if (i > 0) cut.nodes.back().parent = moved[static_cast<std::size_t>(m->nodes[i].parent)];
    }
    *m = cut;
    ASSERT_TRUE(validate(*m));
  }
  const Fabric f = build_fabric({record_on(left, cpus("4"), 1), record_on(right, cpus("5"), 1),
                                 record_on(left, cpus("6"), 1), record_on(right, cpus("7"), 1)});
  const Hierarchy h = build_hierarchy(f);
  EXPECT_EQ(h.colors[static_cast<std::size_t>(Level::l3)], (std::vector{0, 0, 1, 1}));
  EXPECT_EQ(h.colors[static_cast<std::size_t>(Level::core)], (std::vector{0, 1, 2, 3}));
}

TEST(Fabric, HashIsThatOfTheRecords) {
  std::mt19937 random(7);
  const Fabric f = random_fabric(random);
  // Another rank gets the same bytes from the allgather, into other memory.
  std::vector<RankRecord> copy(f.records.size());
  std::memcpy(copy.data(), f.records.data(), copy.size() * sizeof(RankRecord));
  EXPECT_EQ(build_fabric(copy).hash(), f.hash());
  copy.back().pid ^= 1;
  EXPECT_NE(build_fabric(copy).hash(), f.hash());
}

TEST(Fabric, EmptyAndHostileRecordsAreHarmless) {
  EXPECT_EQ(build_fabric({}).size(), 0);
  RankRecord r;
  std::memset(static_cast<void*>(&r), 0xff, sizeof r);
  const Fabric f = build_fabric({r, r});
  const Hierarchy h = build_hierarchy(f);
  EXPECT_TRUE(validate(h));
  EXPECT_FALSE(describe(f, h).empty());
  EXPECT_FALSE(nlohmann::json::parse(to_json(f), nullptr, false).is_discarded());
}

}  // namespace
}  // namespace libcoll::topo
