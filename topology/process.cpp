#include "topology/process.hpp"

#include <fmt/format.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <sstream>
#include <vector>

#include "topology/hash.hpp"

namespace libcoll::topo {
namespace {

struct Mount {
  std::string root, point;  // the cgroup that `point` shows
  bool is_v2 = false;
};

struct Membership {
  bool is_v2 = false;
  std::string path;
};

bool has_word(std::string_view list, std::string_view word) {
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t comma = std::min(list.find(',', at), list.size());
    if (list.substr(at, comma - at) == word) return true;
    at = comma + 1;
  }
  return false;
}

// Lines of /proc/self/mountinfo: id parent dev root point options... - type source super-options
std::vector<Mount> cgroup_mounts(const std::string& mountinfo) {
  std::vector<Mount> mounts;
  std::istringstream lines(mountinfo);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream left(line.substr(0, dash)), right(line.substr(dash + 3));
    std::string skip, type, source, options;
    Mount m;
    left >> skip >> skip >> skip >> m.root >> m.point;
    right >> type >> source >> options;
    m.is_v2 = type == "cgroup2";
    if (m.is_v2 || (type == "cgroup" && has_word(options, "cpu"))) mounts.push_back(std::move(m));
  }
  return mounts;
}

// Lines of /proc/self/cgroup: id:controllers:path, with no controllers in version 2.
std::vector<Membership> memberships(const std::string& text) {
  std::vector<Membership> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t a = line.find(':');
    const std::size_t b = a == std::string::npos ? a : line.find(':', a + 1);
    if (b == std::string::npos) continue;
    const std::string controllers = line.substr(a + 1, b - a - 1);
    if (controllers.empty() || has_word(controllers, "cpu"))
      found.push_back({controllers.empty(), line.substr(b + 1)});
  }
  return found;
}

int whole_cpus(double quota_us, double period_us) {
  if (!(quota_us > 0) || !(period_us > 0)) return 0;
  // A limit above any machine is no limit; the clamp also keeps the conversion defined.
  return static_cast<int>(std::clamp(quota_us / period_us, 1.0, 1e6));
}

int limit_at(const FileReader& read, const Mount& mount, const std::string& below) {
  const std::string folder = mount.point + below;
  if (mount.is_v2) return parse_cpu_max(read(folder + "/cpu.max").value_or(""));
  const auto quota = read(folder + "/cpu.cfs_quota_us"), period = read(folder + "/cpu.cfs_period_us");
  if (!quota || !period) return 0;
  return parse_cpu_max(*quota + " " + *period);
}

// The cgroup's path below the mount point. Where the mount shows another part of the tree, as inside
// containers without a cgroup namespace, the mount point itself is the best guess.
std::string path_below(const Mount& mount, const std::string& path) {
  if (path.find("..") != std::string::npos) return "";
  if (mount.root == "/") return path == "/" ? "" : path;
  if (path.starts_with(mount.root) && (path.size() == mount.root.size() || path[mount.root.size()] == '/'))
    return path.substr(mount.root.size());
  return "";
}

}  // namespace

CpuSet affinity_of_process() {
  // The kernel refuses masks shorter than its own; grow until it accepts.
  for (int cpus = 1024; cpus <= CpuSet::max_cpus; cpus *= 4) {
    cpu_set_t* mask = CPU_ALLOC(static_cast<std::size_t>(cpus));
    if (mask == nullptr) break;
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(cpus));
    CPU_ZERO_S(bytes, mask);
    const int rc = ::sched_getaffinity(0, bytes, mask);
    const int error = errno;
    CpuSet s;
    for (int cpu = 0; rc == 0 && cpu < cpus; ++cpu)
      if (CPU_ISSET_S(static_cast<std::size_t>(cpu), bytes, mask)) s.add(cpu);
    CPU_FREE(mask);
    if (rc == 0) return s;
    if (error != EINVAL) break;
  }
  return {};
}

int parse_cpu_max(std::string_view text) {
  long long values[2] = {0, 0};
  for (long long& value : values) {
    const std::size_t start = text.find_first_not_of(" \n\t");
    if (start == std::string_view::npos) return 0;
    text.remove_prefix(start);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{}) return 0;  // "max"
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  }
  return whole_cpus(static_cast<double>(values[0]), static_cast<double>(values[1]));
}

CpuQuota cpu_quota(const FileReader& read, std::uint64_t cgroup_namespace) {
  CpuQuota tightest;
  const std::vector<Mount> mounts = cgroup_mounts(read("/proc/self/mountinfo").value_or(""));
  for (const Membership& member : memberships(read("/proc/self/cgroup").value_or(""))) {
    const auto mount =
        std::find_if(mounts.begin(), mounts.end(), [&](const Mount& m) { return m.is_v2 == member.is_v2; });
    if (mount == mounts.end()) continue;
    for (std::string below = path_below(*mount, member.path);; below.resize(below.rfind('/'))) {
      const int cpus = limit_at(read, *mount, below);
      // An equal limit farther up is shared by more processes, hence the tighter one.
      if (cpus > 0 && (tightest.cpus == 0 || cpus <= tightest.cpus))
        tightest = {cpus, Hash{}.add(cgroup_namespace).add(member.is_v2).add(mount->root).add(below).value()};
      if (below.rfind('/') == std::string::npos) break;
    }
  }
  return tightest;
}

std::uint64_t namespace_inode(const char* name) {
  struct stat s {};
  return ::stat(fmt::format("/proc/self/ns/{}", name).c_str(), &s) == 0 ? s.st_ino : 0;
}

std::string host_name() {
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0) return "unknown-host";
  std::string s(name);
  for (char& c : s)
    if (static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  return s.empty() ? "unknown-host" : s;
}

std::uint64_t host_id() {
  Hash h;
  if (const char* given = std::getenv("LIBCOLL_HOST_ID"); given != nullptr && *given != '\0')
    return h.add("given").add(given).value();
  const auto boot_id = system_files()("/proc/sys/kernel/random/boot_id");
  h.add(boot_id ? "boot" : "name").add(boot_id ? *boot_id : host_name());
  return h.add(namespace_inode("net")).add(namespace_inode("uts")).value();
}

}  // namespace libcoll::topo
