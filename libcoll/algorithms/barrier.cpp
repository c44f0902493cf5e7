// Barrier. Composed: everybody tells the leaders level by level, the leaders of the widest groups meet, and
// release their groups. A native barrier serves for both ways.
#include <cmath>

#include "libcoll/algorithms/collectives.hpp"
#include "libcoll/algorithms/compose.hpp"

namespace libcoll::algo {

namespace {

constexpr Entry entries[] = {{"dissemination", "signals at doubling distance: ceil(log2 p) rounds, any p", "Hensgen, Finkel, Manber 1988"}};

// Invariant: after round i a member has heard, directly or not, of the 2^(i+1) - 1 members before it.
// Cost: ceil(log2 n) rounds, one signal per member and round. Any n.
void disseminate(Site s, const Team& t) {
  const int n = t.size();
  for (int d = 1; d < n; d *= 2) {
    s.b.send_signal(t.rank((t.me + d) % n));
    s.b.recv_signal(t.rank((t.me + n - d) % n));
    s.b.fence();
  }
}

void stage(Site s, const Stage& stage, bool up) {
  const Team& t = stage.team;
  if (t.size() == 1) return;
  if (stage.native >= 0) {
    const Range none{Space::scratch, 0, 0, 0};
    s.b.native(Coll::barrier, stage.native, 0, none, none);
  } else if (!stage.leads()) {
    if (up) s.b.send_signal(t.rank(stage.leader));
    else s.b.recv_signal(t.rank(stage.leader));
  } else {
    for (int i = 0; i < t.size(); ++i) {
      if (i == stage.leader) continue;
      if (up) s.b.recv_signal(t.rank(i));
      else s.b.send_signal(t.rank(i));
    }
  }
  s.b.fence();
}

void emit(Builder& b, const Problem& p, const Recipe& r) {
  Room room(b);
  const Site s{b, room, p, r};
  const Way way = way_up(p, r, b.rank(), -1);
  for (const Stage& x : way.stages) stage(s, x, true);
  if (way.top.me >= 0) disseminate(s, way.top);
  // A native barrier of a single group has said everything already.
  const bool told = way.top.size() == 1 && r.over.size() == 1 && !way.stages.empty() && way.stages[0].native >= 0;
  if (told) return;
  for (auto x = way.stages.rbegin(); x != way.stages.rend(); ++x) stage(s, *x, false);
}

std::string why_not(const Problem& p, const Recipe& r) {
  if (r.slices != 1) return "a barrier has no slices";
  if (r.chunk != 0) return "a barrier has no chunks";
  (void)p;
  return {};
}

std::vector<Work> work_of(const Problem& p, const Recipe& r) {
  std::vector<Work> out;
  add_stage_work(out, p, r, Coll::barrier, 0);
  if (const double n = top_size(p, r); n > 1) out.push_back(exchange_work(p, r, std::ceil(std::log2(n)), 0, 0));
  add_stage_work(out, p, r, Coll::barrier, 0);
  return out;
}

}  // namespace

const Collective barrier_collective{entries, why_not, emit, work_of};

}  // namespace libcoll::algo
