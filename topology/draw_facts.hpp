// What DOT and SVG both say about a Picture: who belongs where, and in which words.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "topology/draw.hpp"

namespace libcoll::topo::drawing {

enum class GpuState : std::uint8_t { in_island, demoted, unknown };

struct LinkSum {
  int links = 0;
  std::uint64_t mb_per_s = 0;
  friend bool operator==(const LinkSum&, const LinkSum&) = default;
};

// What one host holds, by index into its nodes.
struct HostFacts {
  std::vector<std::vector<int>> children;  // by node
  std::vector<int> gpus;                   // numbers of Islands
  std::vector<int> nvswitches, nics;
  std::map<int, std::vector<int>> users;                 // NIC -> GPUs
  std::map<int, std::vector<int>> ranks;                 // the narrowest node that holds the rank; 0 if none
  std::map<int, std::map<int, LinkSum>> nvlinks;         // GPU's node -> what it is joined to
  std::map<int, std::pair<EdgeKind, LinkSum>> cpu_link;  // GPU's node -> links to its CPU
};

class Facts {
 public:
  explicit Facts(const Picture&);

  int host_count() const { return static_cast<int>(picture.machines.size()); }
  int drawn_hosts() const { return std::min(host_count(), max_hosts_drawn); }
  const Machine& machine(int host) const { return picture.machines[static_cast<std::size_t>(host)]; }
  const Node& node(int host, int index) const { return machine(host).nodes[static_cast<std::size_t>(index)]; }
  const HostFacts& host(int h) const { return hosts_[static_cast<std::size_t>(h)]; }
  GpuRef ref(int gpu) const { return picture.islands.gpus[static_cast<std::size_t>(gpu)]; }
  int island_of(int gpu) const { return island_of_[static_cast<std::size_t>(gpu)]; }  // -1 if in none
  GpuState state_of(int gpu) const { return state_of_[static_cast<std::size_t>(gpu)]; }
  // GPUs of one host by island, then the demoted, then the unknown.
  struct Area {
    GpuState state = GpuState::in_island;
    int island = -1;
    std::vector<int> gpus;
  };
  std::vector<Area> areas(int host) const;
  bool is_leader(int rank) const { return leads_.contains(rank); }
  // Bridges of one host.
  std::vector<Bridge> bridges(int host) const;
  // Links inside small islands of that host whose pairs do not all have the same: there the area alone does
  // not say it.
  std::vector<Bridge> uneven_links(int host) const;

  std::string id(int host, int node) const;  // "h0n12"
  std::string title() const;
  std::string counts() const;
  std::string more_hosts() const;  // empty if all are drawn
  std::string host_text(int host) const;
  // Lines about a package, NUMA node or cache; about the cores right below it, if there are any.
  std::vector<std::string> part_lines(int host, int node) const;
  std::vector<std::string> core_lines(int host, int node) const;
  std::vector<std::string> area_lines(const Area&) const;
  std::string nvswitch_text(int host) const;
  std::string gpu_text(int gpu) const;                  // "GPU 3"
  std::string gpu_ranks(int gpu) const;                 // "rank 3"; empty if none is known to use it
  std::string gpu_place(int gpu) const;                 // "NUMA 1 · PIX"
  std::string cpu_link_text(int gpu) const;             // empty if it has none
  std::string nic_name(int host, int nic) const;
  std::string nic_detail(int host, int nic) const;      // "rail 0 · 50 GB/s"
  std::string nic_users(int host, int nic) const;       // "GPUs 0,2"; empty if nobody uses it
  std::vector<int> rails_of_nic(int host, int nic) const;
  std::vector<int> rails_of_gpu(int gpu) const;  // one, or none
  std::string gpu_tip(int gpu) const;
  std::string nic_tip(int host, int nic) const;
  std::string rank_tip(int rank) const;
  std::vector<std::string> notes() const;
  std::vector<std::string> levels() const;

  const Picture& picture;

 private:
  void read_edges(int host);
  void place_ranks();
  std::vector<HostFacts> hosts_;
  std::vector<int> island_of_, rail_of_;
  std::vector<GpuState> state_of_;
  std::set<int> leads_;  // ranks
};

// Others than printable ASCII become '?': fit for XML, DOT and every terminal.
std::string clean(std::string_view);
// As text or in quotes.
std::string escape_xml(std::string_view);
// "2 links, 50 GB/s"; empty if nothing is known.
std::string link_text(const LinkSum&);
// "×2", or "50 GB/s" where the links are not counted.
std::string short_link_text(const LinkSum&);
std::string rank_text(const std::vector<int>& ranks);  // "ranks 0-3"

// By level, widest first: what a group of it is called, "host 0".
struct GroupBox {
  std::string text, tip;
  std::vector<GroupBox> inside;
  std::vector<int> ranks;  // in none of those inside
};
GroupBox nest(const Hierarchy&);
std::set<int> leaders_of(const Hierarchy&);  // of groups of several ranks

inline constexpr int island_colors = 6, rail_colors = 8;
const char* island_fill(int island) noexcept;
const char* island_ink(int island) noexcept;
const char* rail_color(int rail) noexcept;

}  // namespace libcoll::topo::drawing
