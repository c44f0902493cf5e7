// The phases of verify, and what can be said of a step by looking at it alone.
#include "libcoll/schedule/verify.hpp"

#include <algorithm>

#include "libcoll/schedule/verify_proof.hpp"

namespace libcoll::sched {

int Proof::rank_of(std::uint32_t s) const { return static_cast<int>(std::upper_bound(base.begin(), base.end(), s) - base.begin()) - 1; }

bool Proof::fail_text(std::uint32_t s, const std::string& why) {
  const int r = rank_of(s);
  error = fmt::format("rank {}, step {} ({}): {}", r, s - base[at(r)], to_text(all[at(r)], s - base[at(r)]), why);
  return false;
}

bool Proof::check_shape() {
  base.assign(1, 0);
  for (const Schedule& s : all) base.push_back(base.back() + static_cast<std::uint32_t>(s.steps.size()));
  for (int r = 0; r < p.size; ++r) {
    const Schedule& s = all[at(r)];
    if (s.rank != r || s.size != p.size) {
      error = fmt::format("schedule {} of {} says that it is rank {} of {}", r, p.size, s.rank, s.size);
      return false;
    }
    for (std::uint32_t i = 0; i < s.steps.size(); ++i) {
      const Step& step = s.steps[i];
      const std::uint32_t id = base[at(r)] + i;
      for (std::uint32_t a = 0; a < step.many_after; ++a)
        if (s.after[step.first_after + a] >= i) return fail(id, "waits for step {}, which does not come before it", s.after[step.first_after + a]);
      if (!check_ranges(id, s, step)) return false;
    }
  }
  return true;
}

bool Proof::check_ranges(std::uint32_t id, const Schedule& s, const Step& step) {
  const int r = s.rank;
  bool fine = true;
  each_access(s, step, [&](const Range& range, bool writes) {
    if (!fine) return;
    const Place where = place(r, range);
    if (where.count == 0) return;
    if (where.memory < 0) fine = fail(id, "names a buffer that this collective does not have");
    else if (const Memory& m = std::as_const(memories[at(r)])[where.memory]; where.first < 0 || where.count < 0 || where.end() > m.size)
      fine = fail(id, "elements [{},{}) lie outside the buffer of {}{}", where.first, where.end(), m.size,
                  in_place[at(r)] && where.memory == 0 ? " (the call is in place)" : "");
    else if (writes && m.read_only)
      fine = fail(id, "writes a buffer that must stay as it is");
  });
  if (!fine) return false;
  const auto overlaps = [&](const Range& a, const Range& b) {
    const Place x = place(r, a), y = place(r, b);
    return x.memory == y.memory && x.first < y.end() && y.first < x.end();
  };
  switch (step.kind) {
    case Kind::send:
    case Kind::recv:
      if (step.peer < 0 || step.peer >= p.size || step.peer == r) return fail(id, "peer {} is not another rank", step.peer);
      break;
    case Kind::copy:
      if (place(r, step.to).count != place(r, step.from).count) return fail(id, "lengths differ");
      if (overlaps(step.to, step.from)) return fail(id, "copies between ranges that overlap");
      break;
    case Kind::reduce: {
      if (step.many < 2) return fail(id, "has fewer than two operands");
      int aliases = 0;
      for (std::uint32_t i = 0; i < step.many; ++i) {
        const Range& o = s.operands[step.first + i];
        if (place(r, o).count != place(r, step.to).count) return fail(id, "operand {} has another length", i);
        if (o == step.to) ++aliases;
        else if (overlaps(o, step.to)) return fail(id, "operand {} overlaps the result", i);
      }
      if (aliases > 1) return fail(id, "two operands are the result's range");
      break;
    }
    case Kind::finish: break;
    case Kind::native: {
      if (step.group < 0 || step.group >= static_cast<int>(p.groups.size())) return fail(id, "group {} is unknown", step.group);
      const auto& members = p.groups[at(step.group)];
      if (std::find(members.begin(), members.end(), r) == members.end()) return fail(id, "the rank is not a member of group {}", step.group);
      if (step.root < 0 || step.root >= static_cast<int>(members.size())) return fail(id, "root {} is not a member of group {}", step.root, step.group);
      break;
    }
  }
  return true;
}

detail::Result<void> verify(const Problem& p, std::span<const Schedule> all, const std::vector<bool>& in_place) {
  const auto bad = [](std::string text) { return detail::failure(Errc::internal, std::move(text)); };
  if (all.size() != static_cast<std::size_t>(p.size)) return bad(fmt::format("{} schedules for {} ranks", all.size(), p.size));
  const std::size_t size = all.size();
  const std::size_t counts = p.coll == Coll::reduce_scatter || p.coll == Coll::allgatherv ? size : 0;
  const std::size_t blocks = p.coll == Coll::alltoallv ? size * size : p.coll == Coll::gatherv || p.coll == Coll::scatterv ? size : 0;
  if (p.counts.size() != counts || p.block_counts.size() != blocks) return bad("the problem's counts are not as many as the collective needs");
  std::vector<bool> where(size);
  for (int r = 0; r < p.size; ++r) {
    const auto i = static_cast<std::size_t>(r);
    where[i] = in_place.empty() ? p.in_place && may_be_in_place(p, r) : in_place[i];
    if (where[i] && !may_be_in_place(p, r)) return bad(fmt::format("rank {} may not be in place", r));
  }
  Proof proof(p, all, std::move(where));
  proof.lay_out();
  if (proof.check_shape() && proof.match_messages() && proof.match_natives() && proof.order_events() && proof.check_hazards() && proof.run() &&
      proof.check_results() && proof.check_barrier())
    return {};
  return bad(proof.error);
}

}  // namespace libcoll::sched
