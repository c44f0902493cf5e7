#include "libcoll/bootstrap/process_tree.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>

namespace libcoll::detail {
namespace {

struct Process {
  std::string name;
  int parent = 0;
  std::string start_time;
};

// /proc/PID/stat is "pid (name) state ppid ..."; the name may itself hold spaces and parentheses.
std::optional<Process> read_process(int pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  const std::size_t open = line.find('('), close = line.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return std::nullopt;
  Process p{.name = line.substr(open + 1, close - open - 1), .parent = 0, .start_time = {}};
  std::istringstream fields(line.substr(close + 1));
  std::string field;
  constexpr int parent_field = 4, start_field = 22;  // counted from 1, the name being 2
  for (int i = 3; i <= start_field && fields >> field; ++i) {
    if (i == parent_field) p.parent = std::stoi(field);
    if (i == start_field) p.start_time = field;
  }
  return p;
}

bool is_launcher(std::string_view name) {
  for (const std::string_view prefix : {"hydra_", "pmi_proxy", "mpiexec", "mpirun"}) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

}  // namespace

std::string launcher_process_key() {
  std::string nearest;
  int pid = ::getppid();
  for (int depth = 0; pid > 1 && depth < 64; ++depth) {
    const auto p = read_process(pid);
    if (!p) break;
    const std::string key = fmt::format("{} {} {}", p->name, pid, p->start_time);
    if (is_launcher(p->name)) return key;
    if (nearest.empty()) nearest = key;
    pid = p->parent;
  }
  return nearest.empty() ? fmt::format("parent {}", ::getppid()) : nearest;
}

}  // namespace libcoll::detail
