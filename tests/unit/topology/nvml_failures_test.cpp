// NVML's table, and what becomes of calls that fail, of functions that a driver lacks, and of no NVML at all.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "nvml_support.hpp"

namespace libcoll::topo {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST(NvmlTable, LayoutsAndVersionWordsAreThoseOfNvml) {
  // Sizes and version words as NVIDIA's headers 12.9 and 13.5 give them; compared with those outside this repository.
  EXPECT_EQ(sizeof(nvml::PciInfo), 68u);
  EXPECT_EQ(sizeof(nvml::FabricInfo), 28u);
  EXPECT_EQ(sizeof(nvml::FabricInfoV), 40u);
  EXPECT_EQ(sizeof(nvml::FieldValue), 40u);
  EXPECT_EQ(nvml::fabric_version_2, 0x02000024u);
  EXPECT_EQ(nvml::fabric_version_3, 0x03000028u);
}

TEST(NvmlTable, LinkVersionsAreNoVersionNumbers) {
  EXPECT_EQ(nvml::mb_per_link(nvml::LinkVersion::v1_0), 20000u);
  EXPECT_EQ(nvml::mb_per_link(static_cast<nvml::LinkVersion>(5)), 25000u);  // an A100: NVLink 3.1
  EXPECT_EQ(nvml::mb_per_link(static_cast<nvml::LinkVersion>(6)), 25000u);  // H100: 4
  EXPECT_EQ(nvml::mb_per_link(static_cast<nvml::LinkVersion>(7)), 50000u);  // B200: 5
  EXPECT_EQ(nvml::mb_per_link(static_cast<nvml::LinkVersion>(0)), 0u);
  EXPECT_EQ(nvml::mb_per_link(static_cast<nvml::LinkVersion>(99)), 0u);
}

TEST(NvmlTable, HealthMasks) {
  EXPECT_EQ(nvml::complaints_of(0), "");
  EXPECT_EQ(nvml::complaints_of(0x1aa), "");  // all "not so", configuration in order
  EXPECT_EQ(nvml::complaints_of(0x1a9), "degraded bandwidth");
  EXPECT_EQ(nvml::complaints_of(0x59a), "route unhealthy, incorrect configuration");
}

TEST(NvmlTable, LoadingSaysWhyNot) {
  const auto absent = nvml::load_nvml("libcoll-no-such-nvml.so.1");
  ASSERT_FALSE(absent);
  EXPECT_THAT(absent.error().text, HasSubstr("libcoll-no-such-nvml.so.1"));
  const auto other = nvml::load_nvml("libm.so.6");
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().text, HasSubstr("libm.so.6 lacks nvmlInit_v2, nvmlShutdown"));
}

TEST(NvmlTable, LoadingToleratesWhatIsMissing) {
  const auto table = nvml::load_nvml(LIBCOLL_FAKE_NVML);
  ASSERT_TRUE(table) << table.error().text;
  EXPECT_EQ(table->name, nullptr);
  Machine m = bus_with(1);
  add_nvml(m, *table, no_files());
  EXPECT_EQ(gpus_of(m).at(0)->os_index, 0);
  EXPECT_FALSE(m.knows_nvlinks);
  EXPECT_THAT(m.notes, ElementsAre(HasSubstr("driver unknown lacks nvmlErrorString, nvmlSystemGetDriverVersion")));
}

TEST(Nvml, OlderFabricStructures) {
  for (const unsigned newest : {2u, 1u}) {
    FakeNvml a, b;
    grace_hopper(a).set_fabric(0x5a, 3).newest_fabric_version = newest;
    grace_hopper(b).set_fabric(0x5a, 3).newest_fabric_version = newest;
    const std::vector<Machine> hosts{with(bus_with(4), a), with(bus_with(4), b)};
    EXPECT_EQ(islands_of(hosts).islands.size(), 1u) << newest;
    EXPECT_THAT(hosts[0].notes, IsEmpty()) << newest;
  }
}

// One without any fabric function, and one that has the first of them only.
TEST(Nvml, OldDrivers) {
  FakeNvml none, first;
  grace_hopper(none).set_fabric(0x5a, 3).lack("nvmlDeviceGetGpuFabricInfoV").lack("nvmlDeviceGetGpuFabricInfo");
  grace_hopper(first).set_fabric(0x5a, 3).lack("nvmlDeviceGetGpuFabricInfoV");
  const Machine m = with(bus_with(4), none);
  EXPECT_THAT(m.notes, ElementsAre(HasSubstr(
                           "driver FAKE 550.1 lacks nvmlDeviceGetGpuFabricInfoV, nvmlDeviceGetGpuFabricInfo")));
  EXPECT_EQ(gpus_of(m)[0]->fabric, NvlinkFabric{});
  EXPECT_THAT(islands_of(m).islands, ElementsAre(ElementsAre(0, 1, 2, 3)));
  EXPECT_TRUE(gpus_of(with(bus_with(4), first))[0]->fabric.is_healthy);
}

