#include "libcoll/tools/info_gpus.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "libcoll/error.hpp"

namespace libcoll::info {
namespace {

std::vector<std::string> addresses_of(const topo::Machine& m) {
  std::vector<std::pair<int, std::string>> gpus;
  for (std::size_t i = 0; i < m.nodes.size(); ++i)
    if (m.nodes[i].kind == topo::NodeKind::gpu && !m.nodes[i].bus_id.empty())
      gpus.emplace_back(m.label(static_cast<int>(i)), m.nodes[i].bus_id);
  std::sort(gpus.begin(), gpus.end());
  std::vector<std::string> all;
  for (auto& [label, bus] : gpus) all.push_back(std::move(bus));
  return all;
}

}  // namespace

// One rank of a host tells all its GPUs, one exchange for each: asking NVML on every rank would cost seconds.
JobGpus gather_gpus(Bootstrap& job, const topo::Machine& m, const topo::Fabric& fabric, const std::vector<std::string>& buses) {
  const auto rank = static_cast<std::size_t>(job.rank()), size = static_cast<std::size_t>(job.size());
  const bool tells = fabric.hosts[static_cast<std::size_t>(fabric.host_of[rank])].ranks.front() == job.rank();
  std::vector<std::string> own;
  if (tells) own = buses.empty() ? addresses_of(m) : buses;
  const int mine = static_cast<int>(own.size());
  std::vector<int> counts(size);
  job.allgather(&mine, counts.data(), sizeof mine);

  JobGpus gpus;
  gpus.records.resize(size);
  for (std::size_t r = 0; r < size; ++r) gpus.records[r] = topo::gpu_record({}, "", fabric.records[r].host_id);
  const int rounds = *std::max_element(counts.begin(), counts.end());
  std::vector<topo::GpuRecord> told(size);
  for (int k = 0; k < rounds; ++k) {
    const topo::GpuRecord record = topo::gpu_record(m, k < mine ? own[static_cast<std::size_t>(k)] : "", fabric.records[rank].host_id);
    job.allgather(&record, told.data(), sizeof record);
    for (const topo::Host& host : fabric.hosts) {
      const auto first = static_cast<std::size_t>(host.ranks.front());
      for (std::size_t i = static_cast<std::size_t>(k); k < counts[first] && i < host.ranks.size(); i += static_cast<std::size_t>(counts[first]))
        gpus.records[static_cast<std::size_t>(host.ranks[i])] = told[first];
    }
  }
  gpus.fabric = topo::build_gpu_fabric(gpus.records);
  return gpus;
}

JobGpus gpus_with_ranks(std::vector<topo::Machine> machines) {
  JobGpus gpus;
  for (std::size_t h = 0; h < machines.size(); ++h) {
    int number = 0;
    for (topo::Node& n : machines[h].nodes) {
      if (!topo::is_device(n.kind) || n.kind == topo::NodeKind::nvswitch || !n.bus_id.empty()) continue;
      n.bus_id = fmt::format("{:04x}:{:02x}:00.0", 0xfff0 + number / 256, number % 256);
      ++number;
    }
    for (const std::string& bus : addresses_of(machines[h])) gpus.records.push_back(topo::gpu_record(machines[h], bus, h + 1));
  }
  gpus.fabric = topo::build_gpu_fabric(gpus.records);
  return gpus;
}

std::vector<std::vector<int>> ranks_of_gpus(std::vector<topo::Machine>& machines, const topo::Fabric& fabric, const JobGpus& gpus) {
  std::vector<std::vector<int>> ranks;
  for (std::size_t h = 0; h < machines.size(); ++h)
    for (topo::Node& n : machines[h].nodes) {
      if (n.kind != topo::NodeKind::gpu) continue;
      std::vector<int>& users = ranks.emplace_back();
      for (const int rank : fabric.hosts[h].ranks) {
        const topo::GpuRecord& r = gpus.records[static_cast<std::size_t>(rank)];
        if (r.bus == 0 || r.bus != topo::pack_bus(n.bus_id)) continue;
        users.push_back(rank);
        n.fabric = {.cluster = std::string(r.cluster, std::find(r.cluster, std::end(r.cluster), '\0')), .clique = r.clique, .is_healthy = r.has(topo::GpuRecord::is_healthy)};
      }
    }
  return ranks;
}

}  // namespace libcoll::info
