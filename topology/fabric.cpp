#include "topology/fabric.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "topology/hash.hpp"
#include "topology/json_reader.hpp"
#include "topology/process.hpp"

namespace libcoll::topo {
namespace {

struct Range {
  int first, last;
};

std::vector<Range> ranges_of(const CpuSet& set) {
  std::vector<Range> ranges;
  for (const int cpu : set.to_vector()) {
    if (!ranges.empty() && ranges.back().last + 1 == cpu)
      ranges.back().last = cpu;
    else
      ranges.push_back({cpu, cpu});
  }
  return ranges;
}

void close_narrowest_gap(std::vector<Range>& ranges) {
  std::size_t best = 1;
  for (std::size_t i = 2; i < ranges.size(); ++i)
    if (ranges[i].first - ranges[i - 1].last < ranges[best].first - ranges[best - 1].last) best = i;
  ranges[best - 1].last = ranges[best].last;
  ranges.erase(ranges.begin() + static_cast<std::ptrdiff_t>(best));
}

Place place_in(const Machine& m, NodeKind kind, const CpuSet& affinity) {
  const int node = m.enclosing(kind, affinity);
  if (node < 0) return {};
  return {m.nodes[static_cast<std::size_t>(node)].key, m.label(node)};
}

// Ranks that share a limited cgroup get its limit together; the groups add up, within the union.
int usable_cpus(const Host& host, const std::vector<RankRecord>& records) {
  struct Share {
    CpuSet cpus;
    int limit = 0;
  };
  std::map<std::uint64_t, Share> limited;
  CpuSet unlimited;
  for (const int rank : host.ranks) {
    const RankRecord& r = records[static_cast<std::size_t>(rank)];
    const CpuSet mine = unpack(r.affinity);
    if (r.quota_cpus <= 0) {
      unlimited |= mine;
      continue;
    }
    Share& share = limited[r.quota_cgroup];
    share.cpus |= mine;
    share.limit = share.limit == 0 ? r.quota_cpus : std::min(share.limit, r.quota_cpus);
  }
  std::int64_t total = unlimited.count();
  for (auto& [cgroup, share] : limited) total += std::min(share.limit, share.cpus.count());
  return static_cast<int>(std::clamp<std::int64_t>(total, 1, std::max(1, host.cpus.count())));
}

}  // namespace

PackedCpus pack(const CpuSet& set) {
  PackedCpus p{};
  std::vector<Range> ranges = ranges_of(set);
  p.exact = ranges.size() <= PackedCpus::max_ranges;
  while (ranges.size() > PackedCpus::max_ranges) close_narrowest_gap(ranges);
  p.ranges = static_cast<std::uint32_t>(ranges.size());
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    p.first[i] = static_cast<std::uint16_t>(ranges[i].first);
    p.last[i] = static_cast<std::uint16_t>(ranges[i].last);
  }
  return p;
}

CpuSet unpack(const PackedCpus& p) {
  CpuSet set;
  for (std::uint32_t i = 0; i < std::min<std::uint32_t>(p.ranges, PackedCpus::max_ranges); ++i)
    set |= CpuSet::range(p.first[i], p.last[i]);
  return set;
}

std::string_view RankRecord::host() const noexcept {
  return {host_name, ::strnlen(host_name, sizeof host_name)};
}

void place(RankRecord& r, const Machine& m, const CpuSet& affinity) {
  r.affinity = pack(affinity);
  r.core = place_in(m, NodeKind::core, affinity);
  r.l3 = place_in(m, NodeKind::l3, affinity);
  r.numa = place_in(m, NodeKind::numa, affinity);
  r.package = place_in(m, NodeKind::package, affinity);
  r.pu = affinity.count() == 1 ? affinity.first() : -1;
  r.usable_cpus = std::max(1, affinity.count());
  if (r.quota_cpus > 0) r.usable_cpus = std::min(r.usable_cpus, r.quota_cpus);
  r.machine_fingerprint = m.fingerprint();
}

RankRecord local_record(const Machine& m) {
  RankRecord r{};
  r.version = RankRecord::current_version;
  r.host_id = host_id();
  r.pid_namespace = namespace_inode("pid");
  r.pid = static_cast<std::int32_t>(::getpid());
  r.uid = static_cast<std::uint32_t>(::getuid());
  const CpuQuota quota = cpu_quota(system_files(), namespace_inode("cgroup"));
  r.quota_cpus = quota.cpus;
  r.quota_cgroup = quota.cgroup;
  const std::string name = host_name();
  std::memcpy(r.host_name, name.data(), std::min(name.size(), sizeof r.host_name - 1));
  const CpuSet affinity = affinity_of_process();
  place(r, m, affinity.empty() ? m.cpus() : affinity);
  return r;
}

Fabric build_fabric(std::vector<RankRecord> records) {
  Fabric f;
  f.records = std::move(records);
  std::map<std::uint64_t, int> index;
  for (int rank = 0; rank < f.size(); ++rank) {
    const RankRecord& r = f.records[static_cast<std::size_t>(rank)];
    const auto [it, is_new] = index.try_emplace(r.host_id, static_cast<int>(f.hosts.size()));
    if (is_new) f.hosts.push_back({.id = r.host_id, .name = std::string(r.host()), .ranks = {}, .cpus = {}});
    Host& host = f.hosts[static_cast<std::size_t>(it->second)];
    host.ranks.push_back(rank);
    host.cpus |= unpack(r.affinity);
    f.host_of.push_back(it->second);
  }
  for (Host& host : f.hosts) {
    host.usable_cpus = usable_cpus(host, f.records);
    host.oversubscribed = static_cast<int>(host.ranks.size()) > host.usable_cpus;
  }
  return f;
}

std::uint64_t Fabric::hash() const {
  Hash h;
  h.add(records.size());
  for (const RankRecord& r : records) h.add_bytes(&r, sizeof r);
  return h.value();
}

std::string to_json(const Fabric& f) {
  using nlohmann::json;
  json hosts = json::array(), ranks = json::array();
  for (const Host& h : f.hosts)
    hosts.push_back({{"name", h.name},
                     {"id", fmt::format("{:016x}", h.id)},
                     {"ranks", h.ranks},
                     {"cpus", h.cpus.to_list()},
                     {"usable_cpus", h.usable_cpus},
                     {"oversubscribed", h.oversubscribed}});
  for (int rank = 0; rank < f.size(); ++rank) {
    const RankRecord& r = f.records[static_cast<std::size_t>(rank)];
    json j{{"rank", rank},
           {"host", f.host_of[static_cast<std::size_t>(rank)]},
           {"pid", r.pid},
           {"uid", r.uid},
           {"cpus", unpack(r.affinity).to_list()},
           {"cpus_exact", r.affinity.exact != 0},
           {"usable_cpus", r.usable_cpus},
           {"quota_cpus", r.quota_cpus},
           {"machine", fmt::format("{:016x}", r.machine_fingerprint)}};
    const auto add = [&](const char* name, const Place& p) {
      j[name] = p.bound() ? json(p.label) : json(nullptr);
    };
    add("package", r.package);
    add("numa", r.numa);
    add("l3", r.l3);
    add("core", r.core);
    j["pu"] = r.pu >= 0 ? json(r.pu) : json(nullptr);
    ranks.push_back(std::move(j));
  }
  return dump_json({{"libcoll_fabric", 1},
                    {"hash", fmt::format("{:016x}", f.hash())},
                    {"hosts", std::move(hosts)},
                    {"ranks", std::move(ranks)}});
}

}  // namespace libcoll::topo
