// Predicted time of a recipe: alpha + beta n + gamma n over the phases that the algorithm reports
// (algo::Work), from agreed costs. A pure function, evaluated alike on all ranks.
#pragma once

#include "libcoll/algorithms/algorithm.hpp"
#include "libcoll/planning/costs.hpp"

namespace libcoll::planning {

// Microseconds.
double predict_us(const sched::Problem&, const algo::Recipe&, const Costs&, std::uint32_t element_bytes);
// What the critical path sends: rounds of messages one after the other, all chunks together, and elements.
struct Messages {
  double rounds = 0, elements = 0;
};
Messages messages_of(const sched::Problem&, const algo::Recipe&);
// Of one native step that solves the whole problem, where all ranks share memory.
double predict_native_us(const sched::Problem&, const Costs&, std::uint32_t element_bytes);

}  // namespace libcoll::planning
