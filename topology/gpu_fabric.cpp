#include "topology/gpu_fabric.hpp"

#include <fmt/format.h>
#include <string.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "topology/cpuset.hpp"
#include "topology/hash.hpp"
#include "topology/rails.hpp"
#include "topology/text_tree.hpp"

namespace libcoll::topo {
namespace {

using Flag = GpuRecord;
template <std::size_t n>
std::string text_in(const char (&s)[n]) {
  return {s, ::strnlen(s, n)};
}
std::size_t at(int i) { return static_cast<std::size_t>(i); }

// Ranks by what they have in common.
class Classes {
 public:
  explicit Classes(std::size_t n) : parent_(n) { std::iota(parent_.begin(), parent_.end(), 0); }
  int find(int i) {
    while (parent_[at(i)] != i) i = parent_[at(i)] = parent_[at(parent_[at(i)])];
    return i;
  }
  // The lower one stands for both.
  void join(int a, int b) {
    const auto [low, high] = std::minmax({find(a), find(b)});
    parent_[at(high)] = low;
  }

 private:
  std::vector<int> parent_;
};

// A Machine of the GPUs of one host that ranks use, as far as the records tell. Nodes: the machine, a CPU, an
// NVSwitch, GPUs, NICs.
class HostMaker {
 public:
  HostMaker(std::span<const GpuRecord> records, const std::vector<int>& ranks) : records_(records), ranks_(ranks) {}

  Machine make(std::vector<std::string>& reports) {
    for (const NodeKind kind : {NodeKind::machine, NodeKind::package, NodeKind::nvswitch}) {
      Node& n = m_.nodes.emplace_back();
      n.kind = kind;
      n.parent = kind == NodeKind::machine ? -1 : 0;
    }
    m_.knows_nvlinks = true;
    m_.host = fmt::format("the host of rank {}", *std::min_element(ranks_.begin(), ranks_.end()));
    for (const int rank : ranks_) add_gpu(rank);
    add_nics();
    for (std::size_t i = 0; i < ranks_.size(); ++i) add_links(static_cast<int>(i), reports);
    return std::move(m_);
  }

 private:
  static constexpr int cpu = 1, nvswitch = 2, first_gpu = 3;
  const GpuRecord& record(int i) const { return records_[at(ranks_[at(i)])]; }
  static std::uint32_t peers(const GpuRecord& r) { return std::min<std::uint32_t>(r.peers, GpuRecord::max_peers); }

  void add_gpu(int rank) {
    const GpuRecord& r = records_[at(rank)];
    Node& n = m_.nodes.emplace_back();
    n.kind = NodeKind::gpu;
    n.parent = 0;
    n.os_index = rank;
    n.bus_id = unpack_bus(r.bus);
    n.links_elsewhere = static_cast<int>(std::min<std::uint32_t>(r.links_elsewhere, max_links));
    n.fabric = {.cluster = text_in(r.cluster), .clique = r.clique, .is_healthy = r.has(Flag::is_healthy)};
  }

  // In the order of the host's own machine, as ties between NICs go by it.
  void add_nics() {
    using Key = std::tuple<std::uint16_t, std::uint64_t, std::string>;
    std::map<Key, std::vector<std::pair<int, const GpuRecord::Nic*>>> nics;  // whose GPU is how near
    std::map<std::uint64_t, Key> by_bus;                                     // containers may number NICs differently
    for (int i = 0; i < static_cast<int>(ranks_.size()); ++i)
      for (std::uint32_t k = 0; k < std::min<std::uint32_t>(record(i).nics, GpuRecord::max_nics); ++k) {
        const GpuRecord::Nic& nic = record(i).nic[k];
        Key key{nic.ordinal, nic.bus, nic.bus != 0 ? "" : text_in(nic.name)};
        if (nic.bus != 0) key = by_bus.try_emplace(nic.bus, key).first->second;
        nics[key].emplace_back(i, &nic);
      }
    for (const auto& [key, users] : nics) {
      Node& n = m_.nodes.emplace_back();
      n.kind = NodeKind::nic;
      n.parent = 0;
      n.name = text_in(users[0].second->name);
      n.bus_id = unpack_bus(users[0].second->bus);
      n.mb_per_s = std::min<std::uint64_t>(users[0].second->mb_per_s, max_mb_per_s);
      const int index = static_cast<int>(m_.nodes.size()) - 1;
      for (const auto& [i, nic] : users) {
        const auto path = static_cast<PathClass>(std::min<int>(nic->path, path_class_count - 1));
        m_.edges.push_back({.kind = EdgeKind::pcie, .a = first_gpu + i, .b = index, .links = 0, .mb_per_s = 0, .path = path});
      }
    }
  }

