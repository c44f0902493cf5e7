// Shared by the tests of NVML: machines as the PCI bus shows them, and what NVML's double adds to them.
#pragma once

#include <gtest/gtest.h>

#include "made_hosts.hpp"
#include "support.hpp"
#include "tests/support/fake_nvml.hpp"
#include "topology/islands.hpp"
#include "topology/probe_nvml.hpp"
#include "topology/rails.hpp"

namespace libcoll::topo {

// As the PCI bus shows it: GPUs at the double's addresses, no word about NVLink.
inline Machine bus_with(int gpus, int nics = 0) {
  MadeHost h = make_host(gpus, nics);
  for (int g = 0; g < gpus; ++g) {
    Node& n = h.machine.nodes[static_cast<std::size_t>(h.gpus[static_cast<std::size_t>(g)])];
    n.bus_id = FakeNvml::bus_id(g);
    n.os_index = -1;
  }
  h.machine.knows_nvlinks = false;
  return h.machine;
}

inline FileReader no_files() {
  return [](const std::string&) -> std::optional<std::string> { return std::nullopt; };
}

inline Machine with(Machine m, FakeNvml& fake, const FileReader& files = no_files()) {
  add_nvml(m, fake.table(), files);
  EXPECT_TRUE(validate(m));
  EXPECT_EQ(fake.running, 0) << "not shut down";
  const auto back = machine_from_json(to_json(m));
  EXPECT_TRUE(back && *back == m);
  return m;
}

inline Islands islands_of(const std::vector<Machine>& machines) {
  const Islands found = find_islands(machines);
  // What follows from it, too, must take any machine.
  EXPECT_FALSE(describe(machines, found, find_rails(machines, found)).empty());
  return found;
}
inline Islands islands_of(const Machine& m) { return islands_of(std::vector{m}); }

inline std::vector<const Node*> gpus_of(const Machine& m) {
  std::vector<const Node*> gpus;
  for (const Node& n : m.nodes)
    if (n.kind == NodeKind::gpu) gpus.push_back(&n);
  return gpus;
}

inline FakeNvml& grace_hopper(FakeNvml& fake) {
  fake.add_gpus(4).add_hidden_switch(18);
  for (auto& g : fake.gpus) g.c2c_links = 5, g.c2c_mb_per_s = 44712;
  return fake;
}

}  // namespace libcoll::topo
