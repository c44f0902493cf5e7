#include "fake_nvml.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace libcoll::topo {
namespace {

using namespace nvml;

FakeNvml* current = nullptr;

Return copy(const std::string& text, char* to, unsigned chars) {
  constexpr Return insufficient_size = 7;
  if (text.size() + 1 > chars) return insufficient_size;
  std::memcpy(to, text.c_str(), text.size() + 1);
  return success;
}

void set_address(PciInfo* pci, const std::string& bus_id) {
  const PciAddress at = parse_pci_address(bus_id).value();
  *pci = {};
  pci->domain = at.domain;
  pci->bus = at.bus;
  pci->device = at.device;
  // As NVML writes it: eight digits, upper case.
  std::snprintf(pci->bus_id, sizeof pci->bus_id, "%08X:%02X:%02X.%X", at.domain, at.bus, at.device, at.function);
}

}  // namespace

// Handles are the numbers of GPUs, plus one. Any call of a library that was not started is an error.
struct FakeCalls {
  static Return refusal(int gpu, const char* symbol) {
    constexpr Return uninitialized = 1;
    if (current == nullptr || current->running == 0) return uninitialized;
    for (const int where : {-1, gpu})
      if (const auto it = current->failures_.find({where, symbol}); it != current->failures_.end()) return it->second;
    return success;
  }
  static int number(Handle h) { return static_cast<int>(reinterpret_cast<std::uintptr_t>(h)) - 1; }
  static FakeNvml::Gpu& gpu(Handle h) { return current->gpus.at(static_cast<std::size_t>(number(h))); }
  static bool lacks(const char* symbol) {
    return std::find(current->lacking_.begin(), current->lacking_.end(), symbol) != current->lacking_.end();
  }
  static const FakeNvml::Link* link(Handle h, unsigned i) {
    return i < gpu(h).links.size() ? &gpu(h).links[i] : nullptr;
  }

  static Return init() {
    ++current->running;
    const Return rc = refusal(-1, "nvmlInit_v2");
    if (rc != success) --current->running;
    return rc;
  }
  static Return shutdown() {
    const Return rc = refusal(-1, "nvmlShutdown");
    if (current->running > 0) --current->running;
    return rc;
  }
  static const char* error_string(Return code) {
    // Works without nvmlInit_v2, unlike all others.
    if (current == nullptr || current->failures_.contains({-1, "nvmlErrorString"})) return nullptr;
    return code == success ? "FAKE success" : code == error_gpu_is_lost ? "FAKE GPU is lost" : "FAKE error";
  }
  static Return driver_version(char* text, unsigned chars) {
    const Return rc = refusal(-1, "nvmlSystemGetDriverVersion");
    return rc != success ? rc : copy("FAKE 550.1", text, chars);
  }
  static Return device_count(unsigned* count) {
    const Return rc = refusal(-1, "nvmlDeviceGetCount_v2");
    if (rc == success) *count = static_cast<unsigned>(current->gpus.size());
    return rc;
  }
  static Return handle_by_index(unsigned index, Handle* handle) {
    const Return rc = refusal(static_cast<int>(index), "nvmlDeviceGetHandleByIndex_v2");
    if (rc != success) return rc;
    if (index >= current->gpus.size()) return error_invalid_argument;
    *handle = reinterpret_cast<Handle>(std::uintptr_t{index} + 1);
    return success;
  }
  static Return pci_info(Handle h, PciInfo* pci) {
    const Return rc = refusal(number(h), "nvmlDeviceGetPciInfo_v3");
    if (rc == success) set_address(pci, gpu(h).bus_id);
    return rc;
  }
  static Return name(Handle h, char* text, unsigned chars) {
    const Return rc = refusal(number(h), "nvmlDeviceGetName");
    return rc != success ? rc : copy("FAKE GPU", text, chars);
  }
  static Return uuid(Handle h, char* text, unsigned chars) {
    const Return rc = refusal(number(h), "nvmlDeviceGetUUID");
    return rc != success ? rc : copy(fmt::format("GPU-FAKE-{:012x}", number(h)), text, chars);
  }
  static Return mig_mode(Handle h, unsigned* now, unsigned* pending) {
    const Return rc = refusal(number(h), "nvmlDeviceGetMigMode");
    if (rc == success) *now = *pending = gpu(h).is_mig ? 1 : 0;
    return rc;
  }

