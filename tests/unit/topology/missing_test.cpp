// What is missing, and that a remedy is named for each.
#include "topology/missing.hpp"

#include <gtest/gtest.h>

#include "made_hosts.hpp"
#include "support.hpp"

namespace libcoll::topo {
namespace {

bool names(const std::vector<Missing>& all, const std::string& what, const std::string& how) {
  return std::any_of(all.begin(), all.end(), [&](const Missing& m) {
    return m.what.find(what) != std::string::npos && m.how.find(how) != std::string::npos;
  });
}

TEST(MissingThings, NoneOfAWholeMachine) {
  const Machine m = make_switched_host(4, 4, 18).machine;
  EXPECT_TRUE(missing_of(m, nullptr, false).empty());
  EXPECT_EQ(describe(missing_of(m, nullptr, false)), "could not be probed: nothing\n");
}

TEST(MissingThings, Devices) {
  const auto none = missing_of(synthetic("package:1 core:2 pu:1"), nullptr, false);
  EXPECT_TRUE(names(none, "no GPUs seen", "LIBCOLL_TOPOLOGY"));
  EXPECT_TRUE(names(none, "no NICs seen", "/sys/bus/pci"));
  Machine m = make_host(2, 1).machine;
  m.knows_nvlinks = false;
  EXPECT_TRUE(names(missing_of(m, nullptr, false), "NVLinks of the GPUs", "nvidia-smi topo -m"));
}

TEST(MissingThings, PlacesOfGpusInAVirtualMachine) {
  MadeHost h = make_switched_host(2, 2, 18);
  h.machine.nodes[static_cast<std::size_t>(h.gpus[1])].parent = 0;
  EXPECT_TRUE(names(missing_of(h.machine, nullptr, false), "near GPU 1", "a virtual machine may get it from nvidia-topologyd"));
  const auto there = missing_of(h.machine, nullptr, true);
  EXPECT_TRUE(names(there, "near GPU 1", std::string("LIBCOLL_TOPOLOGY=") + virtual_topology));
  EXPECT_FALSE(names(there, "near GPU 1", "else"));
}

TEST(MissingThings, UnboundRanks) {
  const Machine m = synthetic("package:2 numa:1 core:2 pu:1");
  std::vector<RankRecord> records{record_on(m, cpus("0"), 1), record_on(m, m.cpus(), 1), record_on(m, m.cpus(), 1)};
  const Fabric fabric = build_fabric(records);
  EXPECT_TRUE(names(missing_of(m, &fabric, false), "ranks 1,2 are near", "--bind-to core"));
  records.resize(1);
  records.push_back(record_on(m, cpus("2"), 1));
  const Fabric bound = build_fabric(records);
  EXPECT_FALSE(names(missing_of(m, &bound, false), "near", ""));
}

TEST(MissingThings, NotesButNotWhatTheUserSaid) {
  Machine m = make_switched_host(4, 4, 18).machine;
  m.notes = {"cores not shown: each CPU taken as one", "LIBCOLL_TOPOLOGY replaces the devices"};
  const auto all = missing_of(m, nullptr, false);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].what, m.notes[0]);
}

}  // namespace
}  // namespace libcoll::topo
