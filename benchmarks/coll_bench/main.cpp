// coll-bench: latency of collectives, ours and an MPI's, interleaved in one process.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <stdexcept>

#include "coll_bench/instructions.hpp"
#include "coll_bench/machine.hpp"
#include "coll_bench/measure.hpp"
#include "coll_bench/mpi_side.hpp"
#include "coll_bench/options.hpp"
#include "coll_bench/overlap.hpp"
#include "coll_bench/report.hpp"
#include "coll_bench/ways.hpp"

namespace {

using namespace bench;

enum ExitCode { all_well = 0, failed = 1, bad_usage = 2 };

struct Results {
  Machine machine;
  std::vector<Cell> cells = {};
  std::optional<InstructionCount> instructions = {};
  bool any_failed = false;
  int tuned = 0;  // cells in which another way was better
};

std::size_t count_cells(const Options& o, const Job& job) {
  std::size_t n = 0;
  for (const Coll c : o.collectives)
    n += sizes_for(c, o.min_bytes, o.max_bytes, libcoll::size_of(o.dtype), job.size()).size() *
         (c == Coll::barrier ? 1 : o.memories.size());
  return n;
}

Cell measure_cell(const Contestants& c, const Options& o, Coll coll, Memory memory, std::uint64_t bytes) {
  if (o.all_algorithms) return measure_ways(c, o, coll, memory, bytes);
  return o.nonblocking ? measure_overlap(c, o, coll, memory, bytes) : measure(c, o, coll, memory, bytes);
}

Results measure_all(const Options& o, Job& job) {
  const auto make = o.persistent ? persistent_library : o.started || o.nonblocking ? started_library : libcoll_library;
  const std::unique_ptr<Library> ours = o.through_mpi ? mpi::library() : make(job.comm(), o.algorithm), blocking = libcoll_library(job.comm(), o.algorithm),
                                 plain = libcoll_library(job.comm(), "");
  const std::unique_ptr<Library> theirs = !job.has_mpi() ? nullptr : o.versus_pmpi ? mpi::profiled_library() : mpi::library();
  Results results{.machine = examine(job, job.has_mpi())};
  results.machine.clock_kept = o.keep_clock;
  const Contestants contestants{job, *ours, o.versus_blocking() ? blocking.get() : o.versus_mpi || o.versus_pmpi ? theirs.get() : nullptr,
                                o.barrier == Barrier::own ? nullptr : o.barrier == Barrier::mpi ? theirs.get() : plain.get(), last_cache_bytes(job), o.keep_clock ? 0 : results.machine.timer_ns / 1e3};
  const bool speaks = job.is_first();
  std::optional<Progress> progress;
  if (speaks) {
    progress.emplace(count_cells(o, job));
    print_header(o, results.machine);
  }
  for (const Coll coll : o.collectives) {
    for (const Memory memory : o.memories) {
      if (coll == Coll::barrier && memory != o.memories.front()) continue;  // it has no buffers
      if (speaks) print_section(o, results.machine, coll, memory);
      for (const std::uint64_t bytes :
           sizes_for(coll, o.min_bytes, o.max_bytes, libcoll::size_of(o.dtype), job.size())) {
        if (progress) progress->at(info_of(coll).name, bytes);
        results.cells.push_back(measure_cell(contestants, o, coll, memory, bytes));
        results.any_failed = results.any_failed || results.cells.back().failed();
        if (progress) progress->clear();
        if (speaks) print_cell(o, results.cells.back());
      }
    }
  }
  results.machine.line_after_ns = line_transfer_ns(job);
  if (speaks && !o.tune.empty()) results.tuned = write_tuning(job.comm(), o, results.cells);
  return results;
}

// Rank 0, after the job is closed: a plot starts another program, which MPI does not like.
bool write_files(const Options& o, const Results& r) {
  const std::string json = o.json.empty() && !o.plot.empty() ? o.plot + ".json" : o.json;
  if (!json.empty()) write_json(json, o, r.machine, r.cells, r.instructions);
  if (!o.csv.empty()) write_csv(o.csv, r.cells);
  if (o.plot.empty()) return true;
  const bool drawn = draw(o.plot, json);
  if (o.json.empty()) std::filesystem::remove(json);
  return drawn;
}

// The times are not lost if this fails.
void count_into(Results& r) {
  try {
    r.instructions = count_instructions();
  } catch (const std::exception& e) {
    fmt::print(stderr, "coll-bench: {}\n", e.what());
    r.any_failed = true;
  }
}

int run_benchmark(const Options& o) {
  std::optional<Job> job;
  job.emplace(o.needs_mpi());
  try {
    if (o.root >= job->size()) {
      if (job->is_first())
        fmt::print(stderr, "coll-bench: --root {}: there are {} ranks\n", o.root, job->size());
      job->close();
      return bad_usage;
    }
    if (job->is_first())
      for (const std::string& file : {o.json, o.csv, o.plot, o.tune}) require_writable(file);
    Results results = measure_all(o, *job);
    const bool first = job->is_first();
    job->close();
    // One rank tells the launcher: a failure of another would make it kill rank 0 before it has written.
    if (!first) return all_well;
    if (o.instructions) count_into(results);
    print_summary(o, results.cells);
    if (!o.tune.empty()) fmt::print("# {}: another way for {} of {} cells; use it with LIBCOLL_TUNING={}\n", o.tune, results.tuned, results.cells.size(), o.tune);
    print_footer(results.machine, results.instructions);
    return write_files(o, results) && !results.any_failed ? all_well : failed;
  } catch (const std::exception& e) {
    fmt::print(stderr, "coll-bench: rank {}: {}\n", job->rank(), e.what());
    std::fflush(stdout);
    job->abort();
  }
}

int run_instructions(const Options& o) {
  if (launcher_rank() != 0) return all_well;
  require_writable(o.json);
  const InstructionCount count = count_instructions();
  print_instructions(count);
  if (!o.json.empty()) write_json(o.json, count);
  return all_well;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  try {
    if (const int code = parse(argc, argv, options); code >= 0) return code;
    if (options.instructions_child > 0) {
      run_counted_calls(options.instructions_form, options.instructions_child);
      return all_well;
    }
    return options.collectives.empty() ? run_instructions(options) : run_benchmark(options);
  } catch (const std::exception& e) {
    fmt::print(stderr, "coll-bench: {}\n", e.what());
    return failed;
  }
}
