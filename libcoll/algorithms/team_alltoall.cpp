#include "libcoll/algorithms/team_alltoall.hpp"

#include <algorithm>

namespace libcoll::algo {

namespace {

constexpr std::size_t at(int i) { return static_cast<std::size_t>(i); }

// Takes one segment after the other off a range.
class Cursor {
 public:
  explicit Cursor(const Range& r) : rest_(r) {}
  Range take(std::int64_t count) {
    const Range r = part(rest_, 0, count);
    rest_ = part(rest_, count, rest_.count - count);
    return r;
  }

 private:
  Range rest_;
};

// A narrowest cluster: natively, else every segment by a message.
void exchange_leaf(Builder& b, const Problem& p, const Cluster& c, const Traffic& traffic, const Range& to, const Range& from) {
  const Team team = sched::team_of(c.ranks, b.rank());
  std::vector<Part> out, in;
  std::int64_t sent = 0, got = 0;
  for (int i = 0; i < team.size(); ++i) {
    out.push_back({sent, traffic(team.me, i)});
    in.push_back({got, traffic(i, team.me)});
    sent += out.back().count;
    got += in.back().count;
  }
  const auto range = [](const Range& r, const Part& x) { return part(r, x.offset, x.count); };
  if (const NativeGroup g = native_group(p, c.ranks); g.index >= 0) {
    std::vector<Part> parts;
    for (const int i : g.member) parts.push_back(out[at(i)]);
    for (const int i : g.member) parts.push_back(in[at(i)]);
    return b.native(Coll::alltoallv, g.index, 0, to, from, parts);
  }
  b.copy(range(to, in[at(team.me)]), range(from, out[at(team.me)]));
  exchange(b, team, exchange_window, [&](int i) { return range(from, out[at(i)]); }, [&](int i) { return range(to, in[at(i)]); });
}

// One rank's view of an exchange between the parts of a cluster. Members are named by their index in
// the cluster (i, j), or in my part (a, m).
class Between {
 public:
  Between(Builder& builder, const Problem& problem, const Cluster& cluster, const Traffic& traffic_, int slices_)
      : b(builder), p(problem), c(cluster), traffic(traffic_), slices(slices_) {
    for (const Cluster& g : c.parts) start.push_back(start.back() + g.size());
    h = c.part_of(b.rank());
    me = static_cast<int>(std::find(c.ranks.begin(), c.ranks.end(), b.rank()) - c.ranks.begin());
  }
  void run(int window, const Range& to, const Range& from);

 private:
  int parts() const { return static_cast<int>(c.parts.size()); }
  int members(int g) const { return c.parts[at(g)].size(); }
  // Which member of part `of` speaks with part `with`: the leader first, then those after it.
  int charge(int of, int with) const {
    const Cluster& g = c.parts[at(of)];
    const auto leader = static_cast<int>(std::find(g.ranks.begin(), g.ranks.end(), g.leader) - g.ranks.begin());
    const int many = slices == all_slices ? g.size() : std::min(slices, g.size());
    return (leader + with % many) % g.size();
  }
  int rank_in_charge(int of, int with) const { return c.parts[at(of)].ranks[at(charge(of, with))]; }
  bool mine(int g, int member) const { return g != h && charge(h, g) == member; }
  // Elements from i to all of part g, and from all of part g to j.
  std::int64_t to_part(int i, int g) const {
    std::int64_t n = 0;
    for (int j = start[at(g)]; j < start[at(g + 1)]; ++j) n += traffic(i, j);
    return n;
  }
  std::int64_t from_part(int g, int j) const {
    std::int64_t n = 0;
    for (int i = start[at(g)]; i < start[at(g + 1)]; ++i) n += traffic(i, j);
    return n;
  }
  std::int64_t between(int from, int to) const {
    std::int64_t n = 0;
    for (int i = start[at(from)]; i < start[at(from + 1)]; ++i) n += to_part(i, to);
    return n;
  }
  Traffic inwards() const;
  Traffic outwards() const;
  void bring(const Range& to, const Range& from, int window);
  void send_and_receive(int window);
  void hand_out(const Range& to, int window);

