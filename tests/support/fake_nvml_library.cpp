// A library for load_nvml to open: an NVML that has the functions nothing works without, and no others. Of a
// name of its own, so that no program takes it for the driver's.
#include "topology/nvml_table.hpp"

using namespace libcoll::topo::nvml;

#define LIBCOLL_EXPORT extern "C" __attribute__((visibility("default")))

LIBCOLL_EXPORT Return nvmlInit_v2() { return success; }
LIBCOLL_EXPORT Return nvmlShutdown() { return success; }
LIBCOLL_EXPORT Return nvmlDeviceGetCount_v2(unsigned* count) {
  *count = 1;
  return success;
}
LIBCOLL_EXPORT Return nvmlDeviceGetHandleByIndex_v2(unsigned index, Handle* handle) {
  static char gpu;
  *handle = reinterpret_cast<Handle>(&gpu);
  return index == 0 ? success : error_invalid_argument;
}
LIBCOLL_EXPORT Return nvmlDeviceGetPciInfo_v3(Handle, PciInfo* pci) {
  *pci = {};
  pci->bus = 0x10;  // the text stays empty: the numbers must do
  return success;
}
