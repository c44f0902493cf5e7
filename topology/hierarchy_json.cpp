// JSON of a Hierarchy, written by the library and by hand (tests inject hierarchies of machines that
// they do not have), and of the public view.
#include <fmt/format.h>

#include <algorithm>

#include "topology/describe.hpp"
#include "topology/hierarchy.hpp"
#include "topology/json_reader.hpp"
#include "topology/partition.hpp"

namespace libcoll::topo {
namespace {

using nlohmann::json;
constexpr std::int64_t max_ranks = 1 << 24;

json levels_to_json(const std::vector<TopologyLevel>& levels) {
  json out = json::array();
  for (const TopologyLevel& level : levels) {
    json groups = json::array();
    for (const TopologyGroup& g : level.groups) groups.push_back({{"leader", g.leader}, {"ranks", g.ranks}});
    out.push_back({{"level", name_of(level.level)}, {"groups", std::move(groups)}});
  }
  return out;
}

Level level_from(const std::string& name) {
  for (int l = 0; l < level_count; ++l)
    if (name == name_of(static_cast<Level>(l))) return static_cast<Level>(l);
  throw Malformed{fmt::format("unknown level '{}'", name.substr(0, 40))};
}

std::vector<int> ints_from(const json& j, const char* key, int size) {
  std::vector<int> out;
  for (const json& n : array_member(j, key, static_cast<std::size_t>(size)))
    out.push_back(static_cast<int>(to_int(n, key, 0, size - 1)));
  return out;
}

LevelGroups level_groups_from(const json& j, int size) {
  LevelGroups level;
  level.level = level_from(string_member(j, "level"));
  for (const json& g : array_member(j, "groups", static_cast<std::size_t>(size))) {
    Group group;
    group.ranks = ints_from(g, "ranks", size);
    if (group.ranks.empty()) throw Malformed{"an empty group"};
    std::sort(group.ranks.begin(), group.ranks.end());
    group.leader =
        g.contains("leader") ? static_cast<int>(int_member(g, "leader", 0, size - 1)) : group.ranks.front();
    level.groups.push_back(std::move(group));
  }
  std::sort(level.groups.begin(), level.groups.end(),
            [](const Group& a, const Group& b) { return a.ranks.front() < b.ranks.front(); });
  return level;
}

Partition colors_of(const LevelGroups& level, int size) {
  Partition p(static_cast<std::size_t>(size), 0);
  for (std::size_t g = 0; g < level.groups.size(); ++g)
    for (const int rank : level.groups[g].ranks) p[static_cast<std::size_t>(rank)] = static_cast<int>(g);
  return partition_by(p);
}

// For files without colours; see hierarchy_from_json.
void derive_colors(Hierarchy& h) {
  std::vector<int> each_alone(static_cast<std::size_t>(h.size));
  for (int rank = 0; rank < h.size; ++rank) each_alone[static_cast<std::size_t>(rank)] = rank;
  bool below_all = true;
  for (int l = 0; l < level_count; ++l) {
    const auto level = static_cast<Level>(l);
    const LevelGroups* listed = h.find(level);
    below_all = below_all && listed == nullptr;
    for (int wider = l + 1; !listed && !below_all && wider < level_count; ++wider)
      listed = h.find(static_cast<Level>(wider));
    h.colors[static_cast<std::size_t>(l)] = listed ? colors_of(*listed, h.size) : each_alone;
  }
}

Hierarchy hierarchy_from(const json& j) {
  const std::int64_t v = int_member(j, "libcoll_hierarchy", 0, 1 << 30);
  if (v != 1) throw Malformed{fmt::format("version {} of the format, this library reads 1", v)};
  Hierarchy h;
  h.size = static_cast<int>(int_member(j, "size", 1, max_ranks));
  const json& levels = array_member(j, "levels", level_count);
  // A short file must not make a large allocation: the ranks have to be there.
  if (!levels.empty()) {
    std::size_t ranks = 0;
    for (const json& g : array_member(levels[0], "groups", static_cast<std::size_t>(h.size)))
      ranks += array_member(g, "ranks", static_cast<std::size_t>(h.size)).size();
    if (ranks != static_cast<std::size_t>(h.size))
      throw Malformed{"the first level does not hold every rank once"};
  } else if (h.size > 65536) {
    throw Malformed{"no levels"};
  }
  for (const json& level : levels) h.levels.push_back(level_groups_from(level, h.size));
  if (h.levels.empty() || h.levels.back().level != Level::world) {
    Group all;
    for (int rank = 0; rank < h.size; ++rank) all.ranks.push_back(rank);
    h.levels.push_back({Level::world, {std::move(all)}});
  }
  if (!j.contains("colors")) {
    derive_colors(h);
    return h;
  }
  for (int l = 0; l < level_count; ++l)
    h.colors[static_cast<std::size_t>(l)] =
        ints_from(member(j, "colors"), name_of(static_cast<Level>(l)), h.size);
  return h;
}

}  // namespace

std::string to_json(const Hierarchy& h) {
  json colors = json::object();
  for (int l = 0; l < level_count; ++l)
    colors[name_of(static_cast<Level>(l))] = h.colors[static_cast<std::size_t>(l)];
  return dump_json({{"libcoll_hierarchy", 1},
                    {"size", h.size},
                    {"levels", levels_to_json(h.levels)},
                    {"colors", std::move(colors)}});
}

detail::Result<Hierarchy> hierarchy_from_json(std::string_view text) {
  try {
    Hierarchy h = hierarchy_from(parse_json(text));
    if (auto ok = validate(h); !ok) return tl::make_unexpected(ok.error());
    return h;
  } catch (const Malformed& e) {
    return detail::failure(Errc::invalid_argument, "hierarchy JSON: " + e.what);
  }
}

Topology make_topology(const Fabric& f, const Hierarchy& h) {
  Topology t;
  for (const Host& host : f.hosts)
    t.hosts.push_back({host.name, host.ranks, host.usable_cpus, host.oversubscribed});
  t.levels = h.levels;
  t.text = describe(f, h);
  return t;
}

}  // namespace libcoll::topo

namespace libcoll {

std::string Topology::to_json() const {
  using nlohmann::json;
  json out_hosts = json::array();
  for (const TopologyHost& h : hosts)
    out_hosts.push_back({{"name", h.name},
                         {"ranks", h.ranks},
                         {"usable_cpus", h.usable_cpus},
                         {"oversubscribed", h.oversubscribed}});
  return topo::dump_json(
      {{"libcoll_topology", 1}, {"hosts", std::move(out_hosts)}, {"levels", topo::levels_to_json(levels)}});
}

}  // namespace libcoll