class NvmlFailure : public testing::TestWithParam<std::string> {};

TEST_P(NvmlFailure, IsNotedAndNeverFatal) {
  const std::string& symbol = GetParam();
  const bool is_of_gpu = symbol.starts_with("nvmlDevice") && symbol != "nvmlDeviceGetCount_v2";
  for (const nvml::Return code : {nvml::error_unknown, nvml::error_gpu_is_lost, 12345})
    for (const int gpu : {-1, 2}) {
      FakeNvml fake;
      fake.add_gpus(4).add_switches(2, 9).set_fabric(7, 1).fail_on(is_of_gpu ? gpu : -1, symbol, code);
      for (auto& g : fake.gpus) g.c2c_links = 1, g.c2c_mb_per_s = 1000;
      // These are asked for if something else went wrong.
      if (symbol == "nvmlErrorString") fake.fail("nvmlDeviceGetName");
      if (symbol == "nvmlSystemGetDriverVersion" || symbol == "nvmlDeviceGetGpuFabricInfo")
        fake.lack("nvmlDeviceGetGpuFabricInfoV");
      const Machine m = with(bus_with(4, 2), fake);
      EXPECT_THAT(m.notes, Not(IsEmpty())) << symbol;
      islands_of(m);
      EXPECT_GE(m.count(NodeKind::gpu), 3) << symbol;
    }
}

TEST_P(NvmlFailure, AMissingFunctionIsNotedAndNeverFatal) {
  FakeNvml fake;
  fake.add_gpus(4).add_switches(2, 9).set_fabric(7, 1).lack(GetParam());
  const Machine m = with(bus_with(4, 2), fake);
  islands_of(m);
  // Of the fabric functions one is enough.
  const bool has_substitute = GetParam() == "nvmlDeviceGetGpuFabricInfo";
  EXPECT_TRUE(has_substitute || testing::Value(m.notes, Contains(HasSubstr(GetParam()))));
}
INSTANTIATE_TEST_SUITE_P(Functions, NvmlFailure, testing::ValuesIn(FakeNvml::symbols()),
                         [](const auto& test) { return test.param; });

TEST(Nvml, FailuresNameTheFunctionAndTheGpus) {
  FakeNvml fake;
  fake.add_gpus(8).add_switches(1, 18).set_fabric(1, 1).fail("nvmlDeviceGetName");
  fake.fail_on(3, "nvmlDeviceGetUUID", nvml::error_gpu_is_lost);
  EXPECT_THAT(with(bus_with(8), fake).notes, ElementsAre("NVML, GPUs 0-7: nvmlDeviceGetName: FAKE error",
                                                         "NVML, GPU 3: nvmlDeviceGetUUID: FAKE GPU is lost"));
}

TEST(Nvml, WithoutNvmlTheBusStaysAndTheNoteSaysWhatToDo) {
  FakeNvml fake;
  fake.add_gpus(2).fail("nvmlInit_v2", nvml::error_driver_not_loaded);
  const Machine m = with(bus_with(2, 2), fake);
  EXPECT_EQ(m.count(NodeKind::gpu), 2);
  EXPECT_FALSE(m.knows_nvlinks);
  EXPECT_THAT(m.notes, ElementsAre(HasSubstr("nvidia-smi topo -m")));
  EXPECT_THAT(m.notes, ElementsAre(HasSubstr("nvmlInit_v2: FAKE error")));
  Machine untouched = bus_with(2);
  add_nvml(untouched, nvml::Table{}, no_files());
  EXPECT_THAT(untouched.notes, ElementsAre(HasSubstr("NVML lacks nvmlInit_v2")));
}

TEST(Nvml, LinksThatNobodyToldAreUnknownNotAbsent) {
  FakeNvml fake;
  fake.add_gpus(2).link(0, 1, 4).fail("nvmlDeviceGetNvLinkState");
  EXPECT_FALSE(with(bus_with(2), fake).knows_nvlinks);
  EXPECT_EQ(islands_of(with(bus_with(2), fake)).unknown.size(), 2u);
}

// On the host of the test, whatever that is. Without NVIDIA devices the driver's library must stay out.
TEST(Nvml, ThisHostsDevices) {
  auto m = probe_host();
  ASSERT_TRUE(m);
  probe_devices(*m);
  EXPECT_TRUE(validate(*m));
  const bool is_loaded = ::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_NOLOAD) != nullptr;
  const bool may_be = m->count(NodeKind::gpu) > 0 || std::filesystem::exists("/proc/driver/nvidia/version") ||
                      std::filesystem::exists("/dev/nvidiactl");
  EXPECT_TRUE(may_be || !is_loaded);
}

}  // namespace
}  // namespace libcoll::topo