  void add_edge(int a, int b, std::uint32_t links, std::uint32_t mb_per_s) {
    if (links == 0 && mb_per_s == 0) return;
    m_.edges.push_back({.kind = EdgeKind::nvlink,
                        .a = a,
                        .b = b,
                        .links = static_cast<int>(std::min<std::uint32_t>(links, max_links)),
                        .mb_per_s = std::min<std::uint64_t>(mb_per_s, max_mb_per_s),
                        .path = PathClass::unknown});
  }

  void add_links(int i, std::vector<std::string>& reports) {
    const GpuRecord& r = record(i);
    add_edge(cpu, first_gpu + i, r.cpu_links, r.cpu_mb_per_s);
    add_edge(nvswitch, first_gpu + i, r.switch_links, r.switch_mb_per_s);
    for (std::uint32_t p = 0; p < peers(r); ++p) {
      int other = 0;
      while (other < static_cast<int>(ranks_.size()) && record(other).bus != r.peer[p].bus) ++other;
      if (other == static_cast<int>(ranks_.size())) {
        int& elsewhere = m_.nodes[at(first_gpu + i)].links_elsewhere;
        elsewhere = std::min(elsewhere + static_cast<int>(std::clamp<std::uint32_t>(r.peer[p].links, 1, max_links)), max_links);
      } else if (i < other) {
        add_pair(i, other, r.peer[p], reports);
      }
    }
  }

  // What both ends tell, or the fewer links.
  void add_pair(int a, int b, const GpuRecord::Peer& there, std::vector<std::string>& reports) {
    GpuRecord::Peer back{};
    const GpuRecord& r = record(b);
    for (std::uint32_t p = 0; p < peers(r); ++p)
      if (r.peer[p].bus == record(a).bus) back = r.peer[p];
    if (back.links != there.links || back.mb_per_s != there.mb_per_s)
      reports.push_back(fmt::format("ranks {} and {} disagree about the NVLinks between their GPUs ({} and {}): the fewer count",
                                    ranks_[at(a)], ranks_[at(b)], there.links, back.links));
    add_edge(first_gpu + a, first_gpu + b, std::min(there.links, back.links), std::min(there.mb_per_s, back.mb_per_s));
  }

  std::span<const GpuRecord> records_;
  const std::vector<int>& ranks_;
  Machine m_;
};

class Builder {
 public:
  explicit Builder(std::span<const GpuRecord> records) : records_(records), same_gpu_(records.size()) {}

  GpuFabric run() {
    out_.size = static_cast<int>(records_.size());
    out_.island_of.assign(records_.size(), -1);
    out_.rail_of = out_.nic_of = out_.island_of;
    find_sharers();
    find_members();
    for (const auto& domain : domains()) settle(domain);
    order_islands();
    report_totals();
    for (auto* list : {&out_.demoted, &out_.unknown}) std::sort(list->begin(), list->end());
    if (const std::size_t all = out_.reports.size(); all > max_reports) {
      out_.reports.resize(max_reports - 1);
      out_.reports.push_back(fmt::format("and {} more of the kinds above", all - out_.reports.size()));
    }
    return std::move(out_);
  }

