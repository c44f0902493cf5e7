#include "topology/override_parts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <set>
#include <string>

#include "topology/devices.hpp"
#include "topology/json_reader.hpp"

namespace libcoll::topo {
namespace {

using nlohmann::json;
constexpr int version = 1;
constexpr std::size_t max_entries = 4096;

std::size_t at(int i) { return static_cast<std::size_t>(i); }
std::string quoted(const json& j) { return printable(j.dump(-1, ' ', true, json::error_handler_t::replace)); }
// "override.nvlinks[2]"
std::string path_of(const char* list, std::size_t i) { return fmt::format("override.{}[{}]", list, i); }

void require_keys(const json& j, const std::string& where, std::initializer_list<std::string_view> known) {
  if (!j.is_object()) throw Malformed{fmt::format("{}: expected an object, not {}", where, quoted(j))};
  for (const auto& [key, value] : j.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    std::string all;
    for (const std::string_view k : known) all += fmt::format(" {}", k);
    throw Malformed{fmt::format("{}: there is no key \"{}\" (value {}); one of:{}", where, printable(key), quoted(value), all)};
  }
}

const json& list_in(const json& j, const std::string& where, const char* key, std::size_t least) {
  const json& list = j.at(key);
  if (!list.is_array() || list.size() < least || list.size() > max_entries)
    throw Malformed{fmt::format("{}.{}: expected a list of {} to {} entries, not {}", where, key, least, max_entries, quoted(list))};
  return list;
}

// A number that may be left out.
std::int64_t number_in(const json& j, const std::string& where, const char* key, std::int64_t most, std::int64_t otherwise) {
  if (!j.contains(key)) return otherwise;
  const json& n = j.at(key);
  const bool is_good = n.is_number_unsigned() && n.get<std::uint64_t>() <= static_cast<std::uint64_t>(most);
  if (!is_good) throw Malformed{fmt::format("{}.{}: expected an integer from 0 to {}, not {}", where, key, most, quoted(n))};
  return static_cast<std::int64_t>(n.get<std::uint64_t>());
}

class Override {
 public:
  explicit Override(const Machine& probed) : m_(probed) {}

  Machine run(const json& j) {
    require_keys(j, "the file", {"libcoll_topology", "override"});
    if (!j.contains("libcoll_topology") || j.at("libcoll_topology") != version)
      throw Malformed{fmt::format("libcoll_topology: expected {}, the version of the format, not {}", version,
                                  j.contains("libcoll_topology") ? quoted(j.at("libcoll_topology")) : "nothing")};
    if (!j.contains("override")) throw Malformed{"override: missing"};
    const json& o = j.at("override");
    require_keys(o, "override", {"hosts", "nvlinks", "islands", "nics"});
    const bool is_meant = o.contains("hosts") ? names_this_host(o) : true;
    if (o.contains("nvlinks")) check_each(o, "nvlinks", {"a", "b", "links", "mb_per_s"});
    if (o.contains("nics")) check_each(o, "nics", {"gpu", "nic"});
    if (o.contains("islands")) list_in(o, "override", "islands", 0);
    if (!is_meant) return std::move(m_);
    if (o.contains("nvlinks")) set_links(o.at("nvlinks"));
    if (o.contains("islands")) set_islands(o.at("islands"));
    if (o.contains("nics")) set_nics(o.at("nics"));
    return std::move(m_);
  }

 private:
  struct Sum {
    int links = 0;
    std::uint64_t mb_per_s = 0;
    bool is_none() const { return links == 0 && mb_per_s == 0; }
  };
  static bool fewer(const Sum& x, const Sum& y) { return std::pair(x.mb_per_s, x.links) < std::pair(y.mb_per_s, y.links); }

  bool names_this_host(const json& o) const {
    bool found = false;
    for (const json& name : list_in(o, "override", "hosts", 1)) {
      if (!name.is_string()) throw Malformed{fmt::format("override.hosts: expected names of hosts, not {}", quoted(name))};
      found = found || name.get<std::string>() == m_.host;
    }
    return found;
  }

  static void check_each(const json& o, const char* key, std::initializer_list<std::string_view> known) {
    const json& list = list_in(o, "override", key, 0);
    for (std::size_t i = 0; i < list.size(); ++i) require_keys(list[i], path_of(key, i), known);
  }

  int find_gpu(const json& id, const std::string& where) const {
    if (!id.is_string()) throw Malformed{fmt::format("{}: expected the PCI address of a GPU, not {}", where, quoted(id))};
    const auto address = parse_pci_address(id.get<std::string>());
    std::string known;
    for (std::size_t i = 0; i < m_.nodes.size(); ++i) {
      if (m_.nodes[i].kind != NodeKind::gpu) continue;
      if (address && parse_pci_address(m_.nodes[i].bus_id) == address) return static_cast<int>(i);
      if (known.size() < 400) known.append(" ").append(m_.nodes[i].bus_id.empty() ? "(one without address)" : m_.nodes[i].bus_id);
    }
    throw Malformed{fmt::format("{}: this machine has no GPU {}; {}", where, quoted(id), known.empty() ? "it shows none" : "it has:" + known)};
  }

