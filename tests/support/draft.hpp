// A schedule that can be edited, for tests that break one.
#pragma once

#include <cstdint>
#include <vector>

#include "libcoll/schedule/schedule.hpp"

namespace libcoll::test {

// A step with what is its own.
struct Line {
  sched::Step step;
  std::vector<sched::Range> operands;
  std::vector<sched::Part> parts;
  std::vector<std::uint32_t> after;
};

struct Draft {
  sched::Schedule head;  // without steps
  std::vector<Line> lines;

  explicit Draft(const sched::Schedule&);
  sched::Schedule done() const;
  // Its dependents wait for what it waited for; later messages of the pair are renumbered.
  void erase(std::size_t line);
};

// Calls f(range, writes) for all ranges of a step.
template <class F>
void each_range(const Line& l, F&& f) {
  for (const sched::Range& o : l.operands) f(o, false);
  f(l.step.from, false);
  f(l.step.to, true);
}
// Whether two steps touch the same elements, one writing.
bool conflict(const Line&, const Line&);
// Whether `late` comes after `early` by dependencies.
bool ordered(const Draft&, std::size_t early, std::size_t late);

}  // namespace libcoll::test
