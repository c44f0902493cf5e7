#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "coll_bench/report.hpp"

extern char** environ;

namespace bench {

namespace {

using nlohmann::ordered_json;
namespace fs = std::filesystem;

ordered_json to_json(const Series& s) {
  if (!s.has_times()) return {{"correct", s.correct}, {"error", s.error}};
  return {{"correct", true}, {"avg_us", s.avg_us()}, {"min_us", s.min_us()}, {"max_us", s.max_us()},
          {"p50_us", s.p50}, {"p90_us", s.p90},      {"p99_us", s.p99},      {"repetitions_us", s.avg}};
}

// `rival`: the key of the second contestant.
ordered_json to_json(const Cell& c, const char* rival) {
  ordered_json j = {{"collective", info_of(c.coll).name},
                    {"memory", name_of(c.memory)},
                    {"bytes", c.bytes},
                    {"iterations", c.iterations},
                    {"libcoll", to_json(c.ours)}};
  if (c.versus) j[rival] = to_json(c.theirs);
  for (const Way& w : c.ways) {
    ordered_json way = {{"recipe", w.recipe}, {"predicted_us", w.predicted_us}, {"chosen", w.chosen}};
    way.update(to_json(w.series));
    j["ways"].push_back(std::move(way));
  }
  if (c.regret() > 0) j["regret"] = c.regret();
  if (c.overlap) {
    const Overlap& v = *c.overlap;
    j["nonblocking"] = {{"overall_us", median(v.overall)}, {"compute_us", median(v.compute)}, {"communication_us", c.ours.avg_us()},
                        {"start_us", median(v.start)},     {"wait_us", median(v.wait)},       {"overlap_percent", median(v.percent)},
                        {"tests", v.tests}};
  }
  if (c.has_ratio()) {
    j["ratio"] = c.ratio();
    j["ratios"] = c.ratios;
  }
  return j;
}

ordered_json to_json(const Machine& m) {
  return {{"ranks", m.ranks},
          {"hosts", m.hosts},
          {"host_names", m.host_names},
          {"cpu", m.cpu},
          {"bindings", m.bindings},
          {"oversubscribed", m.oversubscribed},
          {"line_ns", m.line_ns},
          {"line_after_ns", m.line_after_ns},
          {"timer_ns", m.timer_ns},
          {"timer_kept", m.clock_kept},
          {"libcoll_says", m.libcoll_says},
          {"libcoll", m.libcoll_version},
          {"progress_thread", m.progress_thread},
          {"mpi", m.mpi_version},
          {"mpi_waiting", m.mpi_waiting}};
}

ordered_json to_json(const Options& o) {
  return {{"type", o.dtype_name},
          {"op", libcoll::name_of(o.op)},
          {"root", o.root},
          {"buffers", name_of(o.buffers)},
          {"repetitions", o.repetitions},
          {"algorithm", o.algorithm},
          {"form", o.through_mpi ? "mpi" : o.versus_blocking() ? o.first_name() : o.nonblocking ? "nonblocking" : "blocking"},
          {"barrier", name_of(o.barrier)},
          {"checked", o.check}};
}

ordered_json to_json(const InstructionCount& c) {
  return {{"collective", "allreduce"},
          {"bytes", 8},
          {"per_call", c.per_call},
          {"started", c.started},
          {"persistent", c.persistent},
          {"late_fraction", c.late_fraction},
          {"calls", c.calls}};
}

// In the source tree, beside the installed binary, or wherever this build was made.
std::optional<fs::path> find_plot_script() {
  std::error_code ignored;
  const fs::path self = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const fs::path& p :
       {self / "plot.py", self / "../share/libcoll/plot.py", self / "../../../benchmarks/plot.py",
        fs::path(COLL_BENCH_SOURCE_DIR) / "plot.py"})
    if (fs::exists(p, ignored)) return p.lexically_normal();
  return {};
}

int run_program(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  pid_t child = 0;
  int status = 0;
  if (posix_spawnp(&child, argv[0], nullptr, nullptr, argv.data(), environ) != 0) return 127;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return 127;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace

void write_text(const std::string& file, const std::string& text) {
  std::ofstream out(file, std::ios::trunc);
  out << text << std::flush;
  if (!out) throw std::runtime_error(fmt::format("cannot write {}: {}", file, std::strerror(errno)));
}

void require_writable(const std::string& file) {
  if (file.empty()) return;
  std::ofstream out(file, std::ios::app);
  if (!out) throw std::runtime_error(fmt::format("cannot write {}: {}", file, std::strerror(errno)));
}

void write_json(const std::string& file, const Options& o, const Machine& m, const std::vector<Cell>& cells,
                const std::optional<InstructionCount>& instructions) {
  ordered_json j = {{"format", "coll-bench 1"}, {"machine", to_json(m)}, {"options", to_json(o)}};
  for (const Cell& c : cells) j["cells"].push_back(to_json(c, o.versus_blocking() ? "blocking" : "mpi"));
  for (const SectionSummary& s : summarise(cells))
    j["summary"].push_back({{"collective", info_of(s.coll).name},
                            {"memory", name_of(s.memory)},
                            {"geometric_mean", s.geometric_mean},
                            {"worst", s.worst},
                            {"worst_bytes", s.worst_bytes}});
  for (const RegretSummary& s : summarise_regret(cells))
    j["regret"].push_back({{"collective", info_of(s.coll).name},
                           {"memory", name_of(s.memory)},
                           {"geometric_mean", s.geometric_mean},
                           {"worst", s.worst},
                           {"worst_bytes", s.worst_bytes}});
  if (instructions) j["instructions"] = to_json(*instructions);
  write_text(file, j.dump(1) + "\n");
}

void write_json(const std::string& file, const InstructionCount& count) {
  const ordered_json j = {{"format", "coll-bench 1"}, {"instructions", to_json(count)}};
  write_text(file, j.dump(1) + "\n");
}

void write_csv(const std::string& file, const std::vector<Cell>& cells) {
  std::string text =
      "collective,memory,bytes,iterations,libcoll_us,libcoll_min_us,libcoll_max_us,mpi_us,mpi_min_us,mpi_max_"
      "us,ratio\n";
  const auto times = [](const Series& s) {
    return s.has_times() ? fmt::format("{:.4f},{:.4f},{:.4f}", s.avg_us(), s.min_us(), s.max_us()) : ",,";
  };
  for (const Cell& c : cells)
    text +=
        fmt::format("{},{},{},{},{},{},{}\n", info_of(c.coll).name, name_of(c.memory), c.bytes, c.iterations,
                    times(c.ours), times(c.theirs), c.has_ratio() ? fmt::format("{:.4f}", c.ratio()) : "");
  write_text(file, text);
}

bool draw(const std::string& png, const std::string& json) {
  const std::optional<fs::path> script = find_plot_script();
  if (!script) {
    fmt::print(stderr, "coll-bench: --plot: benchmarks/plot.py was not found\n");
    return false;
  }
  // The first python3 of the PATH may be one without matplotlib; the system's usually has it.
  for (const char* python : {"python3", "/usr/bin/python3"}) {
    const int code = run_program({python, script->string(), json, png});
    if (code == 0) return true;
    if (code != 3 && code != 127) break;  // 3: this python has no matplotlib
  }
  fmt::print(
      stderr,
      "coll-bench: --plot: {} failed (it needs python3 with matplotlib: apt install python3-matplotlib)\n",
      script->string());
  return false;
}

}  // namespace bench
