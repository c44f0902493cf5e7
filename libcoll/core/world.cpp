#include "libcoll/core/world.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string_view>

#include "libcoll/core/log.hpp"
#include "libcoll/core/result.hpp"
#include "libcoll/planning/measure.hpp"
#include "topology/fabric.hpp"
#include "topology/override.hpp"
#include "topology/partition.hpp"
#include "topology/probe_hwloc.hpp"
#include "topology/probe_nvml.hpp"
#include "topology/process.hpp"
#include "transports/ucx/ucx_messenger.hpp"

namespace libcoll::detail {

namespace {

// What one rank tells all others when a world is made.
struct Introduction {
  topo::RankRecord record;
  std::uint64_t settings;  // hash of the settings that all ranks must share
  std::uint64_t hierarchy; // hash of the file named by LIBCOLL_HIERARCHY
  std::uint64_t has_cuda;  // in use by its process
  std::uint64_t machine;   // hash of the boot id: hosts of one machine (containers, network namespaces) share it
};

std::uint64_t hash_text(std::string_view text) {
  std::uint64_t h = 0xcbf29ce484222325u;  // FNV-1a
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return h;
}

// What all ranks must have set alike.
std::string settings_text(const Config& c, const std::string& tuning, const std::string& topology) {
  std::string text = fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}", c.single_copy, c.fd_passing, c.calibrate, c.check, c.network, c.gpu, c.gpu_overlap, hash_text(tuning),
                                 c.topology_file.empty() ? 0 : hash_text(topology));
  for (const auto& [coll, recipe] : c.algorithms) text += fmt::format("|{}={}", coll, recipe);
  return text;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

[[noreturn]] void fail(int rank, Errc code, const std::string& text, int peer = -1) {
  throw Error(code, fmt::format("libcoll: rank {}: creating a world: {}", rank, text), peer);
}

void require_equal_settings(const World& w, const std::vector<Introduction>& all) {
  const Introduction& mine = all[static_cast<std::size_t>(w.rank)];
  for (std::size_t r = 0; r < all.size(); ++r) {
    if (all[r].record.version != mine.record.version)
      fail(w.rank, Errc::mismatch, fmt::format("rank {} runs another version of libcoll", r), static_cast<int>(r));
    if (all[r].settings != mine.settings)
      fail(w.rank, Errc::mismatch, fmt::format("rank {} has other values of LIBCOLL_SINGLE_COPY, LIBCOLL_CALIBRATE, LIBCOLL_CHECK, "
                                               "LIBCOLL_FD_PASSING, LIBCOLL_NETWORK, LIBCOLL_GPU, LIBCOLL_GPU_OVERLAP, LIBCOLL_TUNING, LIBCOLL_TOPOLOGY or an algorithm (LIBCOLL_ALLREDUCE, ...)", r), static_cast<int>(r));
    if (all[r].hierarchy != mine.hierarchy)
      fail(w.rank, Errc::mismatch, fmt::format("rank {} reads another LIBCOLL_HIERARCHY", r), static_cast<int>(r));
  }
}

// All later decisions follow from the fabric: a rank that sees another one must not go on.
void require_equal_fabrics(const World& w, Bootstrap& bootstrap) {
  const std::uint64_t mine = w.fabric.hash();
  std::vector<std::uint64_t> all(static_cast<std::size_t>(w.size));
  bootstrap.allgather(&mine, all.data(), sizeof mine);
  for (std::size_t r = 0; r < all.size(); ++r)
    if (all[r] != mine) fail(w.rank, Errc::internal, fmt::format("rank {} sees another machine than this one", r), static_cast<int>(r));
}

// An exchange among the ranks of each domain, made of exchanges among all: domains may need different
// numbers of them (one may fail early), so each goes on until all have finished.
class DomainBootstrap final : public Bootstrap {
 public:
  DomainBootstrap(Bootstrap& all, const std::vector<int>& domain_of) : all_(all) {
    const int mine = domain_of[static_cast<std::size_t>(all.rank())];
    for (int r = 0; r < all.size(); ++r) {
      if (domain_of[static_cast<std::size_t>(r)] != mine) continue;
      if (r == all.rank()) rank_ = static_cast<int>(members_.size());
      members_.push_back(r);
    }
    alone_ = members_.size() == static_cast<std::size_t>(all.size());
  }
  int rank() const noexcept override { return rank_; }
  int size() const noexcept override { return static_cast<int>(members_.size()); }

