#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "topology/cpuset.hpp"
#include "topology/describe.hpp"
#include "topology/text_tree.hpp"

namespace libcoll::topo {
namespace {

class Describer {
 public:
  Describer(std::span<const Machine> machines, const Islands& islands, const Rails& rails)
      : machines_(machines), islands_(islands), rails_(rails) {}

  std::string run() const {
    std::string out = draw(islands()) + draw(bridges());
    if (const TextTree t = cpu_links(); !t.children.empty()) out += draw(t);
    out += draw(rails());
    if (!islands_.unknown.empty()) out += draw(unplaced("no island known", islands_.unknown));
    if (!islands_.demoted.empty()) out += draw(unplaced("demoted", islands_.demoted));
    return out + reports();
  }

 private:
  const Machine& machine(int host) const { return machines_[static_cast<std::size_t>(host)]; }
  GpuRef ref(int gpu) const { return islands_.gpus[static_cast<std::size_t>(gpu)]; }
  std::string name(int gpu) const { return gpu_name(machines_, ref(gpu)); }

  // "GPUs 0-3", host by host; hosts with the same numbers are one phrase.
  std::string names(const std::vector<int>& gpus) const {
    std::map<int, std::vector<int>> by_host;
    for (const int g : gpus) by_host[ref(g).host].push_back(machine(ref(g).host).label(ref(g).node));
    std::vector<std::pair<std::string, std::vector<int>>> phrases;
    for (auto& [host, labels] : by_host) {
      std::sort(labels.begin(), labels.end());
      const std::string text = (labels.size() == 1 ? "GPU " : "GPUs ") + format_ranges(labels);
      const auto same =
          std::find_if(phrases.begin(), phrases.end(), [&](const auto& p) { return p.first == text; });
      if (same != phrases.end())
        same->second.push_back(host);
      else
        phrases.push_back({text, {host}});
    }
    std::string all;
    for (const auto& [text, hosts] : phrases) {
      all += (all.empty() ? "" : ", ") + text;
      if (machines_.size() == 1) continue;
      all += hosts.size() > 2 ? fmt::format(" on each of {} hosts", hosts.size())
                              : " of " + host_name(machines_, hosts[0]);
      if (hosts.size() == 2) all += " and of " + host_name(machines_, hosts[1]);
    }
    return all;
  }

  // " by mlx5_0 (PIX, 50 GB/s)"; nothing where there is no NIC.
  std::string nic_text(int gpu) const {
    const NicChoice& c = rails_.nic_of[static_cast<std::size_t>(gpu)];
    if (c.nic < 0) return "";
    const Node& n = machine(ref(gpu).host).nodes[static_cast<std::size_t>(c.nic)];
    const std::string nic = !n.name.empty() ? n.name : !n.bus_id.empty() ? "NIC at " + n.bus_id : "NIC";
    const std::string speed = n.mb_per_s == 0 ? "" : fmt::format(", {} GB/s", gb(n.mb_per_s));
    return fmt::format(" by {} ({}{})", nic, name_of(c.path), speed);
  }

  static double gb(std::uint64_t mb) { return static_cast<double>(mb) / 1000; }

  static std::string link_text(int links, std::uint64_t mb_per_s) {
    std::string s = links != 0 ? plural(links, "link", "links") : "";
    if (mb_per_s != 0) s += fmt::format("{}{} GB/s", s.empty() ? "" : ", ", gb(mb_per_s));
    return s;
  }

  TextTree islands() const {
    TextTree t{
        fmt::format("{} on {}, {}", plural(static_cast<long long>(islands_.gpus.size()), "GPU", "GPUs"),
                    plural(static_cast<long long>(machines_.size()), "host", "hosts"),
                    plural(static_cast<long long>(islands_.islands.size()), "island", "islands")),
        {}};
    for (std::size_t i = 0; i < islands_.islands.size(); ++i) {
      const std::vector<int>& gpus = islands_.islands[i];
      const std::string leader = gpus.size() == 1 ? "" : ", led by " + name(rails_.leaders[i]);
      t.children.push_back({fmt::format("island {}: {}{}{}", i, names(gpus), per_gpu(gpus), leader), {}});
    }
    return t;
  }

  // What each of them has towards the others.
  std::string per_gpu(const std::vector<int>& gpus) const {
    if (gpus.size() == 1) return "";
    int fewest = max_links, most = 0;
    std::uint64_t lowest = UINT64_MAX, highest = 0;
    for (const int g : gpus) {
      const Edge all = sum_of(g, [&](const Edge& e, int other) {
        return e.kind == EdgeKind::nvlink &&
               (node(g, other).kind == NodeKind::nvswitch || holds(gpus, ref(g).host, other));
      });
      fewest = std::min(fewest, all.links);
      most = std::max(most, all.links);
      lowest = std::min(lowest, all.mb_per_s);
      highest = std::max(highest, all.mb_per_s);
    }
    if (most == 0 && highest == 0) return "";
    if (fewest == most && lowest == highest) return fmt::format(" ({} each)", link_text(most, highest));
    if (most == 0) return fmt::format(" ({} to {} GB/s each)", gb(lowest), gb(highest));
    return fmt::format(" ({} to {} links each)", fewest, most);
  }