  static Return of_link(Handle h, unsigned i, const char* symbol) {
    const Return rc = refusal(number(h), symbol);
    return rc != success ? rc : link(h, i) == nullptr ? error_invalid_argument : success;
  }
  static Return nvlink_state(Handle h, unsigned i, unsigned* is_active) {
    const Return rc = of_link(h, i, "nvmlDeviceGetNvLinkState");
    if (rc == success) *is_active = link(h, i)->is_active && !link(h, i)->is_asleep ? feature_enabled : 0;
    return rc;
  }
  static Return nvlink_version(Handle h, unsigned i, unsigned* version) {
    const Return rc = of_link(h, i, "nvmlDeviceGetNvLinkVersion");
    if (rc == success) *version = link(h, i)->version;
    return rc;
  }
  static Return nvlink_remote_pci(Handle h, unsigned i, PciInfo* pci) {
    const Return rc = of_link(h, i, "nvmlDeviceGetNvLinkRemotePciInfo_v2");
    if (rc == success) set_address(pci, link(h, i)->peer);
    return rc;
  }
  static Return nvlink_remote_type(Handle h, unsigned i, RemoteType* type) {
    const Return rc = of_link(h, i, "nvmlDeviceGetNvLinkRemoteDeviceType");
    if (rc == success) *type = link(h, i)->to;
    return rc;
  }
  static Return nvlink_capability(Handle h, unsigned i, unsigned capability, unsigned* has) {
    const Return rc = of_link(h, i, "nvmlDeviceGetNvLinkCapability");
    if (rc == success) *has = capability == capability_p2p && link(h, i)->has_p2p ? 1 : 0;
    return rc;
  }

  // The call succeeds, each field has a status of its own: NVML's way.
  static Return field_values(Handle h, int count, FieldValue* values) {
    const Return rc = refusal(number(h), "nvmlDeviceGetFieldValues");
    for (int i = 0; rc == success && i < count; ++i) answer(h, values[i]);
    return rc;
  }
  static void answer(Handle h, FieldValue& v) {
    const FakeNvml::Gpu& g = gpu(h);
    const FakeNvml::Link* const l = link(h, v.scope);
    const bool is_c2c = v.scope < static_cast<unsigned>(g.c2c_links);
    v.type = ValueType::u32;
    v.status = success;
    if (v.field == field_c2c_count) {
      v.value.u32 = static_cast<std::uint32_t>(g.c2c_links);
    } else if (v.field == field_c2c_status && is_c2c) {
      v.value.u32 = c2c_active;
    } else if (v.field == field_c2c_speed && is_c2c) {
      v.value.u32 = g.c2c_mb_per_s;
    } else if (v.field == field_nvlink_state && l != nullptr) {
      v.value.u32 = !l->is_active ? 0 : l->is_asleep ? nvlink_asleep : nvlink_active;
    } else {
      v.status = error_not_supported;
    }
  }

  static Return fabric_info_v(Handle h, FabricInfoV* info) {
    const Return rc = refusal(number(h), "nvmlDeviceGetGpuFabricInfoV");
    if (rc != success) return rc;
    const unsigned version = info->version;
    if (version >> 24 > current->newest_fabric_version) return error_version_mismatch;
    if (version != fabric_version_2 && version != fabric_version_3) return error_version_mismatch;
    // Version 2 ends before the summary: what lies behind is not written.
    std::memcpy(info, &gpu(h).fabric, version & 0xffffff);
    info->version = version;
    return success;
  }
  static Return fabric_info(Handle h, FabricInfo* info) {
    const Return rc = refusal(number(h), "nvmlDeviceGetGpuFabricInfo");
    if (rc != success) return rc;
    const FabricInfoV& from = gpu(h).fabric;
    std::copy(std::begin(from.cluster_uuid), std::end(from.cluster_uuid), info->cluster_uuid);
    info->status = from.status;
    info->clique = from.clique;
    info->state = from.state;
    return success;
  }
};