  void allgather(const void* send, void* recv, std::size_t bytes) override {
    if (alone_) return all_.allgather(send, recv, bytes);
    for (std::size_t at = 0; at < bytes; at += sizeof Cell::data) {
      const std::size_t n = std::min(sizeof Cell::data, bytes - at);
      Cell mine{};
      std::memcpy(mine.data, static_cast<const std::byte*>(send) + at, n);
      exchange(mine);
      for (std::size_t i = 0; i < members_.size(); ++i)
        std::memcpy(static_cast<std::byte*>(recv) + i * bytes + at, cells_[static_cast<std::size_t>(members_[i])].data, n);
    }
  }
  // Takes part in what other domains still have to say.
  void finish() {
    if (alone_) return;
    Cell mine{};
    mine.finished = 1;
    do exchange(mine);
    while (!std::all_of(cells_.begin(), cells_.end(), [](const Cell& c) { return c.finished != 0; }));
  }

 private:
  struct Cell {
    std::uint32_t finished;
    std::byte data[124];
  };
  void exchange(const Cell& mine) {
    cells_.resize(static_cast<std::size_t>(all_.size()));
    all_.allgather(&mine, cells_.data(), sizeof mine);
  }

  Bootstrap& all_;
  std::vector<int> members_;
  std::vector<Cell> cells_;
  int rank_ = 0;
  bool alone_ = false;
};

// Fails on all ranks if it failed on one, and says what went wrong there.
void require_everywhere(const World& w, Bootstrap& bootstrap, const Failure* failure) {
  struct Report {
    std::int32_t failed, code, peer;
    char text[244];
  } mine{};
  if (failure != nullptr) {
    mine.failed = 1;
    mine.code = static_cast<std::int32_t>(failure->code);
    mine.peer = failure->peer;
    failure->text.copy(mine.text, sizeof mine.text - 1);
  }
  std::vector<Report> all(static_cast<std::size_t>(w.size));
  bootstrap.allgather(&mine, all.data(), sizeof mine);
  if (failure != nullptr) fail(w.rank, failure->code, failure->text, failure->peer);
  for (std::size_t r = 0; r < all.size(); ++r)
    if (all[r].failed != 0) fail(w.rank, static_cast<Errc>(all[r].code), fmt::format("rank {}: {}", r, all[r].text), static_cast<int>(r));
}

void part_into_domains(World& w) {
  w.domain_of = w.hierarchy.colors[static_cast<std::size_t>(Level::host)];
  w.domains = 1 + *std::max_element(w.domain_of.begin(), w.domain_of.end());
  for (int r = 0; r < w.size; ++r)
    if (w.domain_of[static_cast<std::size_t>(r)] == w.domain_of[static_cast<std::size_t>(w.rank)]) w.neighbours.push_back(r);
  const auto [s, r] = topo::find_split(w.domain_of, w.fabric.host_of);
  if (s < 0) return;
  const auto name = [&](int rank) { return w.fabric.hosts[static_cast<std::size_t>(w.fabric.host_of[static_cast<std::size_t>(rank)])].name; };
  fail(w.rank, Errc::invalid_argument, fmt::format("LIBCOLL_HIERARCHY={} puts ranks {} and {} on one host, but they run on {} and {}", w.config.hierarchy_file, s, r, name(s), name(r)));
}

// Whether some machine holds ranks of more than one domain. Notes too whether it has CPUs for all. Hosts of one machine
// (containers) have CPUs in common, or each its own.
bool look_at_machines(World& w, const std::vector<Introduction>& all) {
  struct Machine {
    int ranks = 0, domain = -1;
    bool shared = false;
    std::set<int> hosts;
  };
  std::map<std::uint64_t, Machine> machines;
  for (std::size_t r = 0; r < all.size(); ++r) {
    Machine& m = machines[all[r].machine];
    ++m.ranks;
    m.hosts.insert(w.fabric.host_of[r]);
    m.shared |= m.domain >= 0 && m.domain != w.domain_of[r];
    m.domain = w.domain_of[r];
  }
  bool shared = false;
  for (const auto& [id, m] : machines) {
    topo::CpuSet together;
    int usable = 0;
    for (const int h : m.hosts) {
      together |= w.fabric.hosts[static_cast<std::size_t>(h)].cpus;
      usable += w.fabric.hosts[static_cast<std::size_t>(h)].usable_cpus;
    }
    const int cpus = std::max(1, std::min(usable, together.count()));
    shared |= m.shared;
    w.crowded |= m.shared && m.ranks > cpus;
    w.ranks_per_cpu = std::max(w.ranks_per_cpu, static_cast<double>(m.ranks) / cpus);
  }
  return shared;
}

void look_for_cuda(World& w) {
  if (w.config.gpu == "off") w.without_runtime = "LIBCOLL_GPU is off";
  else if (w.config.gpu == "auto" && !device::in_use()) w.without_runtime = "its process had not loaded the CUDA driver when the world was made (LIBCOLL_GPU=on loads it)";
  if (!w.without_runtime.empty()) return;
  const auto runtime = device::runtime();
  if (runtime) w.runtime = *runtime;
  else w.without_runtime = runtime.error().text;
}

// One rank that may bring GPU memory is enough: all have to agree from then on.
void agree_on_gpus(World& w, const std::vector<Introduction>& all) {
  for (std::size_t r = 0; r < all.size(); ++r) {
    w.uses_gpus = w.uses_gpus || all[r].has_cuda != 0;
    if (w.config.gpu == "on" && all[r].has_cuda == 0)
      fail(w.rank, Errc::unsupported, static_cast<int>(r) == w.rank ? fmt::format("LIBCOLL_GPU is on, but {}", w.without_runtime) : fmt::format("LIBCOLL_GPU is on, but rank {} has no CUDA", r), static_cast<int>(r));
  }
  w.without_gpus = w.runtime == nullptr ? w.without_runtime : "";
}

// This process's machine, with what LIBCOLL_TOPOLOGY says of it.
Result<topo::Machine> choose_machine(const Config& config, const std::string& topology) {
  topo::Machine m = this_machine();
  if (config.topology_file.empty()) return m;
  m.host = topo::host_name();
  if (topo::wants_probed_devices(topology)) topo::probe_devices(m);
  auto chosen = topo::apply_topology(m, topology);
  if (!chosen) return failure(chosen.error().code, fmt::format("LIBCOLL_TOPOLOGY={}: {}", config.topology_file, chosen.error().text));
  return chosen;
}

topo::Hierarchy choose_hierarchy(const World& w, const std::string& injected) {
  if (w.config.hierarchy_file.empty()) return topo::build_hierarchy(w.fabric);
  auto h = topo::hierarchy_from_json(injected);
  if (!h) fail(w.rank, Errc::invalid_argument, fmt::format("LIBCOLL_HIERARCHY={}: {}", w.config.hierarchy_file, h.error().text));
  if (h->size != w.size)
    fail(w.rank, Errc::invalid_argument, fmt::format("LIBCOLL_HIERARCHY={} describes {} ranks, the job has {}", w.config.hierarchy_file, h->size, w.size));
  return std::move(*h);
}

}  // namespace

