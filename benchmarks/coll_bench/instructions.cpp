#include "coll_bench/instructions.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "libcoll/comm.hpp"
#include "libcoll/request.hpp"

extern char** environ;

namespace bench {

namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

std::vector<char*> pointers(Strings& strings) {
  std::vector<char*> p;
  for (std::string& s : strings) p.push_back(s.data());
  p.push_back(nullptr);
  return p;
}

// The parent's environment without a launcher's or our own variables, and a meeting point of its own.
Strings environment_of(int rank, const std::string& meeting) {
  Strings all;
  for (char** e = environ; *e != nullptr; ++e)
    if (const std::string_view v(*e); !v.starts_with("LIBCOLL_")) all.emplace_back(v);
  // hwloc's x86 component only complains under valgrind. And nobody sleeps: a rank that must be woken would
  // cost its peer a system call that is not the call's.
  for (const char* fixed :
       {"LIBCOLL_SIZE=2", "LIBCOLL_ARENA_BYTES=64M", "LIBCOLL_CALIBRATE=off", "LIBCOLL_YIELD_US=100000000",
        "LIBCOLL_CALL_TIMEOUT=120", "LIBCOLL_TIMEOUT=60", "HWLOC_COMPONENTS=-x86"})
    all.emplace_back(fixed);
  all.push_back(fmt::format("LIBCOLL_RANK={}", rank));
  all.push_back(fmt::format("LIBCOLL_ROOT=unix:{}", meeting));
  return all;
}

pid_t start(Strings arguments, Strings environment) {
  pid_t child = 0;
  if (const int error = posix_spawnp(&child, arguments[0].c_str(), nullptr, nullptr,
                                     pointers(arguments).data(), pointers(environment).data());
      error != 0)
    throw std::runtime_error(
        fmt::format("--instructions: cannot start {}{}", arguments[0],
                    arguments[0] == "valgrind" ? ": is valgrind installed? (apt install valgrind)" : ""));
  return child;
}

// The one that ends first with a failure takes the other with it.
void wait_for_both(pid_t a, pid_t b) {
  pid_t left[] = {a, b};
  bool failed = false;
  for (int ended = 0; ended < 2;) {
    for (pid_t& p : left) {
      int status = 0;
      if (p <= 0 || waitpid(p, &status, WNOHANG) != p) continue;
      p = 0;
      ++ended;
      if (status != 0 && !failed) {
        failed = true;
        for (const pid_t other : left)
          if (other > 0) kill(other, SIGKILL);
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  if (failed) throw std::runtime_error("--instructions: a rank failed; its message is above");
}

std::uint64_t last_number(const std::string& line) {
  return std::strtoull(line.c_str() + line.find_last_of(' ') + 1, nullptr, 10);
}

// Everything collected, less what calls of the waiting loop cost. In callgrind's file a call is a
// "cfn=" line, a "calls=" line, and a line whose last number is the inclusive cost.
struct Cost {
  std::uint64_t instructions = 0, waits = 0;
};

Cost read_cost(const fs::path& file) {
  std::ifstream in(file);
  std::uint64_t total = 0, spinning = 0, waits = 0;
  bool found = false, in_spin_loop = false, calls_spin_loop = false;
  const auto spins = [](const std::string& name) { return name.find("spin_for_slot") != std::string::npos; };
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("fn=")) in_spin_loop = spins(line);
    if (line.starts_with("cfn=")) calls_spin_loop = spins(line);
    if (line.starts_with("totals:")) {
      total = last_number(line);
      found = true;
    }
    if (!line.starts_with("calls=")) continue;
    const bool waited = calls_spin_loop && !in_spin_loop;
    if (waited) waits += std::strtoull(line.c_str() + std::string_view("calls=").size(), nullptr, 10);
    std::getline(in, line);
    if (waited) spinning += last_number(line);
  }
  if (!found || total == 0)
    throw std::runtime_error(fmt::format(
        "--instructions: callgrind collected nothing ({}): was libcoll.so stripped?", file.string()));
  return {total - spinning, waits};
}

// What is counted, from entry to return.
enum Form { blocking, started, persistent };
const Strings counted_functions[] = {{"libcoll::Comm::allreduce(*"},
                                     {"libcoll::Comm::iallreduce(*", "libcoll::Request::wait()"},
                                     {"libcoll::Persistent::start()", "libcoll::Persistent::wait()"}};

Cost cost_of(Form form, int calls, const fs::path& directory) {
  const std::string self = fs::read_symlink("/proc/self/exe").string();
  const fs::path out = directory / fmt::format("callgrind.{}.{}", static_cast<int>(form), calls), log = directory / "valgrind.log";
  const std::string meeting = fmt::format("coll-bench-{}-{}-{}", getpid(), static_cast<int>(form), calls);
  const Strings child = {self, fmt::format("--instructions-child={}", calls), fmt::format("--instructions-form={}", static_cast<int>(form))};
  Strings counted = {"valgrind",
                     "--tool=callgrind",
                     "--compress-strings=no",
                     "--compress-pos=no",
                     "--callgrind-out-file=" + out.string(),
                     "--log-file=" + log.string()};
  for (const std::string& function : counted_functions[form]) counted.push_back("--toggle-collect=" + function);
  counted.insert(counted.end(), child.begin(), child.end());
  const pid_t first = start(counted, environment_of(0, meeting));
  wait_for_both(first, start(child, environment_of(1, meeting)));
  return read_cost(out);
}

constexpr int few = 1000, many = 6000;

// Start-up, and first calls that make plans, are in both counts. A call that must wait for its peer
// also spends a few instructions on entering the waiting loop; where the machine is busy the peer is
// late often, so the attempt with the fewest such calls counts.
struct Measured {
  double per_call = 0, late_fraction = 0;
};
Measured measure(Form form, const fs::path& directory) {
  Measured best;
  for (int attempt = 0; attempt < 5 && (attempt == 0 || best.late_fraction > 0.01); ++attempt) {
    const Cost less = cost_of(form, few, directory), more = cost_of(form, many, directory);
    const Measured now{(static_cast<double>(more.instructions) - static_cast<double>(less.instructions)) / (many - few),
                       static_cast<double>(less.waits + more.waits) / (few + many)};
    if (attempt == 0 || now.late_fraction < best.late_fraction) best = now;
  }
  return best;
}

}  // namespace

InstructionCount count_instructions() {
  std::string name = (fs::temp_directory_path() / "coll-bench-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr)
    throw std::runtime_error("--instructions: cannot make a directory for callgrind's files");
  const struct Cleaner {
    fs::path path;
    ~Cleaner() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  } directory{name};
  const Measured b = measure(blocking, directory.path), s = measure(started, directory.path), p = measure(persistent, directory.path);
  return {.per_call = b.per_call, .started = s.per_call, .persistent = p.per_call,
          .late_fraction = std::max({b.late_fraction, s.late_fraction, p.late_fraction}), .calls = many - few};
}

void run_counted_calls(int form, int calls) {
  libcoll::Comm comm = libcoll::Comm::from_environment();
  constexpr auto type = libcoll::DType::f64;
  double mine = 0, sum = 0;
  libcoll::Persistent plan = comm.plan_allreduce(&mine, &sum, 1, type, libcoll::Op::sum);
  for (int i = 0; i < calls; ++i) {
    mine = i;
    if (form == persistent) plan.start(), plan.wait();
    else if (form == started) comm.iallreduce(&mine, &sum, 1, type, libcoll::Op::sum).wait();
    else comm.allreduce(&mine, &sum, 1, type, libcoll::Op::sum);
    if (sum != 2.0 * i) throw std::runtime_error("--instructions: wrong sum");
  }
  comm.close();
}

}  // namespace bench
