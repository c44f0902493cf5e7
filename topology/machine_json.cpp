// JSON of a Machine. The format carries a version: files outlive the library that wrote them.
#include <fmt/format.h>

#include "topology/json_reader.hpp"
#include "topology/machine.hpp"

namespace libcoll::topo {
namespace {

using nlohmann::json;
constexpr int version = 1;
constexpr std::size_t max_nodes = 100000;
// All CPU sets together: "0-65535" is seven characters and 8 KiB, so a small file could ask for much.
constexpr std::size_t max_words = 8u << 20;
constexpr std::int64_t most_bytes = std::int64_t{1} << 60;

json node_to_json(const Node& n) {
  json j{{"kind", name_of(n.kind)}, {"parent", n.parent}, {"cpus", n.cpus.to_list()}};
  if (n.os_index >= 0) j["os_index"] = n.os_index;
  if (n.key >= 0) j["key"] = n.key;
  if (n.bytes != 0) j["bytes"] = n.bytes;
  if (!n.name.empty()) j["name"] = n.name;
  return j;
}

NodeKind kind_from(const std::string& name) {
  for (int i = 0; i < node_kind_count; ++i)
    if (name == name_of(static_cast<NodeKind>(i))) return static_cast<NodeKind>(i);
  throw Malformed{fmt::format("unknown kind of node '{}'", name.substr(0, 40))};
}

Node node_from_json(const json& j, std::size_t index) {
  Node n;
  n.kind = kind_from(string_member(j, "kind"));
  n.parent = static_cast<int>(int_member(j, "parent", -1, static_cast<std::int64_t>(index) - 1));
  auto cpus = CpuSet::from_list(string_member(j, "cpus", 1u << 20));
  if (!cpus) throw Malformed{cpus.error().text};
  n.cpus = std::move(*cpus);
  if (j.contains("os_index")) n.os_index = static_cast<int>(int_member(j, "os_index", 0, 1 << 30));
  if (j.contains("key")) n.key = static_cast<int>(int_member(j, "key", 0, CpuSet::max_cpus - 1));
  if (j.contains("bytes")) n.bytes = static_cast<std::uint64_t>(int_member(j, "bytes", 0, most_bytes));
  if (j.contains("name")) n.name = string_member(j, "name");
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
  for (const json& n : array_member(j, "notes", 1000)) {
    if (!n.is_string()) throw Malformed{"'notes' must hold strings"};
    m.notes.push_back(n.get<std::string>());
  }
  return m;
}

}  // namespace

std::string to_json(const Machine& m) {
  json nodes = json::array();
  for (const Node& n : m.nodes) nodes.push_back(node_to_json(n));
  return dump_json({{"libcoll_machine", version},
                    {"architecture", m.architecture},
                    {"line_bytes", m.line_bytes},
                    {"l2_bytes", m.l2_bytes},
                    {"l3_bytes", m.l3_bytes},
                    {"nodes", std::move(nodes)},
                    {"notes", m.notes}});
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
