#include "topology/hierarchy.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "support.hpp"
#include "topology/partition.hpp"

namespace libcoll::topo {
namespace {

const Machine& epyc() {  // CPUs 0-31: 8 a NUMA node, 4 an L3, 2 a core
  static const Machine m = synthetic("package:2 numa:2 l3:2 core:2 pu:2");
  return m;
}

std::vector<Level> useful(const Hierarchy& h) {
  std::vector<Level> levels;
  for (const LevelGroups& l : h.levels) levels.push_back(l.level);
  return levels;
}

std::vector<std::vector<int>> ranks_of(const LevelGroups& level) {
  std::vector<std::vector<int>> out;
  for (const Group& g : level.groups) out.push_back(g.ranks);
  return out;
}

Fabric on_hosts(const std::vector<std::pair<std::uint64_t, std::string>>& ranks) {
  std::vector<RankRecord> r;
  for (const auto& [host, list] : ranks) r.push_back(record_on(epyc(), cpus(list), host));
  return build_fabric(std::move(r));
}

TEST(Hierarchy, RoundRobinAcrossHosts) {
  const Fabric f =
      on_hosts({{0, "0"}, {1, "0"}, {2, "0"}, {0, "2"}, {1, "16"}, {2, "2"}, {0, "8"}, {1, "18"}});
  const Hierarchy h = build_hierarchy(f);
  ASSERT_TRUE(validate(h));
  EXPECT_EQ(useful(h), (std::vector{Level::numa, Level::package, Level::host, Level::world}));
  EXPECT_EQ(ranks_of(*h.find(Level::host)), (std::vector<std::vector<int>>{{0, 3, 6}, {1, 4, 7}, {2, 5}}));
  EXPECT_EQ(ranks_of(*h.find(Level::package)),
            (std::vector<std::vector<int>>{{0, 3, 6}, {1}, {2, 5}, {4, 7}}));
  EXPECT_EQ(h.group_of(Level::l3, 0), h.group_of(Level::l3, 3));
  EXPECT_NE(h.group_of(Level::l3, 0), h.group_of(Level::l3, 6));
  expect_golden("fabric-round-robin", describe(f, h));
}

TEST(Hierarchy, NumaIsDroppedWhereItEqualsL3) {
  const Hierarchy h = build_hierarchy(on_hosts({{0, "0"}, {0, "2"}, {0, "16"}, {0, "18"}}));
  EXPECT_EQ(useful(h), (std::vector{Level::package, Level::world}));
  EXPECT_EQ(h.find(Level::host), nullptr);
  for (int r = 0; r < 4; ++r) EXPECT_EQ(h.group_of(Level::host, r), 0);
}

TEST(Hierarchy, OneRankHasOnlyTheWorld) {
  const Hierarchy h = build_hierarchy(on_hosts({{0, "0-31"}}));
  EXPECT_TRUE(validate(h));
  EXPECT_EQ(useful(h), std::vector{Level::world});
  EXPECT_EQ(h.levels[0].groups[0].leader, 0);
}

TEST(Hierarchy, UnboundRanksShareOnlyWhatHoldsTheirCpus) {
  // Rank 2 may run anywhere on package 0, rank 3 anywhere on the host.
  const Fabric f = on_hosts({{0, "0"}, {0, "0-3"}, {0, "0-15"}, {0, "0-31"}, {0, "16"}, {0, "16-17"}});
  const Hierarchy h = build_hierarchy(f);
  ASSERT_TRUE(validate(h));
  EXPECT_EQ(h.colors[static_cast<std::size_t>(Level::core)], (std::vector{0, 1, 2, 3, 4, 4}));
  EXPECT_EQ(h.colors[static_cast<std::size_t>(Level::l3)], (std::vector{0, 0, 1, 2, 3, 3}));
  EXPECT_EQ(h.colors[static_cast<std::size_t>(Level::package)], (std::vector{0, 0, 0, 1, 2, 2}));
  EXPECT_EQ(h.colors[static_cast<std::size_t>(Level::host)], (std::vector{0, 0, 0, 0, 0, 0}));
  expect_golden("fabric-unbound", describe(f, h));
}

TEST(Hierarchy, MoreRanksThanCpus) {
  std::vector<std::pair<std::uint64_t, std::string>> ranks;
  for (int i = 0; i < 6; ++i) ranks.emplace_back(0, i % 2 ? "0" : "1");
  const Fabric f = on_hosts(ranks);
  const Hierarchy h = build_hierarchy(f);
  EXPECT_EQ(useful(h), std::vector{Level::world});  // all on one core
  expect_golden("fabric-oversubscribed", describe(f, h));
}

TEST(Hierarchy, NumaNodesThatHoldPackages) {
  const Machine m = synthetic("numa:2 package:2 l3:1 core:2 pu:1");  // CPUs 0-7, 2 a package
  std::vector<RankRecord> r;
  for (int cpu = 0; cpu < 8; ++cpu) r.push_back(record_on(m, CpuSet::range(cpu, cpu), 0));
  const Fabric f = build_fabric(r);
  const Hierarchy h = build_hierarchy(f);
  ASSERT_TRUE(validate(h));
  EXPECT_EQ(useful(h), (std::vector{Level::package, Level::numa, Level::world}));
  EXPECT_EQ(h.find(Level::numa)->groups[1].ranks, (std::vector{4, 5, 6, 7}));
  expect_golden("fabric-numa-above-packages", describe(f, h));
}

TEST(Hierarchy, PreferredLeadersLeadAllTheWayDown) {
  const Fabric f = on_hosts({{0, "0"}, {0, "1"}, {0, "16"}, {0, "17"}, {1, "0"}, {1, "1"}});
  const Hierarchy h = build_hierarchy(f, {.preferred_leaders = {3, 5, 99, -1}});
  ASSERT_TRUE(validate(h));
  EXPECT_EQ(h.find(Level::host)->groups[0].leader, 3);
  EXPECT_EQ(h.find(Level::host)->groups[1].leader, 5);
  EXPECT_EQ(h.find(Level::package)->groups[0].leader, 0);
  EXPECT_EQ(h.find(Level::package)->groups[1].leader, 3);
  EXPECT_EQ(h.levels.back().groups[0].leader, 3);
}

TEST(Hierarchy, RestrictionRenumbersAndKeepsLeaders) {
  const Fabric f = on_hosts({{0, "0"}, {0, "1"}, {0, "16"}, {0, "17"}, {1, "0"}, {1, "1"}});
  const Hierarchy h = build_hierarchy(f, {.preferred_leaders = {3}});
  const Hierarchy r = restrict_to(h, std::vector{5, 4, 3, 2});
  ASSERT_TRUE(validate(r));
  EXPECT_EQ(ranks_of(*r.find(Level::host)), (std::vector<std::vector<int>>{{0, 1}, {2, 3}}));
  EXPECT_EQ(r.find(Level::host)->groups[1].leader, 2);  // old rank 3
  EXPECT_EQ(r.find(Level::host)->groups[0].leader, 1);  // old rank 4 led
  EXPECT_EQ(r.levels.back().groups[0].leader, 2);
  EXPECT_TRUE(validate(restrict_to(h, {})));
  EXPECT_THROW(restrict_to(h, std::vector{0, 0}), Error);
  EXPECT_THROW(restrict_to(h, std::vector{6}), Error);
}

TEST(Hierarchy, PublicViewSaysTheSame) {
  const Fabric f = on_hosts({{0, "0"}, {1, "0"}, {0, "16"}});
  const Topology t = make_topology(f, build_hierarchy(f));
  EXPECT_EQ(t.host_count(), 2);
  EXPECT_EQ(t.hosts[0].name, "h0");
  EXPECT_EQ(t.hosts[0].ranks, (std::vector{0, 2}));
  EXPECT_EQ(t.levels.size(), 2u);
  EXPECT_NE(t.describe().find("3 ranks on 2 hosts"), std::string::npos);
  EXPECT_NE(t.to_json().find("\"libcoll_topology\""), std::string::npos);
}

TEST(HierarchyJson, HandWrittenFile) {
  const auto h = hierarchy_from_json(R"({"libcoll_hierarchy": 1, "size": 4, "levels": [
      {"level": "l3", "groups": [{"ranks": [2, 0]}, {"ranks": [1, 3], "leader": 3}]}]})");
  ASSERT_TRUE(h) << h.error().text;
  EXPECT_EQ(useful(*h), (std::vector{Level::l3, Level::world}));
  EXPECT_EQ(h->levels[0].groups[0].leader, 0);
  EXPECT_EQ(h->levels[0].groups[1].leader, 3);
  EXPECT_EQ(h->group_of(Level::core, 2), 2);
  EXPECT_EQ(h->group_of(Level::l3, 2), 0);
  EXPECT_EQ(h->group_of(Level::host, 3), 0);
}

