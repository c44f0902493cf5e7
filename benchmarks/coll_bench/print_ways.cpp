// Tables of --all-algorithms and of --nonblocking.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>

#include "coll_bench/report.hpp"

namespace bench {

void print_ways(const Cell& c) {
  const std::string size = c.coll == Coll::barrier ? "" : fmt::format(" of {} bytes", c.bytes);
  fmt::print("# {}{}; *: the library's choice\n", info_of(c.coll).name, size);
  fmt::print("{:<10}   {:<44} {:>13} {:>13} {:>8}\n", "# Size", "recipe", "predicted(us)", "measured(us)", "to best");
  const Way* best = c.best_way();
  for (const Way& w : c.ways) {
    fmt::print("{:<10} {} {:<44} {:>13.2f} ", c.bytes, w.chosen ? "*" : " ", w.recipe.empty() ? "(native step)" : w.recipe, w.predicted_us);
    if (w.series.has_times())
      fmt::print("{:>13.3f} {:>8.2f}\n", w.series.avg_us(), w.series.avg_us() / best->series.avg_us());
    else
      fmt::print("{:>13} {:>8}\n# {}\n", w.series.error.empty() ? "FAILED" : "ERROR", "-", w.series.error.empty() ? "wrong result" : w.series.error);
  }
  std::fflush(stdout);
}

std::vector<RegretSummary> summarise_regret(const std::vector<Cell>& cells) {
  std::vector<RegretSummary> all;
  for (const Cell& c : cells) {
    const double regret = c.regret();
    if (regret <= 0) continue;
    if (all.empty() || all.back().coll != c.coll || all.back().memory != c.memory) all.push_back({.coll = c.coll, .memory = c.memory});
    RegretSummary& s = all.back();
    if (regret > s.worst) s.worst = regret, s.worst_bytes = c.bytes;
    s.geometric_mean += std::log(regret);
    ++s.cells;
  }
  for (RegretSummary& s : all) s.geometric_mean = std::exp(s.geometric_mean / s.cells);
  return all;
}

void print_regret(const std::vector<Cell>& cells) {
  const std::vector<RegretSummary> all = summarise_regret(cells);
  if (all.empty()) return;
  fmt::print("\n# regret: time of the library's choice / time of the best way (1: nothing could be gained)\n");
  fmt::print("# {:<16} {:<8} {:>5} {:>15} {:>11}\n", "collective", "memory", "cells", "geometric mean", "worst cell");
  double logs = 0;
  int count = 0;
  const RegretSummary* worst = &all.front();
  for (const RegretSummary& s : all) {
    fmt::print("# {:<16} {:<8} {:>5} {:>15.2f} {:>11.2f}{}\n", info_of(s.coll).name, name_of(s.memory), s.cells, s.geometric_mean, s.worst,
               s.coll == Coll::barrier ? "" : fmt::format(" at {} bytes", s.worst_bytes));
    logs += std::log(s.geometric_mean) * s.cells;
    count += s.cells;
    if (s.worst > worst->worst) worst = &s;
  }
  if (all.size() > 1)
    fmt::print("# {:<16} {:<8} {:>5} {:>15.2f} {:>11.2f} at {} bytes of {}\n", "all", "", count, std::exp(logs / count), worst->worst, worst->worst_bytes,
               info_of(worst->coll).name);
}

void print_overlap_head(const Options& o, const Machine& m, Coll coll, Memory memory) {
  const CollInfo& info = info_of(coll);
  fmt::print("\n# libcoll Non-blocking {} Latency Test v{}\n", info.title, m.libcoll_version);
  if (coll != Coll::barrier)
    fmt::print("# Datatype: {}{}. {} memory, {} buffers.\n", o.dtype_name, info.reduces ? fmt::format(" {}", libcoll::name_of(o.op)) : "", name_of(memory),
               name_of(o.buffers));
  fmt::print("# Overall: start, compute, wait. Progress thread {}.\n", m.progress_thread ? "on" : "off");
  fmt::print("{:<10}{:>15}{:>15}{:>15}{:>15}{:>18}{:>15}{:>8}\n", "# Size", "Overall(us)", "Compute(us)", "Start(us)", "Wait(us)", "Pure Comm.(us)",
             "Overlap(%)", "Tests");
}

void print_overlap(const Cell& c) {
  if (c.overlap) {
    const Overlap& v = *c.overlap;
    fmt::print("{:<10}{:>15.3f}{:>15.3f}{:>15.3f}{:>15.3f}{:>18.3f}{:>15.2f}{:>8}\n", c.bytes, median(v.overall), median(v.compute), median(v.start),
               median(v.wait), c.ours.avg_us(), median(v.percent), v.tests);
  } else {
    fmt::print("{:<10}{:>15}\n# {}\n", c.bytes, c.ours.error.empty() ? "FAILED" : "ERROR", c.ours.error.empty() ? "wrong result" : c.ours.error);
  }
  std::fflush(stdout);
}

}  // namespace bench
