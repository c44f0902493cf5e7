// GpuFabric as text and as JSON.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "topology/cpuset.hpp"
#include "topology/gpu_fabric.hpp"
#include "topology/json_reader.hpp"
#include "topology/text_tree.hpp"

namespace libcoll::topo {
namespace {

constexpr std::size_t most_lines = 32;  // of one kind: jobs have thousands of islands

// In the order given where that is not ascending.
std::string ranks_text(const std::vector<int>& ranks) {
  std::string all;
  if (std::is_sorted(ranks.begin(), ranks.end())) all = format_ranges(ranks);
  else
    for (const int r : ranks) all += fmt::format("{}{}", all.empty() ? "" : ",", r);
  return (ranks.size() == 1 ? "rank " : "ranks ") + all;
}

std::string nic_text(const GpuFabric& f, std::span<const GpuRecord> records, int rank) {
  const auto r = static_cast<std::size_t>(rank);
  const int k = f.nic_of[r];
  if (k < 0) return "";
  const GpuRecord::Nic& nic = records[r].nic[k];
  const std::string name(nic.name, std::find(nic.name, std::end(nic.name), '\0'));
  return fmt::format(" by {} ({})", name.empty() ? "NIC at " + unpack_bus(nic.bus) : name, name_of(static_cast<PathClass>(nic.path)));
}

void add_lines(TextTree& t, std::vector<TextTree> lines) {
  const std::size_t all = lines.size();
  if (all > most_lines) lines.resize(most_lines);
  for (TextTree& line : lines) t.children.push_back(std::move(line));
  if (all > most_lines) t.children.push_back({fmt::format("and {} more", all - most_lines), {}});
}

TextTree islands_tree(const GpuFabric& f) {
  const int bare = static_cast<int>(f.without_gpu.size());
  TextTree t{fmt::format("{} with {}, {}", plural(f.size - bare, "rank", "ranks"), f.size - bare == 1 ? "a GPU" : "GPUs",
                         plural(static_cast<long long>(f.islands.size()), "island", "islands")),
             {}};
  std::vector<TextTree> lines;
  for (std::size_t i = 0; i < f.islands.size(); ++i)
    lines.push_back({fmt::format("island {}: {}{}", i, ranks_text(f.islands[i]),
                                 f.islands[i].size() == 1 ? "" : fmt::format(", led by rank {}", f.leaders[i])),
                     {}});
  add_lines(t, std::move(lines));
  return t;
}

TextTree bridges_tree(const GpuFabric& f) {
  TextTree t{"bridges", {}};
  std::vector<TextTree> lines;
  for (const Bridge& b : f.bridges) {
    const std::string count = b.links != 0 ? plural(b.links, "link", "links") : fmt::format("{} MB/s", b.mb_per_s);
    lines.push_back({fmt::format("rank {} - rank {}: {}", b.a, b.b, count), {}});
  }
  add_lines(t, std::move(lines));
  return t;
}

TextTree rails_tree(const GpuFabric& f, std::span<const GpuRecord> records) {
  TextTree t{"rails", {}};
  std::vector<TextTree> lines;
  for (std::size_t r = 0; r < f.rails.size(); ++r) {
    // Neighbours by NICs of one name are one phrase.
    std::vector<std::pair<std::string, std::vector<int>>> by_nic;
    for (const int rank : f.rails[r]) {
      const std::string nic = nic_text(f, records, rank);
      if (by_nic.empty() || by_nic.back().first != nic) by_nic.push_back({nic, {}});
      by_nic.back().second.push_back(rank);
    }
    TextTree rail{fmt::format("rail {}", r), {}};
    std::vector<TextTree> members;
    for (const auto& [nic, ranks] : by_nic) members.push_back({ranks_text(ranks) + nic, {}});
    if (members.size() == 1) rail.text += ": " + members[0].text;
    else add_lines(rail, std::move(members));
    lines.push_back(std::move(rail));
  }
  add_lines(t, std::move(lines));
  return t;
}

}  // namespace

std::string describe(const GpuFabric& f, std::span<const GpuRecord> records) {
  std::string out = draw(islands_tree(f));
  if (!f.bridges.empty()) out += draw(bridges_tree(f));
  if (!f.rails.empty()) out += draw(rails_tree(f, records));
  TextTree others{"in no island", {}};
  const auto tell = [&](const char* what, const std::vector<int>& ranks) {
    if (!ranks.empty()) others.children.push_back({fmt::format("{}: {}", what, ranks_text(ranks)), {}});
  };
  tell("demoted", f.demoted);
  tell("NVLinks unknown", f.unknown);
  tell("slices of GPUs (MIG)", f.mig);
  tell("without a GPU", f.without_gpu);
  for (const auto& ranks : f.shared) tell("on one GPU, the first for all", ranks);
  if (!others.children.empty()) out += draw(others);
  TextTree notes{"to note", {}};
  for (const std::string& text : f.reports) notes.children.push_back({text, {}});
  return notes.children.empty() ? out : out + draw(notes);
}

std::string to_json(const GpuFabric& f, std::span<const GpuRecord> records) {
  using nlohmann::ordered_json;
  ordered_json islands = ordered_json::array(), bridges = ordered_json::array(), gpus = ordered_json::array();
  for (std::size_t i = 0; i < f.islands.size(); ++i) islands.push_back({{"ranks", f.islands[i]}, {"leader", f.leaders[i]}});
  for (const Bridge& b : f.bridges)
    bridges.push_back({{"a", b.a}, {"b", b.b}, {"links", b.links}, {"mb_per_s", b.mb_per_s}});
  for (int rank = 0; rank < f.size; ++rank) {
    const GpuRecord& r = records[static_cast<std::size_t>(rank)];
    ordered_json gpu{{"rank", rank}, {"bus_id", unpack_bus(r.bus)}};
    if (const int k = f.nic_of[static_cast<std::size_t>(rank)]; k >= 0)
      gpu["nic"] = {{"name", std::string(r.nic[k].name, std::find(r.nic[k].name, std::end(r.nic[k].name), '\0'))},
                    {"bus_id", unpack_bus(r.nic[k].bus)},
                    {"path", name_of(static_cast<PathClass>(r.nic[k].path))}};
    gpus.push_back(std::move(gpu));
  }
  const ordered_json j{{"size", f.size},       {"islands", islands},         {"bridges", bridges}, {"rails", f.rails},
                       {"full_rails", f.full_rails}, {"demoted", f.demoted},       {"unknown", f.unknown}, {"mig", f.mig},
                       {"without_gpu", f.without_gpu}, {"shared", f.shared},   {"gpus", gpus},       {"reports", f.reports}};
  return j.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace libcoll::topo