FakeNvml::~FakeNvml() {
  if (current == this) current = nullptr;
}

Table FakeNvml::table() {
  current = this;
  Table t{FakeCalls::init,
          FakeCalls::shutdown,
          FakeCalls::error_string,
          FakeCalls::driver_version,
          FakeCalls::device_count,
          FakeCalls::handle_by_index,
          FakeCalls::pci_info,
          FakeCalls::name,
          FakeCalls::uuid,
          FakeCalls::mig_mode,
          FakeCalls::nvlink_state,
          FakeCalls::nvlink_version,
          FakeCalls::nvlink_remote_pci,
          FakeCalls::nvlink_remote_type,
          FakeCalls::nvlink_capability,
          FakeCalls::field_values,
          FakeCalls::fabric_info_v,
          FakeCalls::fabric_info};
  for_each_function(t, [](const char* symbol, auto& member, bool) {
    if (FakeCalls::lacks(symbol)) member = nullptr;
  });
  return t;
}

std::vector<std::string> FakeNvml::symbols() {
  std::vector<std::string> all;
  const Table none;
  for_each_function(none, [&](const char* symbol, const auto&, bool) { all.emplace_back(symbol); });
  return all;
}

std::string FakeNvml::bus_id(int gpu) { return fmt::format("0000:{:02x}:00.0", 0x10 + gpu); }

FakeNvml& FakeNvml::add_gpus(int count) {
  for (int i = 0; i < count; ++i) {
    Gpu g;
    g.bus_id = bus_id(static_cast<int>(gpus.size()));
    gpus.push_back(std::move(g));
  }
  return *this;
}

FakeNvml& FakeNvml::link_told_by(int a, int b, int links, unsigned version) {
  Link l;
  l.peer = bus_id(b);
  l.version = version;
  auto& all = gpus.at(static_cast<std::size_t>(a)).links;
  all.insert(all.end(), static_cast<std::size_t>(links), l);
  return *this;
}

FakeNvml& FakeNvml::link(int a, int b, int links, unsigned version) {
  return link_told_by(a, b, links, version).link_told_by(b, a, links, version);
}

FakeNvml& FakeNvml::add_switches(int count, int links, unsigned version) {
  for (Gpu& g : gpus)
    for (int s = 0; s < count; ++s) {
      const std::string peer = fmt::format("0000:{:02x}:00.0", 0x80 + s);
      g.links.insert(g.links.end(), static_cast<std::size_t>(links),
                     {.to = RemoteType::nvswitch, .peer = peer, .version = version});
    }
  return *this;
}

FakeNvml& FakeNvml::add_hidden_switch(int links, unsigned version) {
  for (Gpu& g : gpus)
    g.links.insert(g.links.end(), static_cast<std::size_t>(links),
                   {.to = RemoteType::nvswitch, .peer = hidden_switch, .version = version});
  return *this;
}

FakeNvml& FakeNvml::set_fabric(unsigned char cluster, unsigned clique, FabricState state, FabricHealth health,
                               unsigned health_mask) {
  for (Gpu& g : gpus) {
    std::fill(std::begin(g.fabric.cluster_uuid), std::end(g.fabric.cluster_uuid), cluster);
    g.fabric.clique = clique;
    g.fabric.state = state;
    g.fabric.health = health;
    g.fabric.health_mask = health_mask;
  }
  return *this;
}

FakeNvml& FakeNvml::fail(const std::string& symbol, Return code) { return fail_on(-1, symbol, code); }

FakeNvml& FakeNvml::fail_on(int gpu, const std::string& symbol, Return code) {
  failures_[{gpu, symbol}] = code;
  return *this;
}

FakeNvml& FakeNvml::lack(const std::string& symbol) {
  lacking_.push_back(symbol);
  return *this;
}

}  // namespace libcoll::topo
