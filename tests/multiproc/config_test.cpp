// The body again, smaller, under settings that send the data other ways.
#include <gtest/gtest.h>
#include <sched.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "tests/multiproc/body.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/values.hpp"
#include "topology/machine.hpp"
#include "topology/probe_hwloc.hpp"

namespace libcoll::test {
namespace {

struct Variant {
  const char* name;
  void (*change)(Config&);
};
void PrintTo(const Variant& v, std::ostream* out) { *out << v.name; }

// Sleeps at once: every wait goes through the futex.
void sleep_at_once(Config& c) { c.spin_us = 0, c.yield_us = 0; }

class Configured : public testing::TestWithParam<Variant> {};

TEST_P(Configured, BodyPasses) {
  for (const int ranks : {1, 2, 3, 5}) {
    Launch launch{.ranks = ranks};
    GetParam().change(launch.config);
    EXPECT_EQ(run_forked(launch, [](Comm& c) {
                run_body(c, {.seed = test_seed(), .scale = 0.3 * test_scale(), .most_bytes = 2 << 20, .every_type = false});
              }), "") << ranks << " ranks";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Settings, Configured,
    testing::Values(Variant{"single_copy_on", [](Config& c) { c.single_copy = "on"; }},
                    Variant{"single_copy_off", [](Config& c) { c.single_copy = "off"; }},
                    Variant{"descriptors_by_socket", [](Config& c) { c.fd_passing = "socket"; }},
                    Variant{"descriptors_by_proc", [](Config& c) { c.fd_passing = "proc"; }},
                    Variant{"check", [](Config& c) { c.check = true; }},
                    Variant{"tiny_arena", [](Config& c) { c.arena_bytes = 32 << 20; }},
                    Variant{"default_arena", [](Config& c) { c.arena_bytes = 0; }},
                    Variant{"calibrated", [](Config& c) { c.calibrate = true; }},
                    Variant{"sleep_at_once", sleep_at_once},
                    Variant{"sleep_at_once_with_check", [](Config& c) { sleep_at_once(c), c.check = true; }},
                    Variant{"spin_for_long", [](Config& c) { c.spin_us = 50; }}),
    [](const auto& test) { return test.param.name; });

// Settings that all ranks must share are compared when the world is made.
TEST(Configured, DifferentSettingsAreNamedOnEveryRank) {
  const Launch launch{.ranks = 3};
  Board board(3);
  Processes ranks(board, 3, [&](int r) {
    Config c = launch.config;
    if (r == 2) c.single_copy = "off";
    try {
      Comm world = Comm::from_callback(r, 3, board.function_for(r), c);
      return 2;
    } catch (const Error& e) {
      const bool names = std::string(e.what()).find("LIBCOLL_SINGLE_COPY") != std::string::npos;
      return e.code() == Errc::mismatch && names && (r == 2 || e.peer() == 2) ? 0 : 3;
    }
  });
  for (const auto& end : ranks.wait(60)) EXPECT_EQ(end.exit_code, 0);
}

// -- LIBCOLL_HIERARCHY ------------------------------------------------------------------------------

class File {
 public:
  explicit File(const std::string& text) {
    const int fd = mkstemp(path_);
    if (fd < 0) throw std::runtime_error("mkstemp");
    close(fd);
    std::ofstream(path_) << text;
  }
  ~File() { std::remove(path_); }
  const char* path() const { return path_; }

 private:
  char path_[64] = "/tmp/libcoll_hierarchy_XXXXXX";
};

TEST(Hierarchy, OneReadFromAFileIsTheOneThatIsUsed) {
  const File file(R"({"libcoll_hierarchy": 1, "size": 4, "levels": [
      {"level": "numa", "groups": [{"ranks": [0, 3]}, {"ranks": [1, 2]}]},
      {"level": "world", "groups": [{"ranks": [0, 1, 2, 3]}]}]})");
  Launch launch{.ranks = 4};
  launch.config.hierarchy_file = file.path();
  EXPECT_EQ(run_forked(launch, [](Comm& c) {
              Comm node = c.split(Level::numa);
              const int want = c.rank() == 0 || c.rank() == 3 ? 3 : 2 + 1;
              const int sum = node.allreduce(c.rank(), Op::sum);
              if (node.size() != 2 || sum != want) throw std::runtime_error("the file was not followed");
              if (node.rank() != (c.rank() == 0 || c.rank() == 1 ? 0 : 1)) throw std::runtime_error("order");
              run_smoke(node, test_seed());
              node.close();
            }), "");
}

struct BadFile {
  const char* name;
  const char* text;
};
void PrintTo(const BadFile& b, std::ostream* out) { *out << b.name; }
class HierarchyRefused : public testing::TestWithParam<BadFile> {};

TEST_P(HierarchyRefused, OnEveryRank) {
  const File file(GetParam().text);
  Board board(2);
  Config config = quiet_config();
  config.hierarchy_file = file.path();
  Processes ranks(board, 2, [&](int r) {
    try {
      Comm world = Comm::from_callback(r, 2, board.function_for(r), config);
      return 2;
    } catch (const Error& e) {
      board.report(r, e.what());
      return e.code() == Errc::invalid_argument ? 0 : 3;
    }
  });
  const auto& ends = ranks.wait(60);
  for (int r = 0; r < 2; ++r) {
    EXPECT_EQ(ends[static_cast<std::size_t>(r)].exit_code, 0) << board.text_of(r);
    EXPECT_NE(board.text_of(r).find(file.path()), std::string::npos) << board.text_of(r);
  }
}
INSTANTIATE_TEST_SUITE_P(
    Files, HierarchyRefused,
    testing::Values(BadFile{"empty", ""}, BadFile{"no_json", "pancake"}, BadFile{"truncated", R"({"libcoll_hierarchy": 1, "size": 2, "levels": [)"},
                    BadFile{"three_ranks", R"({"libcoll_hierarchy": 1, "size": 3, "levels": [{"level": "world", "groups": [{"ranks": [0, 1, 2]}]}]})"},
                    BadFile{"rank_twice", R"({"libcoll_hierarchy": 1, "size": 2, "levels": [{"level": "numa", "groups": [{"ranks": [0, 1]}, {"ranks": [1]}]}]})"},
                    BadFile{"unknown_level", R"({"libcoll_hierarchy": 1, "size": 2, "levels": [{"level": "galaxy", "groups": [{"ranks": [0, 1]}]}]})"},
                    BadFile{"negative_rank", R"({"libcoll_hierarchy": 1, "size": 2, "levels": [{"level": "numa", "groups": [{"ranks": [0, -1]}]}]})"}),
    [](const auto& test) { return test.param.name; });

TEST(Hierarchy, AMissingFileIsRefused) {
  Launch launch{.ranks = 2};
  launch.config.hierarchy_file = "/nonexistent/hierarchy.json";
  const std::string text = run_forked(launch, [](Comm&) {});
  EXPECT_NE(text.find("rank 0 of 2: invalid argument"), std::string::npos) << text;
  EXPECT_NE(text.find("rank 1 of 2: invalid argument"), std::string::npos) << text;
}

// -- LIBCOLL_TOPOLOGY -------------------------------------------------------------------------------

// Two ranks on a CPU each, which a file puts into packages of their own: they share no NUMA node.
TEST(Topology, OneReadFromAFileIsTheOneThatIsUsed) {
  cpu_set_t mine;
  if (sched_getaffinity(0, sizeof mine, &mine) != 0 || !CPU_ISSET(0, &mine) || !CPU_ISSET(1, &mine)) GTEST_SKIP() << "needs CPUs 0 and 1";
  const auto machine = topo::synthetic_machine("package:2 numa:1 core:1 pu:1");
  ASSERT_TRUE(machine);
  const File file(topo::to_json(*machine).c_str());
  Board board(2);
  Config config = quiet_config();
  config.topology_file = file.path();
  Processes ranks(board, 2, [&](int r) {
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(r, &own);
    if (sched_setaffinity(0, sizeof own, &own) != 0) return 2;
    Comm world = Comm::from_callback(r, 2, board.function_for(r), config);
    Comm node = world.split(Level::numa);
    const int size = node.size(), sum = world.allreduce(r + 1, Op::sum);
    node.close();
    world.close();
    return size == 1 && sum == 3 ? 0 : 3;
  });
  for (const auto& end : ranks.wait(60)) EXPECT_EQ(end.exit_code, 0);
}

TEST(Topology, OneThatOneRankCannotFollowIsRefusedOnAll) {
  const File file(R"({"libcoll_topology": 1, "override": {"islands": [["0000:fe:1f.7"]]}})");
  Launch launch{.ranks = 2};
  launch.config.topology_file = file.path();
  const std::string text = run_forked(launch, [](Comm&) {});
  for (const char* rank : {"rank 0 of 2: invalid argument", "rank 1 of 2: invalid argument"}) EXPECT_NE(text.find(rank), std::string::npos) << text;
  EXPECT_NE(text.find("no GPU \"0000:fe:1f.7\""), std::string::npos) << text;
}

TEST(Topology, TextsThatDifferAreNamed) {
  const File one(R"({"libcoll_topology": 1, "override": {}})"), other(R"({"libcoll_topology": 1, "override": {"islands": []}})");
  Board board(2);
  Processes ranks(board, 2, [&](int r) {
    Config config = quiet_config();
    config.topology_file = r == 0 ? one.path() : other.path();
    try {
      Comm world = Comm::from_callback(r, 2, board.function_for(r), config);
      return 2;
    } catch (const Error& e) {
      return e.code() == Errc::mismatch && std::string(e.what()).find("LIBCOLL_TOPOLOGY") != std::string::npos ? 0 : 3;
    }
  });
  for (const auto& end : ranks.wait(60)) EXPECT_EQ(end.exit_code, 0);
}

}  // namespace
}  // namespace libcoll::test