  Builder& b;
  const Problem& p;
  const Cluster& c;
  const Traffic& traffic;
  int slices, h = 0, me = 0;
  std::vector<int> start{0};        // by part: first member
  std::vector<Range> going, come;   // by part in my charge: its message
};

// To the members in charge: what is for other parts, and after it what is for themselves.
Traffic Between::inwards() const {
  Traffic t = Traffic::none(members(h));
  for (int a = 0; a < members(h); ++a)
    for (int m = 0; m < members(h); ++m) {
      t.cell(a, m) = traffic(start[at(h)] + a, start[at(h)] + m);
      for (int g = 0; g < parts(); ++g)
        if (mine(g, m)) t.cell(a, m) += to_part(start[at(h)] + a, g);
    }
  return t;
}

Traffic Between::outwards() const {
  Traffic t = Traffic::none(members(h));
  for (int a = 0; a < members(h); ++a)
    for (int m = 0; m < members(h); ++m)
      for (int g = 0; g < parts(); ++g)
        if (mine(g, a)) t.cell(a, m) += from_part(g, start[at(h)] + m);
  return t;
}

// After it `going` holds a message for each part in my charge, ordered by sender, then receiver.
void Between::bring(const Range& to, const Range& from, int window) {
  const int first = start[at(h)], mine_in_part = me - first;
  std::vector<Range> to_member;  // my segments
  Cursor mine_out(from), mine_in(to);
  std::vector<Range> from_member;
  for (int j = 0; j < c.size(); ++j) to_member.push_back(mine_out.take(traffic(me, j)));
  for (int i = 0; i < c.size(); ++i) from_member.push_back(mine_in.take(traffic(i, me)));

  const Traffic t = inwards();
  const Cluster& part_ = c.parts[at(h)];
  std::int64_t out = 0, in = 0;
  for (int m = 0; m < members(h); ++m) {
    out += t(mine_in_part, m);
    in += t(m, mine_in_part);
  }
  const Range packed = b.scratch(out), brought = b.scratch(in);
  std::vector<std::pair<Range, Range>> copies;
  Cursor pack(packed);
  for (int m = 0; m < members(h); ++m) {
    for (int g = 0; g < parts(); ++g)
      if (mine(g, m))
        for (int j = start[at(g)]; j < start[at(g + 1)]; ++j) copies.emplace_back(pack.take(to_member[at(j)].count), to_member[at(j)]);
    copies.emplace_back(pack.take(to_member[at(first + m)].count), to_member[at(first + m)]);
  }
  copy_all(b, copies);
  if (!t.empty()) exchange_in(b, p, part_, t, slices, window, brought, packed);

  copies.clear();
  std::vector<Cursor> message;
  going.assign(at(parts()), Range{});
  come.assign(at(parts()), Range{});
  for (int g = 0; g < parts(); ++g) {
    if (mine(g, mine_in_part)) {
      going[at(g)] = b.scratch(between(h, g));
      come[at(g)] = b.scratch(between(g, h));
    }
    message.emplace_back(going[at(g)]);
  }
  Cursor got(brought);
  for (int a = 0; a < members(h); ++a) {
    for (int g = 0; g < parts(); ++g)
      if (mine(g, mine_in_part)) {
        const std::int64_t n = to_part(first + a, g);
        copies.emplace_back(message[at(g)].take(n), got.take(n));
      }
    const std::int64_t n = traffic(first + a, me);
    copies.emplace_back(from_member[at(first + a)], got.take(n));
  }
  copy_all(b, copies);
}

void Between::send_and_receive(int window) {
  const int k = parts();
  for (int round = 1; round < k; ++round) {
    const int next = (h + round) % k, last = (h - round + k) % k;
    b.send(rank_in_charge(next, h), going[at(next)]);
    b.recv(rank_in_charge(last, h), come[at(last)]);
    if (round % window == 0) b.fence();
  }
}

void Between::hand_out(const Range& to, int window) {
  const Traffic t = outwards();
  if (t.empty()) return;
  const int first = start[at(h)], mine_in_part = me - first;
  std::int64_t out = 0, in = 0;
  for (int m = 0; m < members(h); ++m) {
    out += t(mine_in_part, m);
    in += t(m, mine_in_part);
  }
  const Range packed = b.scratch(out), handed = b.scratch(in);
  // Messages are ordered by sender, then receiver; the native wants all for one receiver together.
  std::vector<std::vector<std::pair<Range, Range>>> for_member(at(members(h)));
  for (int g = 0; g < parts(); ++g) {
    if (!mine(g, mine_in_part)) continue;
    Cursor message(come[at(g)]);
    for (int i = start[at(g)]; i < start[at(g + 1)]; ++i)
      for (int m = 0; m < members(h); ++m) for_member[at(m)].emplace_back(Range{}, message.take(traffic(i, first + m)));
  }
  std::vector<std::pair<Range, Range>> copies;
  Cursor pack(packed);
  for (auto& list : for_member)
    for (auto& [target, source] : list) copies.emplace_back(pack.take(source.count), source);
  copy_all(b, copies);
  exchange_in(b, p, c.parts[at(h)], t, slices, window, handed, packed);

  std::vector<Range> from_member;
  Cursor mine_in(to);
  for (int i = 0; i < c.size(); ++i) from_member.push_back(mine_in.take(traffic(i, me)));
  copies.clear();
  Cursor got(handed);
  for (int a = 0; a < members(h); ++a)
    for (int g = 0; g < parts(); ++g)
      if (mine(g, a))
        for (int i = start[at(g)]; i < start[at(g + 1)]; ++i) copies.emplace_back(from_member[at(i)], got.take(from_member[at(i)].count));
  copy_all(b, copies);
}

void Between::run(int window, const Range& to, const Range& from) {
  bring(to, from, window);
  send_and_receive(window);
  hand_out(to, window);
}

}  // namespace

bool Traffic::empty() const {
  return count_ == 0 && std::all_of(table_.begin(), table_.end(), [](std::int64_t n) { return n == 0; });
}

int window_of(const std::string& algorithm) { return algorithm == "pairwise" ? 1 : exchange_window; }

void exchange(Builder& b, const Team& t, int window, const std::function<Range(int)>& to_member,
              const std::function<Range(int)>& from_member) {
  const int n = t.size();
  for (int k = 1; k < n; ++k) {
    const int next = (t.me + k) % n, last = (t.me - k + n) % n;
    b.send(t.rank(next), to_member(next));
    b.recv(t.rank(last), from_member(last));
    if (k % window == 0) b.fence();
  }
}

void exchange_in(Builder& b, const Problem& p, const Cluster& c, const Traffic& traffic, int slices, int window, const Range& to,
                 const Range& from) {
  if (c.parts.empty()) exchange_leaf(b, p, c, traffic, to, from);
  else if (c.parts.size() == 1) exchange_in(b, p, c.parts[0], traffic, slices, window, to, from);
  else Between(b, p, c, traffic, slices).run(window, to, from);
}

}  // namespace libcoll::algo
