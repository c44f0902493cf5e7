#include "libcoll/core/world.hpp"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <string_view>

#include "libcoll/core/log.hpp"
#include "libcoll/core/result.hpp"
#include "topology/fabric.hpp"
#include "topology/probe_hwloc.hpp"

namespace libcoll::detail {

namespace {

// What one rank tells all others when a world is made.
struct Introduction {
  topo::RankRecord record;
  std::uint64_t settings;  // hash of the settings that all ranks must share
  std::uint64_t hierarchy; // hash of the file named by LIBCOLL_HIERARCHY
};

std::uint64_t hash_text(std::string_view text) {
  std::uint64_t h = 0xcbf29ce484222325u;  // FNV-1a
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return h;
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
      fail(w.rank, Errc::mismatch, fmt::format("rank {} has other values of LIBCOLL_SINGLE_COPY, LIBCOLL_CALIBRATE, LIBCOLL_CHECK or "
                                               "LIBCOLL_FD_PASSING", r), static_cast<int>(r));
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

std::shared_ptr<World> World::create(Bootstrap& bootstrap, const Config& config) {
  auto world = std::make_shared<World>();
  World& w = *world;
  w.rank = bootstrap.rank();
  w.size = bootstrap.size();
  w.config = config;
  const std::string injected = config.hierarchy_file.empty() ? "" : read_file(config.hierarchy_file);

  Introduction mine{};
  mine.record = topo::local_record(this_machine());
  mine.settings = hash_text(fmt::format("{}|{}|{}|{}", config.single_copy, config.fd_passing, config.calibrate, config.check));
  mine.hierarchy = hash_text(injected);
  std::vector<Introduction> all(static_cast<std::size_t>(w.size));
  bootstrap.allgather(&mine, all.data(), sizeof mine);
  require_equal_settings(w, all);

  std::vector<topo::RankRecord> records;
  for (const Introduction& i : all) records.push_back(i.record);
  w.fabric = topo::build_fabric(std::move(records));
  require_equal_fabrics(w, bootstrap);
  if (w.fabric.hosts.size() > 1)
    fail(w.rank, Errc::unsupported, fmt::format("the ranks are on {} hosts ({}, {}, ...); this version communicates inside one host only",
                                                w.fabric.hosts.size(), w.fabric.hosts[0].name, w.fabric.hosts[1].name));
  w.hierarchy = choose_hierarchy(w, injected);

  auto host = xport::shm::Host::create(bootstrap, {config, this_machine().l2_bytes ? this_machine().l2_bytes : std::size_t{1} << 20, w.fabric.hosts[0].usable_cpus});
  if (!host) fail(w.rank, host.error().code, host.error().text, host.error().peer);
  w.host = std::move(*host);
  return world;
}

}  // namespace libcoll::detail