TEST(HierarchyJson, HostsThatShareASwitch) {
  const auto h = hierarchy_from_json(R"({"libcoll_hierarchy": 1, "size": 6, "levels": [
      {"level": "host", "groups": [{"ranks": [0, 3]}, {"ranks": [1, 4]}, {"ranks": [2, 5]}]},
      {"level": "group", "groups": [{"ranks": [0, 1, 3, 4]}, {"ranks": [2, 5]}]}]})");
  ASSERT_TRUE(h) << h.error().text;
  EXPECT_EQ(useful(*h), (std::vector{Level::host, Level::group, Level::world}));
  EXPECT_EQ(h->group_of(Level::group, 4), 0);
  EXPECT_EQ(h->group_of(Level::group, 5), 1);
  EXPECT_EQ(*hierarchy_from_json(to_json(*h)), *h);
  // Without a file nothing is known about switches: one group.
  const Hierarchy built = build_hierarchy(on_hosts({{0, "0"}, {1, "0"}}));
  EXPECT_EQ(built.colors[static_cast<std::size_t>(Level::group)], (std::vector{0, 0}));
}

TEST(HierarchyJson, RefusesWhatIsNoHierarchy) {
  const auto file = [](const std::string& rest) {
    return hierarchy_from_json(R"({"libcoll_hierarchy": 1, )" + rest + "}");
  };
  const char* bad[] = {
      R"("size": 0, "levels": [])",
      R"("size": -1, "levels": [])",
      R"("size": 1e9, "levels": [])",
      R"("size": 16000000, "levels": [])",
      R"("size": 2)",
      R"("size": 2, "levels": 5)",
      R"("size": 2, "levels": [{"level": "l3", "groups": []}])",
      R"("size": 2, "levels": [{"level": "l3", "groups": [{"ranks": [0]}]}])",
      R"("size": 2, "levels": [{"level": "l3", "groups": [{"ranks": [0, 0]}]}])",
      R"("size": 2, "levels": [{"level": "l3", "groups": [{"ranks": [0, 2]}]}])",
      R"("size": 2, "levels": [{"level": "l3", "groups": [{"ranks": [0, 1], "leader": 2}]}])",
      R"("size": 2, "levels": [{"level": "l9", "groups": [{"ranks": [0, 1]}]}])",
      R"("size": 2, "levels": [{"level": "world", "groups": [{"ranks": [0]}, {"ranks": [1]}]}])",
      R"("size": 4, "levels": [{"level": "l3", "groups": [{"ranks": [0, 1]}, {"ranks": [2, 3]}]},
                               {"level": "host", "groups": [{"ranks": [0, 2]}, {"ranks": [1, 3]}]}])",
      R"("size": 2, "levels": [], "colors": {"core": [0, 1]})",
      R"("size": 2, "levels": [], "colors": 3)",
  };
  for (const char* rest : bad) EXPECT_FALSE(file(rest)) << rest;
  for (const char* text : {"", "[]", "{}", "null", "{\"libcoll_hierarchy\": 2, \"size\": 1, \"levels\": []}"})
    EXPECT_FALSE(hierarchy_from_json(text)) << text;
}