  int gpu_in(const json& j, const std::string& where, const char* key) const {
    if (!j.contains(key)) throw Malformed{fmt::format("{}.{}: missing", where, key)};
    return find_gpu(j.at(key), fmt::format("{}.{}", where, key));
  }

  int nic_in(const json& j, const std::string& where) const {
    if (!j.contains("nic") || !j.at("nic").is_string()) throw Malformed{where + ".nic: expected the name or the PCI address of a NIC"};
    const std::string id = j.at("nic").get<std::string>();
    const auto address = parse_pci_address(id);
    std::string known;
    for (std::size_t i = 0; i < m_.nodes.size(); ++i) {
      const Node& n = m_.nodes[i];
      if (n.kind != NodeKind::nic) continue;
      if ((!id.empty() && n.name == id) || (address && parse_pci_address(n.bus_id) == address)) return static_cast<int>(i);
      if (known.size() < 400) known.append(" ").append(n.name.empty() ? n.bus_id : n.name);
    }
    throw Malformed{fmt::format("{}.nic: this machine has no NIC {}; {}", where, quoted(j.at("nic")), known.empty() ? "it shows none" : "it has:" + known)};
  }

  // Of one NVLink, as the machine's others run; 0 = unknown.
  std::uint64_t usual_rate() const {
    std::uint64_t most = 0;
    for (const Edge& e : m_.edges)
      if (e.kind == EdgeKind::nvlink) most = std::max(most, e.mb_per_s / static_cast<std::uint64_t>(std::max(e.links, 1)));
    return most;
  }

  void put_link(int a, int b, const Sum& sum) {
    const auto [low, high] = std::minmax(a, b);
    std::erase_if(m_.edges, [low = low, high = high](const Edge& e) { return e.kind == EdgeKind::nvlink && e.a == low && e.b == high; });
    if (sum.is_none()) return;
    m_.edges.push_back({.kind = EdgeKind::nvlink, .a = low, .b = high, .links = sum.links,
                        .mb_per_s = std::min(sum.mb_per_s, max_mb_per_s), .path = PathClass::unknown});
  }

  // Who names NVLinks knows them: what is not named is not there.
  void know_links(const std::string& what) {
    if (!m_.knows_nvlinks) m_.notes.push_back("NVLinks were unknown: LIBCOLL_TOPOLOGY counts as telling all of them");
    m_.knows_nvlinks = true;
    m_.notes.push_back("LIBCOLL_TOPOLOGY " + what);
  }

  void set_links(const json& list) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string where = path_of("nvlinks", i);
      const int a = gpu_in(list[i], where, "a"), b = gpu_in(list[i], where, "b");
      if (a == b) throw Malformed{fmt::format("{}: a and b are one GPU, {}", where, quoted(list[i].at("a")))};
      if (!list[i].contains("links")) throw Malformed{where + ".links: missing; 0 removes the links"};
      const auto links = number_in(list[i], where, "links", max_links, 0);
      const auto by_default = static_cast<std::int64_t>(usual_rate()) * links;
      const auto speed = number_in(list[i], where, "mb_per_s", static_cast<std::int64_t>(max_mb_per_s), by_default);
      put_link(a, b, links == 0 ? Sum{} : Sum{static_cast<int>(links), static_cast<std::uint64_t>(speed)});
      know_links(fmt::format("sets the NVLinks between GPUs {} and {}: {}", m_.nodes[at(a)].bus_id, m_.nodes[at(b)].bus_id, links));
    }
    even_scales();
  }

  // Islands compare rates, or else counts: a mixture would compare one with the other.
  void even_scales() {
    bool has_all = true, has_some = false, has_counts = true;
    for (const Edge& e : m_.edges) {
      if (e.kind != EdgeKind::nvlink) continue;
      has_all = has_all && e.mb_per_s != 0;
      has_some = has_some || e.mb_per_s != 0;
      has_counts = has_counts && e.links != 0;
    }
    if (has_all || !has_some || !has_counts) return;
    for (Edge& e : m_.edges)
      if (e.kind == EdgeKind::nvlink) e.mb_per_s = 0;
    m_.notes.push_back("LIBCOLL_TOPOLOGY states the rate of some NVLinks only: all of them are compared by their number");
  }