 private:
  using Hosts = std::vector<std::vector<int>>;  // ranks of each, in rail order

  const GpuRecord& record(int rank) const { return records_[at(rank)]; }
  bool uses_gpu(int rank) const {
    return record(rank).version == GpuRecord::current_version && record(rank).has(Flag::has_gpu);
  }
  void report(std::string text) { out_.reports.push_back(std::move(text)); }
  std::string name(int rank) const {
    const std::string bus = unpack_bus(record(rank).bus);
    return fmt::format("rank {} (GPU {})", rank, bus.empty() ? "of unknown address" : bus);
  }

  void find_sharers() {
    std::map<std::string, int> by_uuid;
    std::map<std::tuple<std::uint64_t, std::uint64_t, bool>, int> by_place;
    for (int rank = 0; rank < out_.size; ++rank) {
      if (!uses_gpu(rank)) continue;
      const GpuRecord& r = record(rank);
      const std::string uuid = text_in(r.uuid);
      if (!uuid.empty()) same_gpu_.join(rank, by_uuid.try_emplace(uuid, rank).first->second);
      // Slices of one GPU have one address.
      if (r.bus != 0 && (!r.has(Flag::is_mig) || uuid.empty()))
        same_gpu_.join(rank, by_place.try_emplace({r.host_id, r.bus, r.has(Flag::is_mig)}, rank).first->second);
    }
    std::map<int, std::vector<int>> groups;
    for (int rank = 0; rank < out_.size; ++rank)
      if (uses_gpu(rank)) groups[same_gpu_.find(rank)].push_back(rank);
    for (auto& [first, ranks] : groups) {
      if (ranks.size() == 1) continue;
      report(fmt::format("ranks {} share {}: rank {} stands for it", format_ranges(ranks),
                         record(first).has(Flag::is_mig) ? "one slice of a GPU" : "one GPU", first));
      out_.shared.push_back(std::move(ranks));
    }
  }

  void find_members() {
    std::vector<int> untold, unlisted, strange;
    for (int rank = 0; rank < out_.size; ++rank) {
      const GpuRecord& r = record(rank);
      if (r.version != GpuRecord::current_version) {
        strange.push_back(rank);
        out_.unknown.push_back(rank);
      } else if (!r.has(Flag::has_gpu)) {
        out_.without_gpu.push_back(rank);
      } else if (same_gpu_.find(rank) != rank) {
        continue;
      } else if (r.has(Flag::is_mig)) {
        out_.mig.push_back(rank);
      } else if (!r.has(Flag::is_listed) || !r.has(Flag::knows_links)) {
        (r.has(Flag::is_listed) ? untold : unlisted).push_back(rank);
        out_.unknown.push_back(rank);
      } else {
        members_.push_back(rank);
      }
    }
    const auto tell = [&](const std::vector<int>& ranks, const char* what) {
      if (!ranks.empty()) report((ranks.size() == 1 ? "rank " : "ranks ") + format_ranges(ranks) + ": " + what);
    };
    tell(strange, "another version of libcoll, GPUs unknown");
    tell(unlisted, "the machine does not list the GPU in use: NVLinks unknown, in no island");
    tell(untold, "the machine does not tell its NVLinks: in no island");
    tell(out_.mig, "slices of GPUs (MIG) have no NVLinks: in no island");
    if (static_cast<int>(out_.without_gpu.size()) < out_.size) tell(out_.without_gpu, "without a GPU");
  }

