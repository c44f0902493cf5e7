#include "tests/device/gpu_records.hpp"

#include <hwloc.h>

#include <filesystem>
#include <memory>
#include <stdexcept>

#include "libcoll/core/result.hpp"
#include "topology/files.hpp"
#include "topology/machine.hpp"
#include "topology/probe_hwloc.hpp"
#include "topology/probe_nvml.hpp"
#include "topology/process.hpp"

namespace libcoll::test {

namespace {

struct Destroy {
  void operator()(hwloc_topology_t t) const noexcept { hwloc_topology_destroy(t); }
};

void write_hwloc(const std::string& file) {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) throw std::runtime_error("hwloc_topology_init failed");
  const std::unique_ptr<hwloc_topology, Destroy> topology(raw);
  hwloc_topology_set_io_types_filter(raw, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
  if (hwloc_topology_load(raw) != 0) throw std::runtime_error("hwloc_topology_load failed");
  if (hwloc_topology_export_xml(raw, file.c_str(), 0) != 0) throw std::runtime_error("hwloc cannot write " + file);
}

std::string name_in(const std::string& directory, const char* what) { return (std::filesystem::path(directory) / (topo::host_name() + what)).string(); }

}  // namespace

std::vector<std::string> record_machine(const std::string& directory) {
  std::filesystem::create_directories(directory);
  const std::string hwloc = name_in(directory, ".hwloc.xml"), json = name_in(directory, ".machine.json");
  write_hwloc(hwloc);
  topo::Machine machine = detail::value_or_throw(topo::probe_host());
  topo::probe_devices(machine);
  detail::value_or_throw(topo::write_file(json, topo::to_json(machine)));
  return {hwloc, json};
}

std::string nccl_dump_name(const std::string& directory) { return name_in(directory, ".nccl.xml"); }

}  // namespace libcoll::test
