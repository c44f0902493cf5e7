#include "coll_bench/ways.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <fstream>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>

#include "coll_bench/report.hpp"
#include "coll_bench/runner.hpp"

namespace bench {

namespace {

constexpr double worthwhile = 1.05;  // the choice's time over the best's

// The recipe to note for a cell; "" leaves it to the library.
std::string best_recipe(const Cell& c) {
  const Way* best = c.best_way();
  return best != nullptr && !best->chosen && c.regret() > worthwhile ? best->recipe : "";
}

// One recipe for all sizes: of forms whose plans do not depend on the counts.
std::string best_overall(const std::vector<const Cell*>& cells) {
  std::map<std::string, std::pair<double, std::size_t>> logs;  // of time over the choice's; in how many cells
  for (const Cell* c : cells)
    for (const Way& w : c->ways)
      if (w.series.has_times() && !w.chosen) {
        auto& [sum, count] = logs[w.recipe];
        sum += std::log(w.series.avg_us() / c->ours.avg_us());
        ++count;
      }
  std::string best;
  double least = -std::log(worthwhile) * static_cast<double>(cells.size());
  for (const auto& [recipe, log] : logs)
    if (log.second == cells.size() && log.first < least) least = log.first, best = recipe;
  return best;
}

// Everybody once, with other neighbours in every turn: what ran before a way decides what the caches hold. Alike on all ranks.
std::vector<std::size_t> order_of_turn(std::size_t many, std::size_t turn) {
  std::vector<std::size_t> steps;
  for (std::size_t step = 1; step <= many; ++step)
    if (std::gcd(step, many) == 1) steps.push_back(step);
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < many; ++i) out.push_back((i * steps[turn % steps.size()] + turn) % many);
  return out;
}

bool counts_are_unknown(Coll c) { return c == Coll::gatherv || c == Coll::scatterv || c == Coll::alltoallv; }

}  // namespace

Cell measure_ways(const Contestants& c, const Options& o, Coll coll, Memory memory, std::uint64_t bytes) {
  const Shape shape = make_shape(coll, bytes, o.dtype, o.op, o.root, c.job.rank(), c.job.size());
  Cell cell{.coll = coll, .memory = memory, .bytes = shape.bytes, .iterations = o.iterations_for(shape.bytes)};
  Feeder feeder(shape, o.buffers, memory, c.cache_bytes, c.job.comm());
  for (const libcoll::Candidate& x : c.job.comm().candidates(library_name(coll), shape.count, o.dtype, o.op, o.root))
    cell.ways.push_back({.recipe = x.recipe, .predicted_us = x.predicted_us, .chosen = x.chosen});
  std::vector<std::unique_ptr<Library>> libraries;
  std::vector<std::unique_ptr<Runner>> runners;
  for (Way& w : cell.ways) {
    // The choice is left to the library: that it is what it says is part of what is measured.
    libraries.push_back(libcoll_library(c.job.comm(), w.chosen ? "" : w.recipe));
    runners.push_back(std::make_unique<Runner>(c, o, shape, feeder, *libraries.back(), w.series));
  }
  for (std::size_t r = 0; r < static_cast<std::size_t>(o.repetitions); ++r)
    for (const std::size_t i : order_of_turn(runners.size(), r)) runners[i]->block();
  for (const auto& r : runners) r->finish();
  for (const Way& w : cell.ways)
    if (w.chosen) cell.ours = w.series;
  std::stable_sort(cell.ways.begin(), cell.ways.end(), [](const Way& a, const Way& b) {
    if (a.series.has_times() != b.series.has_times()) return a.series.has_times();
    return a.series.has_times() && a.series.avg_us() < b.series.avg_us();
  });
  return cell;
}

std::string tuning_obstacle() {
  const libcoll::Config config = libcoll::Config::from_environment();
  if (!config.tuning_file.empty()) return "LIBCOLL_TUNING";
  if (config.algorithms.empty()) return {};
  std::string variable = "LIBCOLL_" + config.algorithms.begin()->first;
  std::transform(variable.begin(), variable.end(), variable.begin(), [](unsigned char x) { return static_cast<char>(std::toupper(x)); });
  return variable;
}

int write_tuning(libcoll::Comm& comm, const Options& o, const std::vector<Cell>& cells) {
  std::map<Coll, std::vector<const Cell*>> by_collective;
  for (const Cell& c : cells)
    if (c.memory == o.memories.front() && c.ours.has_times()) by_collective[c.coll].push_back(&c);
  std::vector<libcoll::TuningRule> rules;
  int better = 0;
  for (const auto& [coll, list] : by_collective) {
    const auto rule = [&](const Cell& c, const std::string& recipe) {
      const Shape shape = make_shape(c.coll, c.bytes, o.dtype, o.op, o.root, comm.rank(), comm.size());
      return libcoll::TuningRule{library_name(c.coll), shape.count, o.dtype, o.op, recipe};
    };
    if (counts_are_unknown(coll)) {
      rules.push_back(rule(*list.back(), best_overall(list)));
      better += rules.back().recipe.empty() ? 0 : static_cast<int>(list.size());
      continue;
    }
    const std::size_t first = rules.size();
    for (const Cell* c : list) {
      const std::string recipe = best_recipe(*c);
      better += !recipe.empty();
      if (rules.size() > first && rules.back().recipe == recipe) rules.pop_back();  // the wider one says the same
      rules.push_back(rule(*c, recipe));
    }
  }
  std::stringstream existing;
  existing << std::ifstream(o.tune).rdbuf();
  write_text(o.tune, comm.tuning_file(rules, existing.str()));
  return better;
}

}  // namespace bench
