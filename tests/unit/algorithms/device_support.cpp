#include "tests/unit/algorithms/device_support.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "tests/support/draft.hpp"

namespace libcoll::test {

using detail::Coll;
using sched::Kind;
using sched::Problem;
using sched::Schedule;

algo::DeviceGroups equal_islands(int many, int members, Placement placement, std::uint64_t seed) {
  std::vector<int> ranks(static_cast<std::size_t>(many * members));
  std::iota(ranks.begin(), ranks.end(), 0);
  Random random(seed);
  if (placement == Placement::random) std::shuffle(ranks.begin(), ranks.end(), random);
  std::vector<std::vector<int>> islands(static_cast<std::size_t>(many));
  for (int i = 0; i < many * members; ++i)
    islands[static_cast<std::size_t>(placement == Placement::round_robin ? i % many : i / members)].push_back(ranks[static_cast<std::size_t>(i)]);
  return algo::device_groups(std::move(islands));
}

std::vector<Schedule> build_device_all(const Problem& p, const algo::DeviceGroups& groups, const algo::DeviceRecipe& recipe) {
  return build_all(p, [&](const Problem& mine, int r) { return algo::build_device(mine, groups, recipe, r); });
}

Schedule in_one_stream(const Schedule& s) {
  Draft d(s);
  const auto message = [&](std::size_t i) { return d.lines[i].step.kind == Kind::send || d.lines[i].step.kind == Kind::recv; };
  std::size_t begin = 0, end = 0;  // the steps before: all messages of a run, or one step
  for (std::size_t i = 0; i < d.lines.size(); ++i) {
    const auto& own = d.lines[i].after;  // a message that waits for one of its run begins another
    const bool joins = i > end && message(i) && message(i - 1) && std::none_of(own.begin(), own.end(), [&](std::uint32_t a) { return a >= end; });
    if (!joins) begin = end, end = i;
    for (std::size_t a = begin; a < end; ++a)
      if (std::find(own.begin(), own.end(), a) == own.end()) d.lines[i].after.push_back(static_cast<std::uint32_t>(a));
  }
  return d.done();
}

std::string foreign_to_devices(const Schedule& s, bool equal) {
  for (std::size_t i = 0; i < s.steps.size(); ++i) {
    const sched::Step& step = s.steps[i];
    const auto say = [&](const char* why) { return fmt::format("rank {}, step {}: {}", s.rank, to_text(s, i), why); };
    if (step.kind == Kind::reduce || step.kind == Kind::finish) return say("devices have no such step");
    if (step.kind != Kind::native) continue;
    switch (step.native) {
      case Coll::barrier:
      case Coll::bcast:
      case Coll::reduce:
      case Coll::allreduce: continue;
      case Coll::reduce_scatter:
      case Coll::allgatherv: break;
      default: return say("devices have no such native");
    }
    for (std::uint32_t k = 0; equal && k < step.many; ++k) {
      const std::int64_t each = s.parts[step.first].count;
      if (s.parts[step.first + k] != sched::Part{k * each, each}) return say("parts differ");
    }
  }
  return {};
}

std::string prove_device(Problem p, const algo::DeviceGroups& groups, const algo::DeviceRecipe& recipe, bool streams) {
  p.groups = algo::device_group_list(p.size, groups);
  const auto say = [&](const std::string& why) { return fmt::format("{}\n  in {} by {}", why, to_text(p), to_text(recipe)); };
  if (const std::string why = algo::refuses_device(p, groups, recipe); !why.empty()) return say("refused: " + why);
  auto all = build_device_all(p, groups, recipe);
  const bool equal = p.coll != Coll::reduce_scatter && p.coll != Coll::allgatherv;
  for (const Schedule& s : all)
    if (const std::string why = foreign_to_devices(s, equal); !why.empty()) return say(why);
  if (const auto proof = sched::verify(p, all); !proof) return say(proof.error().text);
  if (!streams) return {};
  for (Schedule& s : all) s = in_one_stream(s);
  if (const auto proof = sched::verify(p, all); !proof) return say("in one stream: " + proof.error().text);
  return {};
}

}  // namespace libcoll::test
