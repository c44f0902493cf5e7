#include "topology/gpu_record.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <vector>

#include "topology/devices.hpp"
#include "topology/hash.hpp"
#include "topology/rails.hpp"

namespace libcoll::topo {
namespace {

// The text, or a stand-in that differs wherever the text does: a cut one would make different things equal.
template <std::size_t n>
void put_identity(char (&to)[n], const std::string& text) {
  const std::string fits = text.size() < n ? text : fmt::format("#{:016x}", Hash().add(text).value());
  std::fill(std::begin(to), std::end(to), '\0');
  std::copy(fits.begin(), fits.end(), to);
}

struct Sum {
  std::uint64_t links = 0, mb_per_s = 0;
  void add(const Edge& e) {
    links += static_cast<std::uint64_t>(e.links);
    mb_per_s += e.mb_per_s;
  }
  std::uint32_t count() const { return static_cast<std::uint32_t>(std::min<std::uint64_t>(links, max_links)); }
  std::uint32_t speed() const { return static_cast<std::uint32_t>(std::min(mb_per_s, max_mb_per_s)); }
};

int find_gpu(const Machine& m, std::uint64_t bus) {
  for (std::size_t i = 0; bus != 0 && i < m.nodes.size(); ++i)
    if (m.nodes[i].kind == NodeKind::gpu && pack_bus(m.nodes[i].bus_id) == bus) return static_cast<int>(i);
  return -1;
}

void put_links(GpuRecord& r, const Machine& m, int gpu) {
  Sum to_switches, to_cpu;
  std::map<std::uint64_t, Sum> direct;  // by PCI address
  std::uint64_t elsewhere = static_cast<std::uint64_t>(m.nodes[static_cast<std::size_t>(gpu)].links_elsewhere);
  for (const Edge& e : m.edges) {
    if (e.kind != EdgeKind::nvlink || (e.a != gpu && e.b != gpu)) continue;
    const Node& other = m.nodes[static_cast<std::size_t>(e.a + e.b - gpu)];
    const std::uint64_t bus = pack_bus(other.bus_id);
    if (other.kind == NodeKind::nvswitch) to_switches.add(e);
    else if (other.kind != NodeKind::gpu) to_cpu.add(e);
    else if (bus != 0) direct[bus].add(e);
    else elsewhere += static_cast<std::uint64_t>(std::max(e.links, 1));
  }
  for (const auto& [bus, sum] : direct) {
    if (r.peers == GpuRecord::max_peers) elsewhere += std::max<std::uint64_t>(sum.links, 1);
    else r.peer[r.peers++] = {bus, sum.count(), sum.speed()};
  }
  r.switch_links = to_switches.count();
  r.switch_mb_per_s = to_switches.speed();
  r.cpu_links = to_cpu.count();
  r.cpu_mb_per_s = to_cpu.speed();
  r.links_elsewhere = static_cast<std::uint32_t>(std::min<std::uint64_t>(elsewhere, max_links));
}

void put_nics(GpuRecord& r, const Machine& m, int gpu) {
  const std::vector<PathClass> paths = paths_from(m, gpu);
  std::vector<int> nics = usable_nics(m);
  std::stable_sort(nics.begin(), nics.end(), [&](int a, int b) {
    return paths[static_cast<std::size_t>(a)] < paths[static_cast<std::size_t>(b)];
  });
  for (const int n : nics) {
    if (r.nics == GpuRecord::max_nics) return;
    const Node& node = m.nodes[static_cast<std::size_t>(n)];
    GpuRecord::Nic& nic = r.nic[r.nics++];
    nic.bus = pack_bus(node.bus_id);
    nic.mb_per_s = static_cast<std::uint32_t>(node.mb_per_s);
    nic.ordinal = static_cast<std::uint16_t>(std::min(m.ordinal(n), 0xffff));
    nic.path = static_cast<std::uint8_t>(paths[static_cast<std::size_t>(n)]);
    node.name.copy(nic.name, sizeof nic.name - 1);
  }
}

}  // namespace

std::uint64_t pack_bus(std::string_view bus_id) {
  const auto at = parse_pci_address(bus_id);
  if (!at) return 0;
  constexpr std::uint64_t is_there = std::uint64_t{1} << 63;  // 0000:00:00.0 is an address as well
  return is_there | std::uint64_t{at->domain} << 24 | std::uint64_t{at->bus & 0xff} << 16 |
         std::uint64_t{at->device & 0xff} << 8 | (at->function & 0xff);
}

std::string unpack_bus(std::uint64_t bus) {
  if (bus == 0) return "";
  return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", static_cast<std::uint32_t>(bus >> 24), bus >> 16 & 0xff, bus >> 8 & 0xff,
                     bus & 0xff);
}

GpuRecord gpu_record(const Machine& m, std::string_view bus_id, std::uint64_t host_id) {
  GpuRecord r{};
  r.version = GpuRecord::current_version;
  r.host_id = host_id;
  if (bus_id.empty()) return r;
  r.flags = GpuRecord::has_gpu;
  r.bus = pack_bus(bus_id);
  const int gpu = find_gpu(m, r.bus);
  if (gpu < 0) return r;
  const Node& node = m.nodes[static_cast<std::size_t>(gpu)];
  r.flags |= GpuRecord::is_listed;
  if (m.knows_nvlinks) r.flags |= GpuRecord::knows_links;
  if (node.is_mig) r.flags |= GpuRecord::is_mig;
  else set_uuid(r, node.uuid);
  if (node.fabric.is_healthy) r.flags |= GpuRecord::is_healthy;
  put_identity(r.cluster, node.fabric.cluster);
  r.clique = node.fabric.clique;
  put_links(r, m, gpu);
  put_nics(r, m, gpu);
  return r;
}

void set_uuid(GpuRecord& r, std::string_view uuid) {
  std::string text(uuid);
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (text.starts_with("mig-")) r.flags |= GpuRecord::is_mig;
  put_identity(r.uuid, text);
}

}  // namespace libcoll::topo