  template <class Wanted>
  Edge sum_of(int gpu, Wanted wanted) const {
    Edge sum;
    for (const Edge& e : machine(ref(gpu).host).edges) {
      if ((e.a != ref(gpu).node && e.b != ref(gpu).node) || !wanted(e, e.a + e.b - ref(gpu).node)) continue;
      sum.links += e.links;
      sum.mb_per_s += e.mb_per_s;
    }
    return sum;
  }

  const Node& node(int gpu, int index) const {
    return machine(ref(gpu).host).nodes[static_cast<std::size_t>(index)];
  }

  // NVLinks and C2C between GPUs and their CPU.
  TextTree cpu_links() const {
    std::vector<std::pair<std::string, std::vector<int>>> groups;
    for (const EdgeKind kind : {EdgeKind::nvlink, EdgeKind::c2c})
      for (int g = 0; g < static_cast<int>(islands_.gpus.size()); ++g) {
        const Edge sum = sum_of(
            g, [&](const Edge& e, int other) { return e.kind == kind && !is_device(node(g, other).kind); });
        if (sum.links == 0 && sum.mb_per_s == 0) continue;
        const std::string text = fmt::format("{} ({})", kind == EdgeKind::c2c ? "C2C" : "NVLink",
                                             link_text(sum.links, sum.mb_per_s));
        const auto same =
            std::find_if(groups.begin(), groups.end(), [&](const auto& p) { return p.first == text; });
        if (same != groups.end())
          same->second.push_back(g);
        else
          groups.push_back({text, {g}});
      }
    TextTree t{"to the CPU", {}};
    for (const auto& [text, gpus] : groups) t.children.push_back({names(gpus) + ": " + text, {}});
    return t;
  }

  bool holds(const std::vector<int>& gpus, int host, int node) const {
    return std::any_of(gpus.begin(), gpus.end(), [&](int g) { return ref(g) == GpuRef{host, node}; });
  }

  TextTree bridges() const {
    TextTree t{islands_.bridges.empty() ? "no bridges" : "bridges", {}};
    for (const Bridge& b : islands_.bridges)
      t.children.push_back(
          {fmt::format("{} - {}: {}", name(b.a), name(b.b), link_text(b.links, b.mb_per_s)), {}});
    return t;
  }

  TextTree rails() const {
    TextTree t{rails_.rails.empty() ? "no rails" : "rails", {}};
    for (std::size_t r = 0; r < rails_.rails.size(); ++r) {
      const std::vector<int>& gpus = rails_.rails[r];
      // GPUs of many hosts by the same NIC are one line.
      std::vector<std::pair<std::string, std::vector<int>>> by_nic;
      for (const int g : gpus) {
        if (by_nic.empty() || by_nic.back().first != nic_text(g)) by_nic.push_back({nic_text(g), {}});
        by_nic.back().second.push_back(g);
      }
      TextTree rail{fmt::format("rail {}", r), {}};
      for (const auto& [nic, members] : by_nic) rail.children.push_back({names(members) + nic, {}});
      if (rail.children.size() == 1) rail = {rail.text + ": " + rail.children[0].text, {}};
      t.children.push_back(std::move(rail));
    }
    return t;
  }

  TextTree unplaced(const char* title, const std::vector<int>& gpus) const {
    TextTree t{title, {}};
    for (const int g : gpus) t.children.push_back({name(g) + nic_text(g), {}});
    return t;
  }

  std::string reports() const {
    TextTree t{"to note", {}};
    const auto add = [&](const std::string& prefix, const std::vector<std::string>& texts) {
      for (const std::string& text : texts) t.children.push_back({prefix + text, {}});
    };
    add("", islands_.reports);
    add("", rails_.reports);
    std::vector<std::string> said;  // hosts of one file say the same
    for (const Machine& m : machines_)
      for (const std::string& note : m.notes)
        if (std::find(said.begin(), said.end(), note) == said.end()) said.push_back(note);
    add("source: ", said);
    return t.children.empty() ? "" : draw(t);
  }

  std::span<const Machine> machines_;
  const Islands& islands_;
  const Rails& rails_;
};

}  // namespace

std::string describe(std::span<const Machine> machines, const Islands& islands, const Rails& rails) {
  return Describer(machines, islands, rails).run();
}

}  // namespace libcoll::topo
