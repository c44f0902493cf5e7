#include "topology/import.hpp"

#include <fmt/format.h>

#include "topology/files.hpp"
#include "topology/json_reader.hpp"
#include "topology/probe_hwloc.hpp"

namespace libcoll::topo {
namespace {

constexpr std::size_t max_file_bytes = 64u << 20;
constexpr std::size_t max_machines = 4096;
constexpr int max_gpus = 4096;  // islands compare them pairwise

detail::Result<std::vector<Machine>> one(detail::Result<Machine> m) {
  if (!m) return tl::make_unexpected(m.error());
  std::vector<Machine> all;
  all.push_back(std::move(*m));
  return all;
}

detail::Result<std::vector<Machine>> machines_from_json(std::string_view text) {
  try {
    const nlohmann::json j = parse_json(text);
    if (!j.is_array()) return one(machine_from_json(text));
    if (j.empty() || j.size() > max_machines)
      throw Malformed{fmt::format("expected 1 to {} machines", max_machines)};
    std::vector<Machine> all;
    for (const nlohmann::json& each : j) {
      auto m = machine_from_json(each.dump());
      if (!m) return tl::make_unexpected(m.error());
      all.push_back(std::move(*m));
    }
    return all;
  } catch (const Malformed& e) {
    return detail::failure(Errc::invalid_argument, "machine JSON: " + e.what);
  }
}

detail::Result<std::vector<Machine>> read_any(std::string_view text) {
  const std::size_t start = text.find_first_not_of(" \t\r\n");
  const char first = start == std::string_view::npos ? '\0' : text[start];
  if (first == '{' || first == '[') return machines_from_json(text);
  if (first == '<')
    return text.find("<system") != std::string_view::npos ? import_nccl_xml(text)
                                                          : one(import_hwloc_xml(text));
  if (text.find("GPU") != std::string_view::npos) return one(import_smi_topology(text));
  return detail::failure(Errc::invalid_argument,
                         "none of: hwloc XML, NCCL topology XML, nvidia-smi topo -m, JSON of coll-info");
}

}  // namespace

detail::Result<std::vector<Machine>> import_topology(std::string_view text) {
  auto machines = read_any(text);
  int gpus = 0;
  if (machines)
    for (const Machine& m : *machines) gpus += m.count(NodeKind::gpu);
  if (gpus > max_gpus)
    return detail::failure(Errc::invalid_argument, fmt::format("{} GPUs, more than {}", gpus, max_gpus));
  return machines;
}

detail::Result<std::vector<Machine>> import_topology_file(const std::string& path) {
  const auto text = read_file(path, max_file_bytes);
  if (!text) return tl::make_unexpected(text.error());
  auto machines = import_topology(*text);
  if (!machines) return detail::failure(machines.error().code, path + ": " + machines.error().text);
  return machines;
}

std::string to_json(const std::vector<Machine>& machines) {
  if (machines.size() == 1) return to_json(machines.front());
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const Machine& m : machines) all.push_back(nlohmann::ordered_json::parse(to_json(m)));
  return all.dump(1) + "\n";
}

}  // namespace libcoll::topo
