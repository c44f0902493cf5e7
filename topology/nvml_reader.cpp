// Calls of NVML, GPU by GPU and link by link. Asking for what a GPU does not have is no error here; all
// other failures are collected, so that one note names a function and the GPUs on which it failed.
#include "topology/nvml_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "topology/cpuset.hpp"
#include "topology/text_tree.hpp"

namespace libcoll::topo {
namespace {

using namespace nvml;

std::string gpus_text(const std::vector<int>& indexes) {
  return (indexes.size() == 1 ? "GPU " : "GPUs ") + format_ranges(indexes);
}

bool is_absent(Return code) { return code == error_not_supported || code == error_invalid_argument; }

std::uint64_t number_of(const FieldValue& v) {
  switch (v.type) {
    case ValueType::u32: return v.value.u32;
    case ValueType::unsigned_long:
    case ValueType::u64: return v.value.u64;
    case ValueType::u16: return v.value.u16;
    case ValueType::i32: return v.value.i32 > 0 ? static_cast<std::uint64_t>(v.value.i32) : 0;
    case ValueType::i64: return v.value.i64 > 0 ? static_cast<std::uint64_t>(v.value.i64) : 0;
    case ValueType::f64: break;  // no field that is asked for here has that type
  }
  return 0;
}

// Text of fixed length, zero or not at its end.
template <std::size_t n>
std::string_view text_of(const char (&buffer)[n]) {
  return {buffer, static_cast<std::size_t>(std::find(buffer, buffer + n, '\0') - buffer)};
}

PciAddress address_of(const PciInfo& pci) {
  if (const auto parsed = parse_pci_address(text_of(pci.bus_id))) return *parsed;
  return {pci.domain, pci.bus, pci.device, 0};
}

// The form in which nvidia-smi shows it; empty for the zeros of a GPU that is in no cluster.
std::string cluster_text(const unsigned char (&uuid)[16]) {
  if (std::all_of(std::begin(uuid), std::end(uuid), [](unsigned char c) { return c == 0; })) return "";
  std::string s;
  for (std::size_t i = 0; i < std::size(uuid); ++i)
    s += fmt::format("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
  return s;
}

class Reader {
 public:
  explicit Reader(const Table& table) : nvml_(table) {}

  detail::Result<NvmlReport> run() {
    if (const Return rc = nvml_.init(); rc != success) return refused("nvmlInit_v2", rc);
    auto report = read();
    if (const Return rc = nvml_.shutdown(); rc != success && report)
      report->notes.push_back(fmt::format("NVML: nvmlShutdown: {}", error_text(rc)));
    return report;
  }

 private:
  detail::Result<NvmlReport> read() {
    unsigned count = 0;
    if (const Return rc = nvml_.device_count(&count); rc != success)
      return refused("nvmlDeviceGetCount_v2", rc);
    if (count > max_devices) {
      note(fmt::format("NVML: {} GPUs, of which the first {} are looked at", count, max_devices));
      count = static_cast<unsigned>(max_devices);
    }
    note_missing();
    for (unsigned i = 0; i < count; ++i) read_gpu(i);
    note_failures();
    if (!report_.gpus.empty()) return std::move(report_);
    std::string why = count == 0 ? "NVML shows no GPUs" : "NVML locates none of its GPUs";
    for (const std::string& text : report_.notes) why += "; " + text;
    return detail::failure(Errc::unsupported, std::move(why));
  }

  std::string error_text(Return code) const {
    const char* const text = nvml_.error_string != nullptr ? nvml_.error_string(code) : nullptr;
    return text != nullptr ? printable(text) : fmt::format("NVML error {}", code);
  }
  tl::unexpected<detail::Failure> refused(const char* function, Return code) const {
    return detail::failure(Errc::unsupported, fmt::format("{}: {}", function, error_text(code)));
  }
  void note(std::string text) { report_.notes.push_back(std::move(text)); }

  void note_missing() {
    std::string missing;
    for_each_function(nvml_, [&](const char* symbol, const auto& member, bool) {
      // Either of the two fabric functions will do.
      if (member == nullptr && !(symbol == std::string_view("nvmlDeviceGetGpuFabricInfo") && nvml_.fabric_info_v))
        missing += (missing.empty() ? "" : ", ") + std::string(symbol);
    });
    if (missing.empty()) return;
    char version[driver_chars] = {};
    const bool is_known = nvml_.driver_version != nullptr && nvml_.driver_version(version, driver_chars) == success;
    note(fmt::format("NVML of driver {} lacks {}: what they would tell is unknown",
                     is_known ? printable(text_of(version)) : "unknown", missing));
  }

  bool is_ok(Return code, const char* function) {
    if (code != success) failures_[fmt::format("{}: {}", function, error_text(code))].insert(gpu_);
    return code == success;
  }
  // The same for what some GPUs do not have.
  bool is_there(Return code, const char* function) { return !is_absent(code) && is_ok(code, function); }

  void note_failures() {
    for (const auto& [what, gpus] : failures_)
      note(fmt::format("NVML, {}: {}", gpus_text({gpus.begin(), gpus.end()}), what));
    for (const auto& [what, gpus] : states_)
      note(fmt::format("{}: {}", gpus_text({gpus.begin(), gpus.end()}), what));
  }
  void state(const std::string& what) { states_[what].insert(gpu_); }

  void read_gpu(unsigned index) {
    gpu_ = static_cast<int>(index);
    Handle handle = nullptr;
    PciInfo pci{};
    if (!is_ok(nvml_.handle_by_index(index, &handle), "nvmlDeviceGetHandleByIndex_v2")) return;
    if (!is_ok(nvml_.pci_info(handle, &pci), "nvmlDeviceGetPciInfo_v3")) return;
    NvmlGpu g;
    g.index = gpu_;
    g.at = address_of(pci);
    if (std::any_of(report_.gpus.begin(), report_.gpus.end(), [&](const NvmlGpu& o) { return o.at == g.at; }))
      return state("at the PCI address of another one: ignored");
    char text[std::max(name_chars, uuid_chars)] = {};
    if (nvml_.name && is_ok(nvml_.name(handle, text, name_chars), "nvmlDeviceGetName"))
      g.name = printable(text_of(text));
    std::fill(std::begin(text), std::end(text), '\0');
    if (nvml_.uuid && is_ok(nvml_.uuid(handle, text, uuid_chars), "nvmlDeviceGetUUID"))
      g.uuid = printable(text_of(text));
    unsigned current = 0, pending = 0;
    g.is_mig = nvml_.mig_mode && is_there(nvml_.mig_mode(handle, &current, &pending), "nvmlDeviceGetMigMode") &&
               current == device_mig_enabled;
    if (g.is_mig) state("parted by MIG, which does without NVLink: in no island");
    read_fabric(handle, g);
    read_links(handle, g);
    read_c2c(handle, g);
    report_.gpus.push_back(std::move(g));
  }

  // Version 3 of the structure, else version 2, else the function that has no versions.
  Return ask_fabric(Handle handle, FabricInfoV& info) {
    Return rc = error_not_supported;
    if (nvml_.fabric_info_v != nullptr) {
      for (const unsigned version : {fabric_version_3, fabric_version_2}) {
        info = {};
        info.version = version;
        rc = nvml_.fabric_info_v(handle, &info);
        if (rc != error_version_mismatch && rc != error_invalid_argument) return rc;
      }
    }
    if (nvml_.fabric_info == nullptr) return rc;
    FabricInfo old{};
    rc = nvml_.fabric_info(handle, &old);
    info = {};
    std::copy(std::begin(old.cluster_uuid), std::end(old.cluster_uuid), info.cluster_uuid);
    info.status = old.status;
    info.clique = old.clique;
    info.state = old.state;
    return rc;
  }

  void read_fabric(Handle handle, NvmlGpu& g) {
    if (nvml_.fabric_info_v == nullptr && nvml_.fabric_info == nullptr) return;
    FabricInfoV info{};
    const Return rc = ask_fabric(handle, info);
    if (rc == error_not_supported) info.state = FabricState::not_supported;
    else if (!is_ok(rc, "nvmlDeviceGetGpuFabricInfoV")) return;
    switch (info.state) {
      case FabricState::not_supported: return;  // most machines: nothing to report
      case FabricState::not_started: state("multi-node NVLink: the fabric manager has not begun"); break;
      case FabricState::in_progress: state("multi-node NVLink: being set up by the fabric manager"); break;
      case FabricState::completed: break;
      default: return state(fmt::format("multi-node NVLink: unknown state {}", static_cast<int>(info.state)));
    }
    const std::string why = info.state == FabricState::completed ? fabric_illness(info) : "not set up";
    if (info.state == FabricState::completed && !why.empty()) state("multi-node NVLink: " + why);
    g.fabric = {.cluster = cluster_text(info.cluster_uuid), .clique = info.clique, .is_healthy = why.empty()};
    if (g.fabric.cluster.empty()) g.fabric = {};
  }

  // Limited capacity counts as ill: such a GPU would slow down all others of the fabric.
  std::string fabric_illness(const FabricInfoV& info) const {
    if (info.status != success) return error_text(info.status);
    const std::string complaints = complaints_of(info.health_mask);
    const std::string details = complaints.empty() ? "" : " (" + complaints + ")";
    switch (info.health) {
      case FabricHealth::healthy: return "";
      case FabricHealth::not_supported: return complaints;  // drivers that give the mask only
      case FabricHealth::unhealthy: return "not healthy" + details;
      case FabricHealth::limited_capacity: return "limited capacity" + details;
    }
    return fmt::format("unknown health {}{}", static_cast<int>(info.health), details);
  }

  void read_links(Handle handle, NvmlGpu& g) {
    if (nvml_.nvlink_state == nullptr) return;
    int without_p2p = 0;
    for (unsigned link = 0; link < max_nvlinks; ++link) {
      unsigned is_active = 0;
      const Return rc = nvml_.nvlink_state(handle, link, &is_active);
      if (!is_absent(rc) && !is_ok(rc, "nvmlDeviceGetNvLinkState")) continue;
      g.knows_links = true;
      if (rc != success || (is_active != feature_enabled && !is_asleep(handle, link))) continue;
      unsigned has_p2p = 1;
      if (nvml_.nvlink_capability && is_ok(nvml_.nvlink_capability(handle, link, capability_p2p, &has_p2p),
                                           "nvmlDeviceGetNvLinkCapability") && has_p2p == 0) {
        ++without_p2p;
        continue;
      }
      g.links.push_back(read_link(handle, link));
    }
    if (without_p2p > 0)
      state(fmt::format("{} without access to memory, such as a virtual machine leaves: not counted",
                        plural(without_p2p, "NVLink", "NVLinks")));
  }

  NvmlLink read_link(Handle handle, unsigned link) {
    NvmlLink l;
    l.mb_per_s = mb_of(handle, link);
    // Older drivers know the type of GPUs only; the address says as much.
    if (nvml_.nvlink_remote_type && !is_there(nvml_.nvlink_remote_type(handle, link, &l.to),
                                              "nvmlDeviceGetNvLinkRemoteDeviceType"))
      l.to = RemoteType::unknown;
    PciInfo peer{};
    if (nvml_.nvlink_remote_pci &&
        is_ok(nvml_.nvlink_remote_pci(handle, link, &peer), "nvmlDeviceGetNvLinkRemotePciInfo_v2"))
      l.peer = address_of(peer);
    return l;
  }

  // By version, so that all sources give one rate for one GPU; NVML's own figure counts the line's coding.
  std::uint64_t mb_of(Handle handle, unsigned link) {
    unsigned version = 0;
    if (nvml_.nvlink_version && is_ok(nvml_.nvlink_version(handle, link, &version), "nvmlDeviceGetNvLinkVersion"))
      if (const std::uint64_t mb = mb_per_link(static_cast<LinkVersion>(version)); mb != 0) return mb;
    return field(handle, field_nvlink_speed, link).value_or(0);
  }

  // Idle links of Hopper and later sleep, and wake up with the next access.
  bool is_asleep(Handle handle, unsigned link) {
    const auto s = field(handle, field_nvlink_state, link);
    return s && (*s == nvlink_active || *s == nvlink_asleep);
  }

  void read_c2c(Handle handle, NvmlGpu& g) {
    const std::uint64_t count = field(handle, field_c2c_count, 0).value_or(0);
    for (unsigned link = 0; link < std::min<std::uint64_t>(count, max_nvlinks); ++link) {
      if (field(handle, field_c2c_status, link).value_or(0) != c2c_active) continue;
      ++g.c2c_links;
      g.c2c_mb_per_s += std::min(field(handle, field_c2c_speed, link).value_or(0), max_mb_per_s / max_nvlinks);
    }
  }

  std::optional<std::uint64_t> field(Handle handle, unsigned id, unsigned scope) {
    if (nvml_.field_values == nullptr) return std::nullopt;
    FieldValue v{};
    v.field = id;
    v.scope = scope;
    constexpr const char* function = "nvmlDeviceGetFieldValues";
    if (!is_there(nvml_.field_values(handle, 1, &v), function) || !is_there(v.status, function)) return std::nullopt;
    return number_of(v);
  }

  const Table& nvml_;
  NvmlReport report_;
  int gpu_ = 0;  // the one being read
  std::map<std::string, std::set<int>> failures_, states_;
};

}  // namespace

detail::Result<NvmlReport> read_nvml(const Table& table) {
  std::string missing;
  for_each_function(table, [&](const char* symbol, const auto& member, bool is_required) {
    if (member == nullptr && is_required) missing += (missing.empty() ? "" : ", ") + std::string(symbol);
  });
  if (!missing.empty()) return detail::failure(Errc::unsupported, "NVML lacks " + missing);
  return Reader(table).run();
}

}  // namespace libcoll::topo
