// What makes one NIC of many PCI functions, and how far devices are apart.
#include "topology/devices.hpp"

#include <gtest/gtest.h>

#include "made_hosts.hpp"

namespace libcoll::topo {
namespace {

Device nic(const std::string& bus_id, std::uint64_t mb_per_s = 1000) {
  Device d;
  d.kind = NodeKind::nic;
  d.bus_id = bus_id;
  d.vendor = 0x15b3;
  d.mb_per_s = mb_per_s;
  return d;
}

Machine with(const std::vector<Device>& devices) {
  Machine m = make_host(0, 0).machine;
  add_devices(m, devices);
  EXPECT_TRUE(validate(m));
  return m;
}

TEST(Devices, PciAddresses) {
  EXPECT_EQ(*parse_pci_address("0001:af:1f.7"), (PciAddress{1, 0xaf, 0x1f, 7}));
  EXPECT_EQ(*parse_pci_address("af:00.0"), (PciAddress{0, 0xaf, 0, 0}));
  EXPECT_EQ(parse_pci_address("fffffff:ff:ff.0")->domain, 0xfffffffu);
  for (const char* text :
       {"", ":", "::.", "0:0:0:0.0", "0000:af:00", "xx:00.0", "af:00.", "123456789:00:00.0", "af:00.0 "})
    EXPECT_FALSE(parse_pci_address(text)) << text;
}

TEST(Devices, PortsAndVirtualFunctionsAreOneNic) {
  const Machine ports = with({nic("0000:0b:00.0"), nic("0000:0b:00.1")});
  EXPECT_EQ(ports.count(NodeKind::nic), 1);
  EXPECT_EQ(ports.nodes.back().functions, 2);
  EXPECT_EQ(ports.nodes.back().mb_per_s, 2000u);
  EXPECT_EQ(with({nic("0000:0b:00.0"), nic("0000:0b:00.2"), nic("0000:0b:01.3")}).count(NodeKind::nic), 1);
  // A virtual machine's bus holds unrelated devices, none of which is device 0.
  EXPECT_EQ(with({nic("0000:10:1b.0"), nic("0000:10:1c.0")}).count(NodeKind::nic), 2);
  EXPECT_EQ(with({nic("0000:0b:00.0"), nic("0000:0c:00.0")}).count(NodeKind::nic), 2);
  Device a = nic("0000:01:00.0"), b = nic("0000:02:00.0");
  a.identity = b.identity = "0xabc";
  EXPECT_EQ(with({a, b}).count(NodeKind::nic), 1);
}

TEST(Devices, PathClasses) {
  const Machine m = make_host(0, 0).machine;
  const auto at = [](int parent, int host_bridge, std::vector<int> switches) {
    Device d;
    d.parent = parent;
    d.host_bridge = host_bridge;
    d.switches = std::move(switches);
    return d;
  };
  const Device here = at(1, 5, {7});
  EXPECT_EQ(path_class(m, here, at(1, 5, {7})), PathClass::pix);
  EXPECT_EQ(path_class(m, here, at(1, 5, {7, 8})), PathClass::pxb);
  EXPECT_EQ(path_class(m, here, at(1, 5, {})), PathClass::phb);
  EXPECT_EQ(path_class(m, here, at(1, 6, {9})), PathClass::node);
  EXPECT_EQ(path_class(m, here, at(2, 9, {10})), PathClass::sys);
  EXPECT_EQ(path_class(m, here, at(0, -1, {})), PathClass::unknown);
}

TEST(Devices, EndsThatDisagreeAreNoted) {
  MadeHost h = make_host(2, 0);
  LinkTable links;
  links.add(EdgeKind::nvlink, h.gpus[0], h.gpus[1], 4, 100);
  links.add(EdgeKind::nvlink, h.gpus[1], h.gpus[0], 2, 50);
  links.settle(h.machine);
  EXPECT_EQ(h.machine.edges.back().links, 2);
  EXPECT_EQ(h.machine.notes.size(), 1u);
}

}  // namespace
}  // namespace libcoll::topo
