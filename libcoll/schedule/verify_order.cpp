// Who meets whom, an order of all events that is possible whatever the timing, and hazards inside ranks.
#include <algorithm>
#include <map>

#include "libcoll/schedule/verify_proof.hpp"

namespace libcoll::sched {

namespace {
constexpr std::uint32_t nobody = ~std::uint32_t{0};
}

// Never a table of all pairs: there are jobs of 10^4 ranks.
bool Proof::match_messages() {
  partner.assign(steps(), nobody);
  std::vector<std::int32_t> count(at(p.size));                     // of messages with each peer so far
  std::vector<std::vector<std::uint32_t>> sends(at(p.size));       // by sender: its sends, by receiver, then in order
  const auto peer = [&](int r, std::uint32_t s) { return all[at(r)].steps[s - base[at(r)]].peer; };
  for (int r = 0; r < p.size; ++r) {
    const auto& mine = all[at(r)].steps;
    for (std::uint32_t i = 0; i < mine.size(); ++i) {
      if (mine[i].kind != Kind::send) continue;
      auto& n = count[at(mine[i].peer)];
      if (mine[i].message != n) return fail(base[at(r)] + i, "is message number {} to that peer, not {}", n, mine[i].message);
      ++n;
      sends[at(r)].push_back(base[at(r)] + i);
    }
    for (const std::uint32_t s : sends[at(r)]) count[at(peer(r, s))] = 0;
    std::stable_sort(sends[at(r)].begin(), sends[at(r)].end(), [&](std::uint32_t x, std::uint32_t y) { return peer(r, x) < peer(r, y); });
  }
  for (int r = 0; r < p.size; ++r) {
    const auto& mine = all[at(r)].steps;
    for (std::uint32_t i = 0; i < mine.size(); ++i) {
      const Step& step = mine[i];
      if (step.kind != Kind::recv) continue;
      const std::uint32_t id = base[at(r)] + i;
      auto& k = count[at(step.peer)];
      if (step.message != k) return fail(id, "is message number {} from that peer, not {}", k, step.message);
      const auto& list = sends[at(step.peer)];
      const auto first = std::lower_bound(list.begin(), list.end(), r, [&](std::uint32_t s, int to) { return peer(step.peer, s) < to; });
      if (list.end() - first <= k || peer(step.peer, first[k]) != r) return fail(id, "rank {} never sends it", step.peer);
      const std::uint32_t other = first[k++];
      const auto sent = place(step.peer, all[at(step.peer)].steps[other - base[at(step.peer)]].from).count, got = place(r, step.to).count;
      if (sent != got) return fail(id, "expects {} elements, but rank {} sends {}", got, step.peer, sent);
      partner[id] = other;
      partner[other] = id;
    }
    for (const Step& step : mine)
      if (step.kind == Kind::recv) count[at(step.peer)] = 0;
  }
  for (int r = 0; r < p.size; ++r)
    for (const std::uint32_t s : sends[at(r)])
      if (partner[s] == nobody) return fail(s, "rank {} never receives it", peer(r, s));
  return true;
}

// The k-th native of a group on every member is one meeting.
bool Proof::match_natives() {
  meeting_of.assign(steps(), nobody);
  std::vector<std::vector<std::uint32_t>> first(p.groups.size());  // meetings by group, as the first member issues them
  std::vector<std::size_t> count(p.groups.size());
  for (int r = 0; r < p.size; ++r) {
    std::fill(count.begin(), count.end(), 0);
    for (std::uint32_t i = 0; i < all[at(r)].steps.size(); ++i) {
      const Step& step = all[at(r)].steps[i];
      if (step.kind != Kind::native) continue;
      const auto& members = p.groups[at(step.group)];
      auto& known = first[at(step.group)];
      const std::size_t k = count[at(step.group)]++;
      if (k == known.size()) {
        known.push_back(static_cast<std::uint32_t>(meetings.size()));
        meetings.push_back({step.group, std::vector<std::uint32_t>(members.size(), nobody)});
      }
      const auto me = static_cast<std::size_t>(std::find(members.begin(), members.end(), r) - members.begin());
      meetings[known[k]].steps[me] = base[at(r)] + i;
      meeting_of[base[at(r)] + i] = known[k];
    }
  }
  for (const Meeting& m : meetings) {
    std::uint32_t present = nobody;
    for (const std::uint32_t s : m.steps)
      if (s != nobody) present = s;
    for (std::size_t i = 0; i < m.steps.size(); ++i)
      if (m.steps[i] == nobody) return fail(present, "rank {} of the group does not take part", p.groups[at(m.group)][i]);
    if (!check_native(m)) return false;
  }
  return true;
}

// All members say the same, and the parts fit.
bool Proof::check_native(const Meeting& m) {
  const auto& members = p.groups[at(m.group)];
  const int n = static_cast<int>(members.size());
  const Step& lead = step(m.steps[0]);
  const auto part = [&](const Step& s, int owner, int i) { return all[at(owner)].parts[s.first + static_cast<std::uint32_t>(i)]; };
  const bool rooted = lead.native == Coll::bcast || lead.native == Coll::reduce || lead.native == Coll::gatherv || lead.native == Coll::scatterv;
  const bool has_parts = lead.native == Coll::reduce_scatter || lead.native == Coll::allgatherv || lead.native == Coll::gatherv ||
                         lead.native == Coll::scatterv || lead.native == Coll::alltoallv;
  const std::uint32_t want = !has_parts ? 0 : static_cast<std::uint32_t>(lead.native == Coll::alltoallv ? 2 * n : n);
  const int root = members[at(lead.root)];
  const Step& top = step(m.steps[at(lead.root)]);
  for (int i = 0; i < n; ++i) {
    const std::uint32_t id = m.steps[at(i)];
    const Step& s = step(id);
    const int r = members[at(i)];
    if (s.native != lead.native) return fail(id, "rank {} of the group runs a native {} here", members[0], detail::name_of(lead.native));
    if (rooted && s.root != lead.root) return fail(id, "rank {} of the group names root {}", members[0], lead.root);
    if (s.many != want) return fail(id, "has {} parts instead of {}", s.many, want);
    const Place from = place(r, s.from), to = place(r, s.to);
    for (std::uint32_t k = 0; k < s.many; ++k) {
      const Part x = part(s, r, static_cast<int>(k));
      const bool of_from = s.native == Coll::reduce_scatter || s.native == Coll::scatterv || (s.native == Coll::alltoallv && k < at(n));
      const bool counts_here = (s.native != Coll::gatherv && s.native != Coll::scatterv) || i == lead.root;
      if (x.offset < 0 || x.count < 0 || (counts_here && x.count > 0 && x.offset + x.count > (of_from ? from : to).count))
        return fail(id, "part {} lies outside", k);
    }
    const auto differ = [&](std::int64_t mine, std::int64_t other) { return fail(id, "gives {} elements where {} belong", mine, other); };
    switch (s.native) {
      case Coll::barrier: break;
      case Coll::bcast:
        if (to.count != place(members[0], lead.to).count) return differ(to.count, place(members[0], lead.to).count);
        break;
      case Coll::reduce:
        if (from.count != place(root, top.to).count) return differ(from.count, place(root, top.to).count);
        if (i != lead.root && to.count != 0) return fail(id, "only the root of the group has a result");
        break;
      case Coll::allreduce:
        if (from.count != to.count) return differ(from.count, to.count);
        if (to.count != place(members[0], lead.to).count) return differ(to.count, place(members[0], lead.to).count);
        break;
      case Coll::reduce_scatter: {
        std::int64_t at_ = part(s, r, 0).offset;
        for (int k = 0; k < n; ++k) {
          if (part(s, r, k).count != part(lead, members[0], k).count) return fail(id, "rank {} of the group names other counts", members[0]);
          if (part(s, r, k).offset != at_) return fail(id, "part {} does not begin where the one before ends", k);
          at_ += part(s, r, k).count;
        }
        if (to.count != part(s, r, i).count) return differ(to.count, part(s, r, i).count);
        break;
      }
      case Coll::allgatherv:
        for (int k = 0; k < n; ++k)
          if (part(s, r, k).count != part(lead, members[0], k).count) return fail(id, "rank {} of the group names other counts", members[0]);
        if (from.count != part(s, r, i).count) return differ(from.count, part(s, r, i).count);
        break;
      case Coll::gatherv:
        if (from.count != part(top, root, i).count) return differ(from.count, part(top, root, i).count);
        break;
      case Coll::scatterv:
        if (to.count != part(top, root, i).count) return differ(to.count, part(top, root, i).count);
        break;
      case Coll::alltoallv:
        for (int k = 0; k < n; ++k)
          if (part(s, r, k).count != part(step(m.steps[at(k)]), members[at(k)], n + i).count) return fail(id, "rank {} expects another number of elements", members[at(k)]);
        break;
      default: return fail(id, "no transport has this native operation");
    }
    // Where operand and result may be one: exactly the same elements, as in MPI's in place.
    if (from.memory == to.memory && from.first < to.end() && to.first < from.end()) {
      bool same = false;
      if (s.native == Coll::allreduce || s.native == Coll::reduce) same = from.first == to.first && from.count == to.count;
      if (s.native == Coll::allgatherv || s.native == Coll::gatherv) same = from.first == to.first + part(s, r, i).offset;
      if (s.native == Coll::reduce_scatter || s.native == Coll::scatterv) same = to.first == from.first + part(s, r, i).offset;
      if (!same) return fail(id, "operand and result overlap");
    }
  }
  return true;
}

// Kahn's algorithm over starts, ends and meetings. Sends are taken as synchronous.
bool Proof::order_events() {
  const std::uint32_t n = steps();
  std::vector<std::pair<std::uint32_t, std::uint32_t>> edges;
  edges.reserve(std::size_t{6} * n);
  for (int r = 0; r < p.size; ++r) {
    std::uint32_t native = nobody;
    for (std::uint32_t i = 0; i < all[at(r)].steps.size(); ++i) {
      const std::uint32_t s = base[at(r)] + i;
      const Step& step = all[at(r)].steps[i];
      for (std::uint32_t a = 0; a < step.many_after; ++a) edges.emplace_back(2 * (base[at(r)] + all[at(r)].after[step.first_after + a]) + 1, 2 * s);
      if (step.kind == Kind::native) {
        if (native != nobody) edges.emplace_back(2 * native + 1, 2 * s);
        native = s;
        edges.emplace_back(2 * s, 2 * n + meeting_of[s]);
        edges.emplace_back(2 * n + meeting_of[s], 2 * s + 1);
        continue;
      }
      edges.emplace_back(2 * s, 2 * s + 1);
      if (partner[s] != nobody) edges.emplace_back(2 * partner[s], 2 * s + 1);
    }
  }
  const std::size_t nodes = 2 * std::size_t{n} + meetings.size();
  std::vector<std::uint32_t> waiting(nodes), first(nodes + 1), next(edges.size());
  for (const auto& [a, b] : edges) ++first[a + 1], ++waiting[b];
  for (std::size_t i = 0; i < nodes; ++i) first[i + 1] += first[i];
  std::vector<std::uint32_t> fill(first.begin(), first.end() - 1);
  for (const auto& [a, b] : edges) next[fill[a]++] = b;
  events.reserve(nodes);
  for (std::uint32_t i = 0; i < nodes; ++i)
    if (waiting[i] == 0) events.push_back(i);
  for (std::size_t i = 0; i < events.size(); ++i)
    for (std::uint32_t k = first[events[i]]; k < first[events[i] + 1]; ++k)
      if (--waiting[next[k]] == 0) events.push_back(next[k]);
  if (events.size() == nodes) return true;
  explain_deadlock(edges, waiting);
  return false;
}

// Walks backwards from an event that never happens until one comes again.
void Proof::explain_deadlock(const std::vector<std::pair<std::uint32_t, std::uint32_t>>& edges, const std::vector<std::uint32_t>& waiting) {
  std::map<std::uint32_t, std::uint32_t> before;  // one that an event waits for in vain
  for (const auto& [a, b] : edges)
    if (waiting[a] != 0) before.emplace(b, a);
  std::uint32_t e = before.begin()->first;
  for (std::size_t i = 0; i < before.size(); ++i) e = before.at(e);  // now on the cycle
  const std::uint32_t begin = e;
  std::string text;
  std::uint32_t last = nobody;
  int many = 0;
  do {
    if (const std::uint32_t s = e / 2; e < 2 * steps() && s != last && ++many <= 8) {
      const int r = rank_of(s);
      text += fmt::format("{}rank {}, step {} ({})", text.empty() ? "" : " waits for ", r, s - base[at(r)], to_text(all[at(r)], s - base[at(r)]));
      last = s;
    }
    e = before.at(e);
  } while (e != begin);
  error = fmt::format("deadlock: {} waits for the first{}", text, many > 8 ? " in the end" : "");
}

// Which steps come before which, as bits; then all pairs that touch the same elements.
bool Proof::check_hazards() {
  struct Access {
    int memory;
    std::int64_t first, end;
    std::uint32_t step;
    bool writes;
  };
  std::vector<std::uint64_t> before;
  std::vector<Access> accesses, open;
  for (int r = 0; r < p.size; ++r) {
    const Schedule& s = all[at(r)];
    const std::size_t n = s.steps.size(), words = (n + 63) / 64;
    before.assign(n * words, 0);
    accesses.clear();
    for (std::size_t i = 0; i < n; ++i) {
      const Step& step = s.steps[i];
      std::uint64_t* mine = before.data() + i * words;
      for (std::uint32_t a = 0; a < step.many_after; ++a) {
        const std::size_t d = s.after[step.first_after + a];
        const std::uint64_t* theirs = before.data() + d * words;
        for (std::size_t w = 0; w <= d / 64; ++w) mine[w] |= theirs[w];
        mine[d / 64] |= std::uint64_t{1} << d % 64;
      }
      each_access(s, step, [&](const Range& range, bool writes) {
        const Place where = place(r, range);
        if (where.count > 0) accesses.push_back({where.memory, where.first, where.end(), static_cast<std::uint32_t>(i), writes});
      });
    }
    std::sort(accesses.begin(), accesses.end(), [](const Access& a, const Access& b) {
      return a.memory != b.memory ? a.memory < b.memory : a.first != b.first ? a.first < b.first : a.step < b.step;
    });
    open.clear();
    for (const Access& a : accesses) {
      std::erase_if(open, [&](const Access& o) { return o.memory != a.memory || o.end <= a.first; });
      for (const Access& o : open) {
        if (o.step == a.step || !(o.writes || a.writes)) continue;
        const std::size_t early = std::min(o.step, a.step), late = std::max(o.step, a.step);
        if ((before[late * words + early / 64] >> early % 64 & 1) == 0)
          return fail(base[at(r)] + static_cast<std::uint32_t>(late), "touches what step {} ({}) touches, and neither waits for the other", early, to_text(s, early));
      }
      open.push_back(a);
    }
  }
  return true;
}

}  // namespace libcoll::sched