Partition as_partition(const LevelGroups& level, int size) {
  Partition p(static_cast<std::size_t>(size));
  for (std::size_t g = 0; g < level.groups.size(); ++g)
    for (const int r : level.groups[g].ranks) p[static_cast<std::size_t>(r)] = static_cast<int>(g);
  return p;
}

// Everything that must hold for any placement at all.
void check_properties(const Fabric& f, std::mt19937& random) {
  std::vector<int> order(f.records.size());
  std::iota(order.begin(), order.end(), 0);
  HierarchyOptions options;
  for (const int r : order)
    if (random() % 4 == 0) options.preferred_leaders.push_back(r);
  const Hierarchy h = build_hierarchy(f, options);
  auto ok = validate(h);
  ASSERT_TRUE(ok) << ok.error().text;
  for (std::size_t i = 0; i + 1 < h.levels.size(); ++i) {
    const LevelGroups& level = h.levels[i];
    EXPECT_LT(level.groups.size(), order.size());
    EXPECT_GT(level.groups.size(), h.levels[i + 1].groups.size());
  }
  const auto back = hierarchy_from_json(to_json(h));
  ASSERT_TRUE(back) << back.error().text;
  EXPECT_EQ(*back, h);
  EXPECT_EQ(build_hierarchy(build_fabric(f.records), options), h);
  EXPECT_EQ(build_fabric(f.records).hash(), f.hash());

  // Every rank appears once in the drawing's host part; a cheap proxy is that drawing terminates.
  EXPECT_FALSE(describe(f, h).empty());

  std::shuffle(order.begin(), order.end(), random);
  order.resize(1 + random() % order.size());
  const Hierarchy r = restrict_to(h, order);
  ok = validate(r);
  ASSERT_TRUE(ok) << ok.error().text;
  std::vector<RankRecord> kept;
  for (const int rank : order) kept.push_back(f.records[static_cast<std::size_t>(rank)]);
  EXPECT_EQ(r.colors, build_hierarchy(build_fabric(kept)).colors);
  // Restricting twice is restricting once.
  std::vector<int> half, half_of_order;
  for (std::size_t i = 0; i < order.size(); i += 2)
    half.push_back(static_cast<int>(i)), half_of_order.push_back(order[i]);
  const Hierarchy twice = restrict_to(r, half), once = restrict_to(h, half_of_order);
  EXPECT_EQ(twice.colors, once.colors);
  ASSERT_EQ(twice.levels.size(), once.levels.size());
  for (std::size_t i = 0; i < once.levels.size(); ++i)
    EXPECT_EQ(as_partition(twice.levels[i], once.size), as_partition(once.levels[i], once.size));
}

