// The text form of schedules.
#include <fmt/format.h>

#include "libcoll/schedule/schedule.hpp"

namespace libcoll::sched {

namespace {

std::string to_text(const Range& r) {
  static constexpr const char* names[] = {"send", "recv", "scratch", "send", "recv"};
  std::string out = names[static_cast<int>(r.space)];
  if (r.space == Space::send_block || r.space == Space::recv_block) out += fmt::format("[{}]", r.block);
  if (r.count == whole_block) return out;
  return out + fmt::format("({}+{})", r.offset, r.count);
}

std::string native_text(const Schedule& s, const Step& step) {
  std::string out = fmt::format("{} of group {}", detail::name_of(step.native), step.group);
  if (step.native == Coll::bcast || step.native == Coll::reduce || step.native == Coll::gatherv || step.native == Coll::scatterv)
    out += fmt::format(" root {}", step.root);
  if (step.native != Coll::barrier && step.native != Coll::bcast) out += fmt::format(" from {}", to_text(step.from));
  if (step.native != Coll::barrier) out += fmt::format(" to {}", to_text(step.to));
  if (step.many != 0) out += " parts";
  for (std::uint32_t i = 0; i < step.many; ++i) out += fmt::format(" {}+{}", s.parts[step.first + i].offset, s.parts[step.first + i].count);
  return out;
}

}  // namespace

std::string to_text(const Schedule& s, std::size_t index) {
  const Step& step = s.steps[index];
  switch (step.kind) {
    case Kind::send:
      return fmt::format("send to {} message {} {}", step.peer, step.message, step.from.count == 0 ? "signal" : to_text(step.from));
    case Kind::recv:
      return fmt::format("recv from {} message {} {}", step.peer, step.message, step.to.count == 0 ? "signal" : to_text(step.to));
    case Kind::copy: return fmt::format("copy {} = {}", to_text(step.to), to_text(step.from));
    case Kind::reduce: {
      std::string out = fmt::format("reduce {} =", to_text(step.to));
      for (std::uint32_t i = 0; i < step.many; ++i) out += fmt::format("{} {}", i == 0 ? "" : " (op)", to_text(s.operands[step.first + i]));
      return out;
    }
    case Kind::finish: return fmt::format("finish {}", to_text(step.to));
    case Kind::native: return fmt::format("native {}", native_text(s, step));
  }
  return "?";
}

std::string to_text(const Schedule& s) {
  std::string out = fmt::format("rank {} of {}, scratch {}\n", s.rank, s.size, s.scratch);
  for (std::size_t i = 0; i < s.steps.size(); ++i) {
    const Step& step = s.steps[i];
    out += fmt::format("{:>4}  {}", i, to_text(s, i));
    for (std::uint32_t a = 0; a < step.many_after; ++a) out += fmt::format("{}{}", a == 0 ? "  after " : ",", s.after[step.first_after + a]);
    out += '\n';
  }
  return out;
}

}  // namespace libcoll::sched
