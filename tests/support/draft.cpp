#include "tests/support/draft.hpp"

namespace libcoll::test {

using sched::Kind;
using sched::Range;
using sched::Schedule;
using sched::Step;

Draft::Draft(const Schedule& s) : head(s) {
  head.steps.clear(), head.operands.clear(), head.parts.clear(), head.after.clear();
  for (const Step& step : s.steps) {
    Line l{step, {}, {}, {s.after.begin() + step.first_after, s.after.begin() + step.first_after + step.many_after}};
    if (step.kind == Kind::reduce) l.operands.assign(s.operands.begin() + step.first, s.operands.begin() + step.first + step.many);
    if (step.kind == Kind::native) l.parts.assign(s.parts.begin() + step.first, s.parts.begin() + step.first + step.many);
    lines.push_back(std::move(l));
  }
}

Schedule Draft::done() const {
  Schedule s = head;
  for (const Line& l : lines) {
    Step step = l.step;
    step.first = static_cast<std::uint32_t>(step.kind == Kind::native ? s.parts.size() : s.operands.size());
    step.many = static_cast<std::uint32_t>(step.kind == Kind::native ? l.parts.size() : l.operands.size());
    step.first_after = static_cast<std::uint32_t>(s.after.size());
    step.many_after = static_cast<std::uint32_t>(l.after.size());
    s.operands.insert(s.operands.end(), l.operands.begin(), l.operands.end());
    s.parts.insert(s.parts.end(), l.parts.begin(), l.parts.end());
    s.after.insert(s.after.end(), l.after.begin(), l.after.end());
    s.steps.push_back(step);
  }
  return s;
}

void Draft::erase(std::size_t i) {
  const Line gone = lines[i];
  lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(i));
  for (Line& l : lines) {
    if (l.step.kind == gone.step.kind && l.step.peer == gone.step.peer && l.step.message > gone.step.message) --l.step.message;
    if (std::erase(l.after, i) > 0) l.after.insert(l.after.end(), gone.after.begin(), gone.after.end());
    for (auto& a : l.after) a -= a > i ? 1 : 0;
  }
}

bool conflict(const Line& a, const Line& b) {
  bool any = false;
  each_range(a, [&](const Range& x, bool x_writes) {
    each_range(b, [&](const Range& y, bool y_writes) {
      any = any || ((x_writes || y_writes) && x.space == y.space && x.block == y.block && x.count > 0 && y.count > 0 &&
                    x.offset < y.offset + y.count && y.offset < x.offset + x.count);
    });
  });
  return any;
}

bool ordered(const Draft& d, std::size_t early, std::size_t late) {
  for (const auto a : d.lines[late].after)
    if (a == early || (a > early && ordered(d, early, a))) return true;
  return false;
}

}  // namespace libcoll::test