  void set_islands(const json& list) {
    std::set<int> taken;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string where = path_of("islands", i);
      if (!list[i].is_array() || list[i].empty() || list[i].size() > max_entries)
        throw Malformed{fmt::format("{}: expected a list of PCI addresses, not {}", where, quoted(list[i]))};
      std::vector<int> gpus;
      std::string names;
      for (const json& id : list[i]) {
        gpus.push_back(find_gpu(id, where));
        if (!taken.insert(gpus.back()).second) throw Malformed{fmt::format("{}: GPU {} is in an island already", where, quoted(id))};
        names += (names.empty() ? "" : ", ") + m_.nodes[at(gpus.back())].bus_id;
      }
      make_island(gpus);
      know_links("makes an island of GPUs " + names);
    }
  }

  // As fast as the slowest pair was, or by one link. What led elsewhere leads elsewhere now: no lack of links.
  void make_island(const std::vector<int>& gpus) {
    const Sum each = slowest_pair(gpus);
    const std::set<int> members(gpus.begin(), gpus.end());
    // Where nobody had NVLinks, those that still have none are not short of any.
    if (std::none_of(m_.edges.begin(), m_.edges.end(), [](const Edge& e) { return e.kind == EdgeKind::nvlink; }))
      for (Node& n : m_.nodes)
        if (n.kind == NodeKind::gpu) n.links_elsewhere = std::max(n.links_elsewhere, 1);
    for (const Edge& e : m_.edges) {
      if (e.kind != EdgeKind::nvlink || members.contains(e.a) == members.contains(e.b)) continue;
      for (const int end : {e.a, e.b})
        if (Node& n = m_.nodes[at(end)]; n.kind == NodeKind::gpu) n.links_elsewhere = std::min(n.links_elsewhere + std::max(e.links, 1), max_links);
    }
    std::erase_if(m_.edges, [&](const Edge& e) {
      const auto leaves = [&](int node) { return !members.contains(node) && is_device(m_.nodes[at(node)].kind); };
      return e.kind == EdgeKind::nvlink && ((members.contains(e.a) && leaves(e.b)) || (members.contains(e.b) && leaves(e.a)));
    });
    for (std::size_t i = 0; i < gpus.size(); ++i) {
      Node& n = m_.nodes[at(gpus[i])];
      n.links_elsewhere = std::max(n.links_elsewhere, 1);
      for (std::size_t k = 0; k < i; ++k) put_link(gpus[i], gpus[k], each);
    }
  }

  Sum slowest_pair(const std::vector<int>& gpus) const {
    std::map<int, Sum> to_switches;
    std::map<std::pair<int, int>, Sum> direct;
    for (const Edge& e : m_.edges) {
      if (e.kind != EdgeKind::nvlink) continue;
      direct[{e.a, e.b}] = {e.links, e.mb_per_s};
      for (const int end : {e.a, e.b})
        if (m_.nodes[at(e.a + e.b - end)].kind == NodeKind::nvswitch) {
          to_switches[end].links += e.links;
          to_switches[end].mb_per_s += e.mb_per_s;
        }
    }
    Sum slowest;
    for (std::size_t i = 0; i < gpus.size(); ++i)
      for (std::size_t k = 0; k < i; ++k) {
        const Sum straight = direct[std::minmax(gpus[i], gpus[k])];
        const Sum through = std::min(to_switches[gpus[i]], to_switches[gpus[k]], fewer);
        const Sum best = std::max(straight, through, fewer);
        if (!best.is_none() && (slowest.is_none() || fewer(best, slowest))) slowest = best;
      }
    return slowest.is_none() ? Sum{1, usual_rate()} : Sum{std::min(slowest.links, max_links), std::min(slowest.mb_per_s, max_mb_per_s)};
  }

  void set_nics(const json& list) {
    std::set<int> done;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string where = path_of("nics", i);
      const int gpu = gpu_in(list[i], where, "gpu"), nic = nic_in(list[i], where);
      if (!done.insert(gpu).second) throw Malformed{fmt::format("{}: GPU {} has a NIC already", where, quoted(list[i].at("gpu")))};
      const auto [low, high] = std::minmax(gpu, nic);
      std::erase_if(m_.edges, [low = low, high = high](const Edge& e) { return e.kind == EdgeKind::pcie && e.a == low && e.b == high; });
      for (Edge& e : m_.edges)  // the nearest, and the only one at that
        if (e.kind == EdgeKind::pcie && (e.a == gpu || e.b == gpu) && m_.nodes[at(e.a + e.b - gpu)].kind == NodeKind::nic)
          e.path = std::max(e.path, PathClass::pxb);
      m_.edges.push_back({.kind = EdgeKind::pcie, .a = low, .b = high, .links = 0, .mb_per_s = 0, .path = PathClass::pix});
      m_.nodes[at(nic)].mb_per_s = usable_speed(nic);
      m_.notes.push_back(fmt::format("LIBCOLL_TOPOLOGY gives GPU {} the NIC {}", m_.nodes[at(gpu)].bus_id,
                                     m_.nodes[at(nic)].name.empty() ? m_.nodes[at(nic)].bus_id : m_.nodes[at(nic)].name));
    }
  }

  // Rails leave out slow NICs, but not those of unknown speed.
  std::uint64_t usable_speed(int nic) const {
    std::uint64_t fastest = 0;
    for (const Node& n : m_.nodes)
      if (n.kind == NodeKind::nic) fastest = std::max(fastest, n.mb_per_s);
    const std::uint64_t own = m_.nodes[at(nic)].mb_per_s;
    return own * 2 >= fastest ? own : 0;
  }

  Machine m_;
};

}  // namespace

bool is_override(const json& j) { return j.is_object() && (j.contains("override") || j.contains("libcoll_topology")); }

Machine override_parts(const Machine& probed, const json& j) { return Override(probed).run(j); }

}  // namespace libcoll::topo
