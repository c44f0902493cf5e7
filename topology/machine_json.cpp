// JSON of a Machine. The format carries a version: files outlive the library that wrote them.
#include <fmt/format.h>

#include "topology/json_reader.hpp"
#include "topology/machine.hpp"

namespace libcoll::topo {
namespace {

using nlohmann::json;
constexpr int version = 1;
constexpr std::size_t max_nodes = 100000, max_edges = 400000;
constexpr auto most_mb_per_s = static_cast<std::int64_t>(max_mb_per_s);
// All CPU sets together: "0-65535" is seven characters and 8 KiB, so a small file could ask for much.
constexpr std::size_t max_words = 8u << 20;
constexpr std::int64_t most_bytes = std::int64_t{1} << 60;

json node_to_json(const Node& n) {
  json j{{"kind", name_of(n.kind)}, {"parent", n.parent}, {"cpus", n.cpus.to_list()}};
  if (n.os_index >= 0) j["os_index"] = n.os_index;
  if (n.key >= 0) j["key"] = n.key;
  if (n.bytes != 0) j["bytes"] = n.bytes;
  if (!n.name.empty()) j["name"] = n.name;
  if (!n.bus_id.empty()) j["bus_id"] = n.bus_id;
  if (n.mb_per_s != 0) j["mb_per_s"] = n.mb_per_s;
  if (n.functions != 1) j["functions"] = n.functions;
  if (n.links_elsewhere != 0) j["links_elsewhere"] = n.links_elsewhere;
  if (!n.uuid.empty()) j["uuid"] = n.uuid;
  if (n.is_mig) j["mig"] = true;
  if (!n.fabric.cluster.empty())
    j["fabric"] = {
        {"cluster", n.fabric.cluster}, {"clique", n.fabric.clique}, {"healthy", n.fabric.is_healthy}};
  return j;
}

json edge_to_json(const Edge& e) {
  json j{{"kind", name_of(e.kind)}, {"a", e.a}, {"b", e.b}};
  if (e.links != 0) j["links"] = e.links;
  if (e.mb_per_s != 0) j["mb_per_s"] = e.mb_per_s;
  if (e.path != PathClass::unknown) j["path"] = name_of(e.path);
  return j;
}

bool bool_member(const json& j, const char* key) {
  const json& b = member(j, key);
  if (!b.is_boolean()) throw Malformed{fmt::format("'{}' must be true or false", key)};
  return b.get<bool>();
}

template <class Kind>
Kind kind_from(const std::string& name, int count, const char* of_what) {
  for (int i = 0; i < count; ++i)
    if (name == name_of(static_cast<Kind>(i))) return static_cast<Kind>(i);
  throw Malformed{fmt::format("unknown kind of {} '{}'", of_what, name.substr(0, 40))};
}

void read_device_members(const json& j, Node& n) {
  if (j.contains("bus_id")) n.bus_id = string_member(j, "bus_id", 64);
  if (j.contains("mb_per_s"))
    n.mb_per_s = static_cast<std::uint64_t>(int_member(j, "mb_per_s", 0, most_mb_per_s));
  if (j.contains("functions")) n.functions = static_cast<int>(int_member(j, "functions", 1, max_functions));
  if (j.contains("links_elsewhere"))
    n.links_elsewhere = static_cast<int>(int_member(j, "links_elsewhere", 0, max_links));
  if (j.contains("uuid")) n.uuid = string_member(j, "uuid", 96);
  if (j.contains("mig")) n.is_mig = bool_member(j, "mig");
  if (!j.contains("fabric")) return;
  const json& f = member(j, "fabric");
  n.fabric = {.cluster = string_member(f, "cluster", 256),
              .clique = static_cast<std::uint32_t>(int_member(f, "clique", 0, 0xffffffff)),
              .is_healthy = bool_member(f, "healthy")};
  if (n.fabric.cluster.empty()) throw Malformed{"a fabric without cluster"};
}

Edge edge_from_json(const json& j, std::size_t nodes) {
  const auto last = static_cast<std::int64_t>(nodes) - 1;
  Edge e;
  e.kind = kind_from<EdgeKind>(string_member(j, "kind"), edge_kind_count, "edge");
  e.a = static_cast<int>(int_member(j, "a", 0, last));
  e.b = static_cast<int>(int_member(j, "b", 0, last));
  if (j.contains("links")) e.links = static_cast<int>(int_member(j, "links", 0, max_links));
  if (j.contains("mb_per_s"))
    e.mb_per_s = static_cast<std::uint64_t>(int_member(j, "mb_per_s", 0, most_mb_per_s));
  if (j.contains("path")) e.path = kind_from<PathClass>(string_member(j, "path"), path_class_count, "path");
  return e;
}

Node node_from_json(const json& j, std::size_t index) {
  Node n;
  n.kind = kind_from<NodeKind>(string_member(j, "kind"), node_kind_count, "node");
  n.parent = static_cast<int>(int_member(j, "parent", -1, static_cast<std::int64_t>(index) - 1));
  auto cpus = CpuSet::from_list(string_member(j, "cpus", 1u << 20));
  if (!cpus) throw Malformed{cpus.error().text};
  n.cpus = std::move(*cpus);
  if (j.contains("os_index")) n.os_index = static_cast<int>(int_member(j, "os_index", 0, 1 << 30));
  if (j.contains("key")) n.key = static_cast<int>(int_member(j, "key", 0, CpuSet::max_cpus - 1));
  if (j.contains("bytes")) n.bytes = static_cast<std::uint64_t>(int_member(j, "bytes", 0, most_bytes));
  if (j.contains("name")) n.name = string_member(j, "name");
  read_device_members(j, n);
  return n;
}

Machine machine_from(const json& j) {
  const std::int64_t v = int_member(j, "libcoll_machine", 0, 1 << 30);
  if (v != version)
    throw Malformed{fmt::format("version {} of the format, this library reads {}", v, version)};
  Machine m;
  m.architecture = string_member(j, "architecture");
  m.line_bytes = static_cast<std::uint32_t>(int_member(j, "line_bytes", 8, 4096));
  if ((m.line_bytes & (m.line_bytes - 1)) != 0) throw Malformed{"'line_bytes' must be a power of two"};
  m.l2_bytes = static_cast<std::uint64_t>(int_member(j, "l2_bytes", 0, most_bytes));
  m.l3_bytes = static_cast<std::uint64_t>(int_member(j, "l3_bytes", 0, most_bytes));
  std::size_t words = 0;
  for (const json& n : array_member(j, "nodes", max_nodes)) {
    m.nodes.push_back(node_from_json(n, m.nodes.size()));
    words += m.nodes.back().cpus.words().size();
    if (words > max_words) throw Malformed{"too many CPUs in too many nodes"};
  }
  // The device side is optional: the hosts of most ranks have none, and older files lack it.
  if (j.contains("edges"))
    for (const json& e : array_member(j, "edges", max_edges))
      m.edges.push_back(edge_from_json(e, m.nodes.size()));
  if (j.contains("host")) m.host = string_member(j, "host");
  if (j.contains("knows_nvlinks")) m.knows_nvlinks = bool_member(j, "knows_nvlinks");
  for (const json& n : array_member(j, "notes", 4000)) {
    if (!n.is_string()) throw Malformed{"'notes' must hold strings"};
    m.notes.push_back(n.get<std::string>());
  }
  return m;
}

}  // namespace

std::string to_json(const Machine& m) {
  json nodes = json::array();
  for (const Node& n : m.nodes) nodes.push_back(node_to_json(n));
  json j{{"libcoll_machine", version},
         {"architecture", m.architecture},
         {"line_bytes", m.line_bytes},
         {"l2_bytes", m.l2_bytes},
         {"l3_bytes", m.l3_bytes},
         {"nodes", std::move(nodes)},
         {"notes", m.notes}};
  for (const Edge& e : m.edges) j["edges"].push_back(edge_to_json(e));
  if (!m.host.empty()) j["host"] = m.host;
  if (m.knows_nvlinks) j["knows_nvlinks"] = true;
  return dump_json(j);
}

detail::Result<Machine> machine_from_json(std::string_view text) {
  try {
    Machine m = machine_from(parse_json(text));
    if (auto ok = validate(m); !ok) return tl::make_unexpected(ok.error());
    return m;
  } catch (const Malformed& e) {
    return detail::failure(Errc::invalid_argument, "machine JSON: " + e.what);
  }
}

}  // namespace libcoll::topo