  // Hosts that one multi-node fabric joins; others are alone.
  std::vector<Hosts> domains() {
    Hosts hosts;
    std::map<std::uint64_t, std::size_t> host_of;
    for (const int rank : members_) {
      const auto [it, is_new] = host_of.try_emplace(record(rank).host_id, hosts.size());
      if (is_new) hosts.emplace_back();
      hosts[it->second].push_back(rank);
    }
    Classes joined(hosts.size());
    std::map<std::pair<std::string, std::uint32_t>, int> fabrics;
    for (std::size_t h = 0; h < hosts.size(); ++h) {
      std::stable_sort(hosts[h].begin(), hosts[h].end(), [&](int a, int b) { return record(a).bus < record(b).bus; });
      for (const int rank : hosts[h]) {
        const GpuRecord& r = record(rank);
        if (r.cluster[0] == '\0' || !r.has(Flag::is_healthy)) continue;
        const int host = static_cast<int>(h);
        joined.join(host, fabrics.try_emplace({text_in(r.cluster), r.clique}, host).first->second);
      }
    }
    std::map<int, Hosts> by_first;
    for (std::size_t h = 0; h < hosts.size(); ++h) by_first[joined.find(static_cast<int>(h))].push_back(std::move(hosts[h]));
    std::vector<Hosts> all;
    for (auto& [first, domain] : by_first) all.push_back(std::move(domain));
    return all;
  }

  // Too many GPUs to look at their pairs: such fabrics do not exist, but a wrong LIBCOLL_HOST_ID does.
  bool is_too_large(const Hosts& domain) {
    std::vector<int> ranks;
    for (const auto& host : domain) ranks.insert(ranks.end(), host.begin(), host.end());
    if (ranks.size() <= static_cast<std::size_t>(max_joined_gpus)) return false;
    std::sort(ranks.begin(), ranks.end());
    report(fmt::format("{} GPUs (ranks {}) claim one host or one multi-node fabric, more than {}: in no island", ranks.size(),
                       format_ranges(ranks), max_joined_gpus));
    out_.unknown.insert(out_.unknown.end(), ranks.begin(), ranks.end());
    return true;
  }

  void settle(const Hosts& domain) {
    if (is_too_large(domain)) return;
    std::vector<Machine> machines;
    for (const auto& ranks : domain) machines.push_back(HostMaker(records_, ranks).make(out_.reports));
    even_scales(machines);
    const auto rank_of = [&](GpuRef g) { return machines[at(g.host)].nodes[at(g.node)].os_index; };
    const Islands found = find_islands(machines, [&](GpuRef g) { return name(rank_of(g)); });
    const Rails rails = find_rails(machines, found);
    const auto rank_at = [&](int gpu) { return rank_of(found.gpus[at(gpu)]); };
    out_.reports.insert(out_.reports.end(), found.reports.begin(), found.reports.end());
    for (const int g : found.demoted) out_.demoted.push_back(rank_at(g));
    for (const Bridge& b : found.bridges) {
      const auto [low, high] = std::minmax({rank_at(b.a), rank_at(b.b)});
      out_.bridges.push_back({low, high, b.links, b.mb_per_s});
    }
    for (std::size_t i = 0; i < found.islands.size(); ++i) {
      std::vector<int> ranks;
      for (const int g : found.islands[i]) ranks.push_back(rank_at(g));
      islands_.push_back({std::move(ranks), rank_at(rails.leaders[i])});
    }
    for (std::size_t g = 0; g < found.gpus.size(); ++g)
      choose_nic(rank_at(static_cast<int>(g)), rails.nic_of[g], machines[at(found.gpus[g].host)]);
  }

  // Islands compare rates, or else counts: a mixture would compare one with the other.
  static void even_scales(std::vector<Machine>& machines) {
    bool has_counts = true, has_rates = true;
    for (const Machine& m : machines)
      for (const Edge& e : m.edges) {
        if (e.kind != EdgeKind::nvlink) continue;
        has_counts = has_counts && e.links != 0;
        has_rates = has_rates && e.mb_per_s != 0;
      }
    if (has_rates || !has_counts) return;
    for (Machine& m : machines)
      for (Edge& e : m.edges)
        if (e.kind == EdgeKind::nvlink) e.mb_per_s = 0;
  }

