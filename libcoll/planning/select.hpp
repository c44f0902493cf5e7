// Chooses a recipe: the caller's, else the environment's, else the tuning file's, else the cheapest
// prediction. Pure: depends on values that are equal on all ranks.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "libcoll/planning/predict.hpp"
#include "libcoll/planning/tuning.hpp"

namespace libcoll::planning {

struct Choice {
  algo::Recipe recipe;
  double predicted_us = 0;
  const char* why = "cost model";   // or "caller", "environment", "tuning file"
};

struct Wish {
  std::string recipe;               // text; empty: none
  const char* whose = "caller";
};

// All candidates, cheapest prediction first; but before all others, of those about as cheap that send no more, the one of the
// fewest rounds. Never empty.
std::vector<Choice> rank_candidates(const sched::Problem&, const Costs&, std::uint32_t element_bytes);
// Fails if the wish cannot be parsed or cannot solve the problem, and says why.
detail::Result<Choice> choose(const sched::Problem&, const Wish&, const TuningTable*, const Costs&, std::uint32_t element_bytes);

}  // namespace libcoll::planning
