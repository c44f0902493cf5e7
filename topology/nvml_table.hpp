// NVML, NVIDIA's management library, as a table of functions found at run time: nothing here is linked, and
// tests fill the table themselves. Types and numbers are those of NVML's C ABI, declared anew.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "libcoll/core/result.hpp"

namespace libcoll::topo::nvml {

using Return = int;
inline constexpr Return success = 0, error_invalid_argument = 2, error_not_supported = 3,
                        error_driver_not_loaded = 9, error_gpu_is_lost = 15, error_version_mismatch = 25,
                        error_unknown = 999;

struct Opaque;
using Handle = Opaque*;  // of a GPU, valid until shutdown

struct PciInfo {
  char bus_id_legacy[16];  // four digits of the domain only
  unsigned domain, bus, device;
  unsigned device_and_vendor, subsystem;
  char bus_id[32];  // "00000000:1B:00.0"
};
static_assert(sizeof(PciInfo) == 68 && offsetof(PciInfo, bus_id) == 36);

inline constexpr unsigned name_chars = 96, uuid_chars = 96, driver_chars = 80;  // the zero included
inline constexpr unsigned max_nvlinks = 36;                                     // of one GPU

// What nvmlDeviceGetNvLinkVersion gives: not the version's number from 2.2 on, so that an A100, with
// NVLink 3.1, says 5.
enum class LinkVersion : unsigned { v1_0 = 1, v2_0, v2_2, v3_0, v3_1, v4_0, v5_0 };
// MB/s of one link one way, 0 for versions not known here.
std::uint64_t mb_per_link(LinkVersion) noexcept;

inline constexpr unsigned feature_enabled = 1, device_mig_enabled = 1, capability_p2p = 0;
enum class RemoteType : int { gpu = 0, ibm_npu = 1, nvswitch = 2, unknown = 0xff };

enum class FabricState : unsigned char { not_supported = 0, not_started = 1, in_progress = 2, completed = 3 };
enum class FabricHealth : unsigned char { not_supported = 0, healthy = 1, unhealthy = 2, limited_capacity = 3 };

// Without version word: of nvmlDeviceGetGpuFabricInfo, the function of older drivers.
struct FabricInfo {
  unsigned char cluster_uuid[16];
  Return status;  // tells something in state completed only
  unsigned clique;
  FabricState state;
};
static_assert(sizeof(FabricInfo) == 28 && offsetof(FabricInfo, state) == 24);

// A versioned struct begins with its own size and, in the top byte, the version that the caller expects.
constexpr unsigned version_word(std::size_t bytes, unsigned version) noexcept {
  return static_cast<unsigned>(bytes) | version << 24;
}

// Version 3; version 2 ends after the health mask and is otherwise the same.
struct FabricInfoV {
  unsigned version;
  unsigned char cluster_uuid[16];
  Return status;
  unsigned clique;
  FabricState state;
  unsigned health_mask;
  FabricHealth health;
};
static_assert(sizeof(FabricInfoV) == 40 && offsetof(FabricInfoV, state) == 28 &&
              offsetof(FabricInfoV, health_mask) == 32 && offsetof(FabricInfoV, health) == 36);
inline constexpr unsigned fabric_version_2 = version_word(offsetof(FabricInfoV, health), 2);
inline constexpr unsigned fabric_version_3 = version_word(sizeof(FabricInfoV), 3);
// What a health mask complains of, "" if of nothing: "degraded bandwidth, route unhealthy".
std::string complaints_of(unsigned health_mask);

enum class ValueType : int { f64 = 0, u32 = 1, unsigned_long = 2, u64 = 3, i64 = 4, i32 = 5, u16 = 6 };
struct FieldValue {
  unsigned field, scope;  // scope: of the fields below, the number of the link
  long long timestamp_us, latency_us;
  ValueType type;
  Return status;  // of this field; the call itself may have succeeded all the same
  union {
    double f64;
    std::uint32_t u32;
    std::uint64_t u64;
    std::int64_t i64;
    std::int32_t i32;
    std::uint16_t u16;
  } value;
};
static_assert(sizeof(FieldValue) == 40 && offsetof(FieldValue, value) == 32);
inline constexpr unsigned field_nvlink_speed = 164, field_nvlink_state = 165,  // MB/s
    field_c2c_count = 170, field_c2c_status = 171, field_c2c_speed = 172;      // MB/s
inline constexpr unsigned nvlink_active = 1, nvlink_asleep = 2, c2c_active = 1;

// Null where the library lacks the function. Thread-safe as NVML is.
struct Table {
  Return (*init)() = nullptr;  // counted: each needs its shutdown
  Return (*shutdown)() = nullptr;
  const char* (*error_string)(Return) = nullptr;
  Return (*driver_version)(char* text, unsigned chars) = nullptr;
  Return (*device_count)(unsigned* count) = nullptr;
  Return (*handle_by_index)(unsigned index, Handle*) = nullptr;
  Return (*pci_info)(Handle, PciInfo*) = nullptr;
  Return (*name)(Handle, char* text, unsigned chars) = nullptr;
  Return (*uuid)(Handle, char* text, unsigned chars) = nullptr;
  Return (*mig_mode)(Handle, unsigned* current, unsigned* pending) = nullptr;
  Return (*nvlink_state)(Handle, unsigned link, unsigned* is_active) = nullptr;
  Return (*nvlink_version)(Handle, unsigned link, unsigned* version) = nullptr;
  Return (*nvlink_remote_pci)(Handle, unsigned link, PciInfo*) = nullptr;
  Return (*nvlink_remote_type)(Handle, unsigned link, RemoteType*) = nullptr;
  Return (*nvlink_capability)(Handle, unsigned link, unsigned capability, unsigned* has) = nullptr;
  Return (*field_values)(Handle, int count, FieldValue*) = nullptr;
  Return (*fabric_info_v)(Handle, FabricInfoV*) = nullptr;
  Return (*fabric_info)(Handle, FabricInfo*) = nullptr;
};

// visit(symbol, member of `table`, whether nothing works without it), for each function.
template <class AnyTable, class Visit>
void for_each_function(AnyTable& table, Visit visit) {
  visit("nvmlInit_v2", table.init, true);
  visit("nvmlShutdown", table.shutdown, true);
  visit("nvmlErrorString", table.error_string, false);
  visit("nvmlSystemGetDriverVersion", table.driver_version, false);
  visit("nvmlDeviceGetCount_v2", table.device_count, true);
  visit("nvmlDeviceGetHandleByIndex_v2", table.handle_by_index, true);
  visit("nvmlDeviceGetPciInfo_v3", table.pci_info, true);
  visit("nvmlDeviceGetName", table.name, false);
  visit("nvmlDeviceGetUUID", table.uuid, false);
  visit("nvmlDeviceGetMigMode", table.mig_mode, false);
  visit("nvmlDeviceGetNvLinkState", table.nvlink_state, false);
  visit("nvmlDeviceGetNvLinkVersion", table.nvlink_version, false);
  visit("nvmlDeviceGetNvLinkRemotePciInfo_v2", table.nvlink_remote_pci, false);
  visit("nvmlDeviceGetNvLinkRemoteDeviceType", table.nvlink_remote_type, false);
  visit("nvmlDeviceGetNvLinkCapability", table.nvlink_capability, false);
  visit("nvmlDeviceGetFieldValues", table.field_values, false);
  visit("nvmlDeviceGetGpuFabricInfoV", table.fabric_info_v, false);
  visit("nvmlDeviceGetGpuFabricInfo", table.fabric_info, false);
}

// From the driver's library, which stays loaded. Functions that older drivers lack are null; a failure says
// that there is no such library, or which function is missing that nothing works without.
detail::Result<Table> load_nvml(const char* library = "libnvidia-ml.so.1");

}  // namespace libcoll::topo::nvml
