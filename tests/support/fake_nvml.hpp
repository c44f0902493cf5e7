// A test double of NVML: the same table of functions, filled by a machine that a test describes. Whatever it
// is called, its strings say FAKE. It knows nothing of timing, of permissions or of drivers that hang.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "topology/devices.hpp"
#include "topology/nvml_table.hpp"

namespace libcoll::topo {

class FakeNvml {
 public:
  struct Link {
    nvml::RemoteType to = nvml::RemoteType::gpu;
    std::string peer;      // bus id
    unsigned version = 6;  // an nvml::LinkVersion
    bool is_active = true, is_asleep = false, has_p2p = true;
  };
  struct Gpu {
    std::string bus_id;
    std::vector<Link> links;
    nvml::FabricInfoV fabric{};  // state not_supported
    bool is_mig = false;
    int c2c_links = 0;
    unsigned c2c_mb_per_s = 0;  // of each
  };
  static constexpr const char* hidden_switch = "FFFFFFFF:FF:FF.0";

  // The latest one whose table was asked for is the one that answers; the table must not outlive it.
  FakeNvml() = default;
  FakeNvml(const FakeNvml&) = delete;
  FakeNvml& operator=(const FakeNvml&) = delete;
  ~FakeNvml();
  nvml::Table table();

  // GPU g at 0000:(10 + g):00.0, hexadecimal.
  FakeNvml& add_gpus(int count);
  static std::string bus_id(int gpu);
  // As both ends, or only the first, tell it.
  FakeNvml& link(int a, int b, int links, unsigned version = 6);
  FakeNvml& link_told_by(int a, int b, int links, unsigned version = 6);
  // Each GPU to each of the switches, which are at 0000:(80 + s):00.0, by `links`.
  FakeNvml& add_switches(int count, int links, unsigned version = 6);
  FakeNvml& add_hidden_switch(int links, unsigned version = 6);
  // For all GPUs: sixteen bytes of `cluster`.
  FakeNvml& set_fabric(unsigned char cluster, unsigned clique, nvml::FabricState state = nvml::FabricState::completed,
                       nvml::FabricHealth health = nvml::FabricHealth::healthy, unsigned health_mask = 0);

  // `symbol` returns `code`; without effect.
  FakeNvml& fail(const std::string& symbol, nvml::Return code = nvml::error_unknown);
  FakeNvml& fail_on(int gpu, const std::string& symbol, nvml::Return code = nvml::error_unknown);
  // As libraries before it was introduced.
  FakeNvml& lack(const std::string& symbol);
  static std::vector<std::string> symbols();

  std::vector<Gpu> gpus;
  // The newest version of the fabric structure that this library knows.
  unsigned newest_fabric_version = 3;
  int running = 0;  // nvmlInit_v2 less nvmlShutdown

 private:
  friend struct FakeCalls;
  std::map<std::pair<int, std::string>, nvml::Return> failures_;  // GPU -1: on all
  std::vector<std::string> lacking_;
};

}  // namespace libcoll::topo