  void choose_nic(int rank, const NicChoice& choice, const Machine& m) {
    if (choice.nic < 0) return;
    const Node& n = m.nodes[at(choice.nic)];
    const GpuRecord& r = record(rank);
    for (int k = static_cast<int>(std::min<std::uint32_t>(r.nics, GpuRecord::max_nics)) - 1; k >= 0; --k)
      if (unpack_bus(r.nic[k].bus) == n.bus_id && (!n.bus_id.empty() || text_in(r.nic[k].name) == n.name))
        out_.nic_of[at(rank)] = k;
  }

  void order_islands() {
    const auto lowest = [](const Island& i) { return *std::min_element(i.ranks.begin(), i.ranks.end()); };
    std::sort(islands_.begin(), islands_.end(), [&](const Island& a, const Island& b) { return lowest(a) < lowest(b); });
    std::sort(out_.bridges.begin(), out_.bridges.end(),
              [](const Bridge& x, const Bridge& y) { return std::pair(x.a, x.b) < std::pair(y.a, y.b); });
    for (Island& i : islands_) {
      const std::size_t members = i.ranks.size();
      out_.full_rails = out_.islands.empty() ? static_cast<int>(members) : std::min(out_.full_rails, static_cast<int>(members));
      if (out_.rails.size() < members) out_.rails.resize(members);
      for (std::size_t r = 0; r < members; ++r) {
        out_.rails[r].push_back(i.ranks[r]);
        out_.island_of[at(i.ranks[r])] = static_cast<int>(out_.islands.size());
        out_.rail_of[at(i.ranks[r])] = static_cast<int>(r);
      }
      out_.islands.push_back(std::move(i.ranks));
      out_.leaders.push_back(i.leader);
    }
  }

  void report_totals() {
    if (static_cast<std::size_t>(out_.full_rails) < out_.rails.size())
      report(fmt::format("islands have {} to {} members: {} through all of them", out_.full_rails, out_.rails.size(),
                         plural(out_.full_rails, "rail runs", "rails run")));
    std::vector<int> far, none;
    for (const auto& island : out_.islands)
      for (const int rank : island) {
        const int k = out_.nic_of[at(rank)];
        if (k < 0) none.push_back(rank);
        else if (record(rank).nic[k].path >= static_cast<std::uint8_t>(PathClass::sys)) far.push_back(rank);
      }
    const auto tell = [&](std::vector<int>& ranks, const char* what) {
      std::sort(ranks.begin(), ranks.end());
      if (!ranks.empty())
        report(fmt::format("{} {}: {}", ranks.size() == 1 ? "rank" : "ranks", format_ranges(ranks), what));
    };
    tell(none, "no NIC shown");
    tell(far, "no NIC on the GPU's side of the machine");
  }

  struct Island {
    std::vector<int> ranks;
    int leader;
  };
  std::span<const GpuRecord> records_;
  Classes same_gpu_;
  GpuFabric out_;
  std::vector<int> members_;  // that may be in islands
  std::vector<Island> islands_;
};

void add(Hash& h, const std::vector<int>& list) {
  h.add(list.size());
  for (const int i : list) h.add(i);
}
void add(Hash& h, const std::vector<std::vector<int>>& lists) {
  h.add(lists.size());
  for (const auto& list : lists) add(h, list);
}

}  // namespace

std::uint64_t GpuFabric::hash() const {
  Hash h;
  h.add(size).add(full_rails);
  for (const auto* lists : {&islands, &rails, &shared}) add(h, *lists);
  for (const auto* list : {&leaders, &demoted, &unknown, &mig, &without_gpu, &nic_of}) add(h, *list);
  h.add(bridges.size());
  for (const Bridge& b : bridges) h.add(b.a).add(b.b).add(b.links).add(b.mb_per_s);
  return h.value();
}

GpuFabric build_gpu_fabric(std::span<const GpuRecord> by_rank) { return Builder(by_rank).run(); }

}  // namespace libcoll::topo