const topo::Machine& this_machine() {
  static const topo::Machine machine = [] {
    auto m = topo::probe_host();
    if (m) return std::move(*m);
    log().warn("the machine cannot be probed ({}); assuming one core", m.error().text);
    return topo::Machine{};
  }();
  return machine;
}

std::string World::domain_name(int domain) const {
  const auto machine_of = [&](int d) {
    const auto first = std::find(domain_of.begin(), domain_of.end(), d) - domain_of.begin();
    return fabric.host_of[static_cast<std::size_t>(first)];
  };
  const int machine = machine_of(domain);
  int before = 0, all = 0;
  for (int d = 0; d < domains; ++d) {
    if (machine_of(d) != machine) continue;
    ++all;
    before += d < domain;
  }
  const std::string& name = fabric.hosts[static_cast<std::size_t>(machine)].name;
  return all == 1 ? name : fmt::format("{}#{}", name, before);
}

std::shared_ptr<World> World::create(Bootstrap& bootstrap, const Config& config) {
  auto world = std::make_shared<World>();
  World& w = *world;
  w.rank = bootstrap.rank();
  w.size = bootstrap.size();
  w.config = config;
  const std::string tuning = config.tuning_file.empty() ? "" : read_file(config.tuning_file);
  const std::string injected = config.hierarchy_file.empty() ? "" : read_file(config.hierarchy_file);
  const std::string topology = config.topology_file.empty() ? "" : read_file(config.topology_file);
  auto chosen = choose_machine(config, topology);
  w.own_machine = chosen ? std::move(*chosen) : this_machine();

  Introduction mine{};
  mine.record = topo::local_record(w.own_machine);
  mine.settings = hash_text(settings_text(config, tuning, topology));
  mine.hierarchy = hash_text(injected);
  look_for_cuda(w);
  mine.has_cuda = w.runtime != nullptr;
  mine.machine = hash_text(read_file("/proc/sys/kernel/random/boot_id"));
  std::vector<Introduction> all(static_cast<std::size_t>(w.size));
  bootstrap.allgather(&mine, all.data(), sizeof mine);
  require_equal_settings(w, all);
  agree_on_gpus(w, all);
  if (!config.topology_file.empty()) require_everywhere(w, bootstrap, chosen ? nullptr : &chosen.error());

  std::vector<topo::RankRecord> records;
  for (const Introduction& i : all) records.push_back(i.record);
  w.fabric = topo::build_fabric(std::move(records));
  require_equal_fabrics(w, bootstrap);
  if (!config.tuning_file.empty()) {
    auto table = planning::TuningTable::parse(tuning);
    if (!table) fail(w.rank, Errc::invalid_argument, fmt::format("LIBCOLL_TUNING={}: {}", config.tuning_file, table.error().text));
    w.tuning = std::move(*table);
  }
  w.hierarchy = choose_hierarchy(w, injected);
  part_into_domains(w);
  const bool hosts_share_a_machine = look_at_machines(w, all);

  DomainBootstrap domain(bootstrap, w.domain_of);
  const int cpus = w.crowded ? 1 : w.fabric.hosts[static_cast<std::size_t>(w.fabric.host_of[static_cast<std::size_t>(w.rank)])].usable_cpus;
  auto host = xport::shm::Host::create(domain, {config, w.own_machine.l2_bytes ? w.own_machine.l2_bytes : std::size_t{1} << 20, cpus, w.crowded});
  domain.finish();
  require_everywhere(w, bootstrap, host ? nullptr : &host.error());
  w.host = std::move(*host);
  w.costs = planning::costs_from(w.host->costs(), {}, w.ranks_per_cpu);

  // Waking from the network's descriptor costs as much as a round trip, which is a hundred hops of shared memory.
  constexpr double network_yields = 20;
  std::unique_ptr<xport::Messenger> messenger;
  if (w.domains > 1 || (w.size > 1 && (config.network == "on" || !config.algorithms.empty()))) {
    auto made = xport::create_ucx_messenger(bootstrap, {.exclude_shared_memory = hosts_share_a_machine});
    if (!made) fail(w.rank, made.error().code, made.error().text, made.error().peer);
    messenger = std::move(*made);
  }
  w.engine = std::make_unique<exec::Engine>(*w.host, std::move(messenger),
                                            exec::Engine::Waiting{w.host->oversubscribed() ? 1 : 500, network_yields * config.yield_us, config.timeout_s});
  if (config.progress_thread) w.engine->start_thread();
  return world;
}

}  // namespace libcoll::detail
