#include "topology/override.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <tuple>

#include "topology/devices.hpp"
#include "topology/import.hpp"
#include "topology/json_reader.hpp"
#include "topology/override_parts.hpp"
#include "topology/text_tree.hpp"

namespace libcoll::topo {
namespace {

using nlohmann::json;

std::size_t at(int i) { return static_cast<std::size_t>(i); }

// Puts the devices of one machine into another.
class Transplant {
 public:
  Transplant(const Machine& probed, const Machine& file) : probed_(probed), file_(file) {}

  Machine run() {
    m_ = probed_;
    m_.nodes.clear();
    m_.edges.clear();
    std::vector<int> moved(probed_.nodes.size(), -1);
    for (std::size_t i = 0; i < probed_.nodes.size(); ++i) {
      if (is_device(probed_.nodes[i].kind)) continue;
      moved[i] = static_cast<int>(m_.nodes.size());
      Node& n = m_.nodes.emplace_back(probed_.nodes[i]);
      if (n.parent >= 0) n.parent = moved[at(n.parent)];
    }
    for (std::size_t i = 0; i < file_.nodes.size(); ++i) node_of_.push_back(place_of(static_cast<int>(i)));
    add_edges();
    m_.knows_nvlinks = file_.knows_nvlinks;
    m_.notes.insert(m_.notes.end(), file_.notes.begin(), file_.notes.end());
    return std::move(m_);
  }

 private:
  // Of a device its copy, of a part of a CPU the one of that number here, else the machine.
  int place_of(int i) {
    const Node& n = file_.nodes[at(i)];
    if (is_device(n.kind)) {
      Node copy = n;
      copy.parent = node_of_[at(n.parent)];
      m_.nodes.push_back(std::move(copy));
      return static_cast<int>(m_.nodes.size()) - 1;
    }
    if (n.kind == NodeKind::numa || n.kind == NodeKind::package)
      for (std::size_t k = 0; k < m_.nodes.size(); ++k)
        if (m_.nodes[k].kind == n.kind && m_.label(static_cast<int>(k)) == file_.label(i)) return static_cast<int>(k);
    return n.parent >= 0 ? node_of_[at(n.parent)] : 0;
  }

  void add_edges() {
    std::set<std::tuple<EdgeKind, int, int>> seen;
    for (Edge e : file_.edges) {
      const auto [low, high] = std::minmax({node_of_[at(e.a)], node_of_[at(e.b)]});
      e.a = low;
      e.b = high;
      // A CPU that this machine has not cannot be an end.
      if (low != 0 && low != high && seen.emplace(e.kind, low, high).second) m_.edges.push_back(e);
    }
  }

  const Machine &probed_, &file_;
  Machine m_;
  std::vector<int> node_of_;  // by node of the file
};

std::vector<int> gpus_by_number(const Machine& m) {
  std::vector<int> all;
  for (std::size_t i = 0; i < m.nodes.size(); ++i)
    if (m.nodes[i].kind == NodeKind::gpu) all.push_back(static_cast<int>(i));
  std::stable_sort(all.begin(), all.end(), [&](int a, int b) { return m.label(a) < m.label(b); });
  return all;
}

// Some files name no addresses (nvidia-smi), most no UUIDs; the host's own GPUs have both.
void borrow_identities(Machine& m, const Machine& probed) {
  const std::vector<int> own = gpus_by_number(m), seen = gpus_by_number(probed);
  const bool has_addresses = std::any_of(own.begin(), own.end(), [&](int g) { return !m.nodes[at(g)].bus_id.empty(); });
  if (!has_addresses && !own.empty()) {
    if (own.size() == seen.size()) {
      for (std::size_t i = 0; i < own.size(); ++i) m.nodes[at(own[i])].bus_id = probed.nodes[at(seen[i])].bus_id;
      m.notes.push_back("LIBCOLL_TOPOLOGY names no PCI addresses: its GPUs count as this host's, in their order");
    } else {
      m.notes.push_back(fmt::format("LIBCOLL_TOPOLOGY names no PCI addresses and shows {}, this host {}: nobody finds its GPU among them",
                                    plural(static_cast<long long>(own.size()), "GPU", "GPUs"), seen.size()));
    }
  }
  for (const int g : own)
    for (const int s : seen) {
      Node& to = m.nodes[at(g)];
      const Node& from = probed.nodes[at(s)];
      if (!to.uuid.empty() || !parse_pci_address(to.bus_id) || parse_pci_address(to.bus_id) != parse_pci_address(from.bus_id)) continue;
      to.uuid = from.uuid;
      to.is_mig = to.is_mig || from.is_mig;
    }
}

Machine replace(const Machine& probed, std::string_view text) {
  auto machines = import_topology(text);
  if (!machines) throw Malformed{machines.error().text};
  std::size_t chosen = 0;
  if (machines->size() > 1) {
    std::string names;
    while (chosen < machines->size() && (*machines)[chosen].host != probed.host) {
      if (names.size() < 400) names.append(" ").append(printable((*machines)[chosen].host));
      ++chosen;
    }
    if (chosen == machines->size())
      throw Malformed{fmt::format("it shows {} hosts, none of them named \"{}\":{}", machines->size(), printable(probed.host), names)};
  }
  const Machine& file = (*machines)[chosen];
  Machine m = file.count(NodeKind::pu) == 0 ? Transplant(probed, file).run() : file;
  m.host = probed.host;
  borrow_identities(m, probed);
  m.notes.push_back(file.count(NodeKind::pu) == 0 ? "LIBCOLL_TOPOLOGY replaces the devices" : "LIBCOLL_TOPOLOGY replaces the machine");
  return m;
}

bool starts_with(std::string_view text, std::string_view any_of) {
  const std::size_t start = text.find_first_not_of(" \t\r\n");
  return start != std::string_view::npos && any_of.find(text[start]) != std::string_view::npos;
}

}  // namespace

detail::Result<Machine> apply_topology(const Machine& probed, std::string_view text) {
  try {
    Machine m;
    if (starts_with(text, "{")) {
      const json j = parse_json(text);
      m = is_override(j) ? override_parts(probed, j) : replace(probed, text);
    } else {
      m = replace(probed, text);
    }
    if (auto ok = validate(m); !ok) return tl::make_unexpected(ok.error());
    return m;
  } catch (const Malformed& e) {
    return detail::failure(Errc::invalid_argument, e.what);
  }
}

bool wants_probed_devices(std::string_view text) {
  if (starts_with(text, "<[")) return false;
  if (!starts_with(text, "{")) return true;  // nvidia-smi's
  const json j = json::parse(text, nullptr, false);
  return !j.is_discarded() && is_override(j);
}

}  // namespace libcoll::topo