TEST(HierarchyProperties, RandomPlacements) {
  const char* given = std::getenv("LIBCOLL_TEST_SEED");
  const unsigned first =
      given ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
  for (unsigned i = 0; i < 300; ++i) {
    SCOPED_TRACE("rerun with LIBCOLL_TEST_SEED=" + std::to_string(first + i));
    std::mt19937 random(first + i);
    check_properties(random_fabric(random), random);
    if (HasFailure()) break;
  }
}

TEST(Partitions, FindWhatAnotherSplits) {
  EXPECT_EQ(find_split({0, 0, 1, 1}, {0, 0, 1, 1}), std::pair(-1, -1));
  EXPECT_EQ(find_split({0, 1, 2, 3}, {0, 0, 0, 0}), std::pair(-1, -1));
  EXPECT_EQ(find_split({0, 1, 0, 1}, {0, 1, 2, 3}), std::pair(0, 2));
  EXPECT_EQ(find_split({0, 1, 1, 1}, {0, 1, 1, 0}), std::pair(1, 3));
  EXPECT_EQ(find_split({}, {}), std::pair(-1, -1));
  Partition alone(13600);
  for (std::size_t i = 0; i < alone.size(); ++i) alone[i] = static_cast<int>(i);
  EXPECT_EQ(find_split(alone, alone), std::pair(-1, -1));
}

}  // namespace
}  // namespace libcoll::topo
