#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "coll_bench/report.hpp"

namespace bench {

namespace {

constexpr double near_limit_ns = 120;

const char* plural(int n) { return n == 1 ? "" : "s"; }

std::string us(const Series& s, double value) {
  return s.has_times() ? fmt::format("{:.3f}", value) : s.error.empty() ? "FAILED" : "ERROR";
}

std::string ratio_range(const Cell& c) {
  const auto [lo, hi] = std::minmax_element(c.ratios.begin(), c.ratios.end());
  return c.has_ratio() ? fmt::format("{:.2f}-{:.2f}", *lo, *hi) : "-";
}

void print_percentiles(const Series& s) {
  fmt::print(" {:>10} {:>10} {:>10} {:>10} {:>10}", us(s, s.min_us()), us(s, s.max_us()), us(s, s.p50),
             us(s, s.p90), us(s, s.p99));
}

std::string line_text(double ns) {
  return ns < 0 ? "not measured" : fmt::format("{:.0f} ns ({})", ns, ns < near_limit_ns ? "near" : "far");
}

void explain(const Cell& c, const char* who, const Series& s) {
  if (!s.error.empty())
    fmt::print("# {}\n", s.error);
  else if (!s.correct)
    fmt::print("# {}: wrong result of {} at {} bytes\n", who, info_of(c.coll).name, c.bytes);
}

}  // namespace

void print_header(const Options& o, const Machine& m) {
  if (o.through_mpi)
    fmt::print("# {} by its MPI_ names{}, {} rank{} on {} host{}\n", m.mpi_version, o.versus_pmpi ? " against its PMPI_ names" : "", m.ranks, plural(m.ranks), m.hosts, plural(m.hosts));
  if (o.versus_mpi)
    fmt::print("# libcoll {} against {}, {} rank{} on {} host{}\n", m.libcoll_version, m.mpi_version, m.ranks,
               plural(m.ranks), m.hosts, plural(m.hosts));
}

void print_section(const Options& o, const Machine& m, Coll coll, Memory memory) {
  const CollInfo& info = info_of(coll);
  const std::string op = info.reduces ? fmt::format(" {}", libcoll::name_of(o.op)) : "";
  if (o.nonblocking) return print_overlap_head(o, m, coll, memory);
  if (o.compares() || o.all_algorithms) {
    fmt::print("\n# {}{}", info.name,
               coll == Coll::barrier ? ""
                                     : fmt::format(", {}{}, {} memory, {} buffers", o.dtype_name, op,
                                                   name_of(memory), name_of(o.buffers)));
    const char* whose = o.barrier == Barrier::ours ? "libcoll's" : o.barrier == Barrier::mpi ? "MPI's" : "each library's own";
    fmt::print("; median of {} repetitions, {} barrier between calls\n", o.repetitions, whose);
    if (o.all_algorithms) return;
    fmt::print("{:<12} {:>14} {:>12} {:>8} {:>15}", "# Size", fmt::format("{}(us)", o.first_name()), fmt::format("{}(us)", o.second_name()), "ratio",
               "(repetitions)");
    if (o.full)
      for (const char* who : {o.first_name(), o.second_name()})
        for (const char* what : {"min", "max", "P50", "P90", "P99"})
          fmt::print(" {:>10}", what == std::string("min") ? fmt::format("{} min", who) : what);
    fmt::print("\n");
    return;
  }
  fmt::print("\n# libcoll {} Latency Test v{}\n", info.title, m.libcoll_version);
  if (coll != Coll::barrier)
    fmt::print("# Datatype: {}{}. {} memory, {} buffers.\n", o.dtype_name, op, name_of(memory),
               name_of(o.buffers));
  if (coll == Coll::barrier)
    fmt::print("#   Avg Latency(us)");
  else
    fmt::print("{:<10}{:>18}", "# Size", "Avg Latency(us)");
  if (o.full)
    for (const char* title :
         {"Min Latency(us)", "Max Latency(us)", "Iterations", "P50(us)", "P90(us)", "P99(us)"})
      fmt::print("{:>18}", title);
  fmt::print("\n");
}

void print_cell(const Options& o, const Cell& c) {
  if (!c.ways.empty()) return print_ways(c);
  if (o.nonblocking) return print_overlap(c);
  const Series &s = c.ours, &t = c.theirs;
  if (c.versus) {
    fmt::print("{:<12} {:>14} {:>12} {:>8} {:>15}", c.bytes, us(s, s.avg_us()), us(t, t.avg_us()),
               c.has_ratio() ? fmt::format("{:.2f}", c.ratio()) : "-", ratio_range(c));
    if (o.full) {
      print_percentiles(s);
      print_percentiles(t);
    }
  } else {
    if (c.coll != Coll::barrier) fmt::print("{:<10}", c.bytes);
    fmt::print("{:>18}", us(s, s.avg_us()));
    if (o.full)
      fmt::print("{:>18}{:>18}{:>18}{:>18}{:>18}{:>18}", us(s, s.min_us()), us(s, s.max_us()), c.iterations,
                 us(s, s.p50), us(s, s.p90), us(s, s.p99));
  }
  fmt::print("\n");
  explain(c, o.first_name(), s);
  if (c.versus) explain(c, o.second_name(), t);
  std::fflush(stdout);
}

std::vector<SectionSummary> summarise(const std::vector<Cell>& cells) {
  std::vector<SectionSummary> all;
  for (const Cell& c : cells) {
    if (!c.has_ratio()) continue;
    if (all.empty() || all.back().coll != c.coll || all.back().memory != c.memory)
      all.push_back({.coll = c.coll, .memory = c.memory});
    SectionSummary& s = all.back();
    const double ratio = c.ratio();
    if (s.cells == 0 || ratio < s.worst) {
      s.worst = ratio;
      s.worst_bytes = c.bytes;
    }
    s.geometric_mean += std::log(ratio);
    ++s.cells;
  }
  for (SectionSummary& s : all) s.geometric_mean = std::exp(s.geometric_mean / s.cells);
  return all;
}

void print_summary(const Options& o, const std::vector<Cell>& cells) {
  print_regret(cells);
  const std::vector<SectionSummary> all = summarise(cells);
  if (all.empty()) return;
  if (o.versus_blocking()) fmt::print("\n# summary: ratio = blocking call's time / {0} start and wait's (above 1: {0} is faster)\n", o.first_name());
  else if (o.versus_pmpi) fmt::print("\n# summary: ratio = PMPI_'s time / MPI_'s (above 1: who answers the MPI_ names is faster)\n");
  else fmt::print("\n# summary: ratio = MPI's time / libcoll's (above 1: libcoll is faster)\n");
  fmt::print("# {:<16} {:<8} {:>5} {:>15} {:>11}\n", "collective", "memory", "cells", "geometric mean",
             "worst cell");
  double logs = 0;
  int count = 0;
  const SectionSummary* worst = &all.front();
  for (const SectionSummary& s : all) {
    fmt::print("# {:<16} {:<8} {:>5} {:>15.2f} {:>11.2f}", info_of(s.coll).name, name_of(s.memory), s.cells,
               s.geometric_mean, s.worst);
    fmt::print("{}\n", s.coll == Coll::barrier ? "" : fmt::format(" at {} bytes", s.worst_bytes));
    logs += std::log(s.geometric_mean) * s.cells;
    count += s.cells;
    if (s.worst < worst->worst) worst = &s;
  }
  if (all.size() == 1) return;
  fmt::print("# {:<16} {:<8} {:>5} {:>15.2f} {:>11.2f} at {} bytes of {}, {} memory\n", "all", "", count,
             std::exp(logs / count), worst->worst, worst->worst_bytes, info_of(worst->coll).name,
             name_of(worst->memory));
}

void print_instructions(const InstructionCount& count) {
  fmt::print("instructions: {:.1f} per 8-byte allreduce, started {:.1f}, persistent {:.1f} (spinning excluded){}\n", count.per_call, count.started, count.persistent,
             count.late_fraction > 0.01
                 ? fmt::format("; busy machine: {:.0f} % of calls entered the waiting loop",
                               100 * count.late_fraction)
                 : "");
}

void print_footer(const Machine& m, const std::optional<InstructionCount>& instructions) {
  fmt::print("\n# {} rank{} on {} host{}, {}{}\n", m.ranks, plural(m.ranks), m.hosts, plural(m.hosts), m.cpu,
             m.oversubscribed ? "; RANKS OUTNUMBER CPUs: times include scheduling" : "");
  if (m.ranks == 1) fmt::print("# ONE RANK: nothing is communicated; start it with mpirun -n 2 or more\n");
  fmt::print("# ranks of hosts: {}\n", m.host_names);
  fmt::print("# CPUs each rank may use: {}\n", m.bindings);
  fmt::print("# line transfer, one way, ranks 0 and 1: {}, after the run {}\n", line_text(m.line_ns),
             line_text(m.line_after_ns));
  fmt::print("# libcoll says: {}\n", m.libcoll_says);
  fmt::print("# clock: {:.0f} ns per reading, {} every time\n", m.timer_ns, m.clock_kept ? "contained in" : "taken off");
  fmt::print("# libcoll {}{}{}\n", m.libcoll_version, m.mpi_version.empty() ? "" : "; ", m.mpi_version);
  if (!m.mpi_waiting.empty())
    fmt::print("# the MPI's {}{}\n", m.mpi_waiting,
               m.oversubscribed && m.mpi_waiting.find("not") != std::string::npos ? ": ITS TIMES ARE THE SCHEDULER'S, pass --mca mpi_yield_when_idle 1" : "");
  if (instructions) {
    fmt::print("# ");
    print_instructions(*instructions);
  }
  std::fflush(stdout);
}

Progress::Progress(std::size_t cells) : cells_(cells), visible_(isatty(STDERR_FILENO) != 0) {}
Progress::~Progress() { clear(); }
void Progress::clear() const {
  if (visible_) fmt::print(stderr, "\r\x1b[K");
}
void Progress::at(const char* collective, std::uint64_t bytes) {
  if (!visible_) return;
  constexpr std::size_t width = 30;
  const std::size_t full = done_++ * width / std::max<std::size_t>(cells_, 1);
  fmt::print(stderr, "\r\x1b[K[{}{}] {} of {}: {} {}", std::string(full, '='), std::string(width - full, ' '),
             done_, cells_, collective, bytes);
  std::fflush(stderr);
}

}  // namespace bench
