// Shared by the topology tests: fixtures, golden files, made-up machines and placements.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "topology/describe.hpp"
#include "topology/fabric.hpp"
#include "topology/files.hpp"
#include "topology/hierarchy.hpp"
#include "topology/probe_hwloc.hpp"

namespace libcoll::topo {

// Folder of the captured topologies; empty where there is none.
inline std::string captured_topologies() {
  std::vector<std::filesystem::path> places;
  if (const char* given = std::getenv("LIBCOLL_SHARED")) places.emplace_back(given);
  places.emplace_back(LIBCOLL_SOURCE_DIR "/../shared");
  places.emplace_back(LIBCOLL_SOURCE_DIR "/../../shared");  // from a git worktree
  std::error_code ignored;
  for (const auto& p : places)
    if (std::filesystem::is_directory(p / "topologies/hwloc", ignored)) return (p / "topologies").string();
  return {};
}

// Those of them that hwloc saved.
inline std::string captured_machines() {
  const std::string folder = captured_topologies();
  return folder.empty() ? folder : folder + "/hwloc";
}

// Compares with tests/fixtures/<folder>/<name>.<extension>, or writes it if UPDATE_GOLDEN is set.
inline void expect_golden(const std::string& name, const std::string& actual, const char* folder = "machines",
                          const char* extension = "txt") {
  const std::string path = fmt::format("{}/tests/fixtures/{}/{}.{}", LIBCOLL_SOURCE_DIR, folder, name, extension);
  if (std::getenv("UPDATE_GOLDEN") != nullptr) {
    ASSERT_TRUE(write_file(path, actual)) << path;
    return;
  }
  const auto expected = read_file(path, 1u << 20);
  ASSERT_TRUE(expected) << path << " is missing; run with UPDATE_GOLDEN=1 and review it";
  EXPECT_EQ(*expected, actual) << path;
}

inline Machine synthetic(const std::string& description) {
  auto m = synthetic_machine(description);
  EXPECT_TRUE(m) << description << ": " << (m ? "" : m.error().text);
  return m ? *m : Machine{};
}

inline RankRecord record_on(const Machine& m, const CpuSet& affinity, std::uint64_t host) {
  RankRecord r{};
  r.version = RankRecord::current_version;
  r.host_id = host;
  r.host_name[0] = 'h';
  r.host_name[1] = static_cast<char>('0' + host % 10);
  place(r, m, affinity);
  return r;
}

inline CpuSet cpus(const std::string& list) { return *CpuSet::from_list(list); }

// Ranks in any order on hosts of any shape, bound to anything or to nothing.
inline Fabric random_fabric(std::mt19937& random) {
  static const std::vector<Machine> shapes{
      synthetic("package:2 numa:2 l3:2 core:2 pu:2"), synthetic("numa:2 package:2 l3:1 core:3 pu:1"),
      synthetic("package:1 core:4 pu:1"), synthetic("package:3 l3:1 core:1 pu:1")};
  const auto below = [&](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
  };
  const std::size_t host_count = 1 + below(5), rank_count = 1 + below(40);
  const bool is_mixed = below(2) == 0;
  std::vector<const Machine*> hosts;
  for (std::size_t h = 0; h < host_count; ++h)
    hosts.push_back(is_mixed || h == 0 ? &shapes[below(shapes.size())] : hosts[0]);
  std::vector<RankRecord> records;
  for (std::size_t r = 0; r < rank_count; ++r) {
    const std::size_t h = below(host_count);
    const Machine& m = *hosts[h];
    CpuSet affinity = m.nodes[below(m.nodes.size())].cpus;
    if (below(4) == 0) affinity |= m.nodes[below(m.nodes.size())].cpus;
    records.push_back(record_on(m, affinity, h));
    records.back().pid = static_cast<int>(r);
  }
  return build_fabric(std::move(records));
}

}  // namespace libcoll::topo
