// Neighbours in a ring, all pairs one after the other, and circulant graphs. All need a commutative operation.
#include <algorithm>

#include "libcoll/algorithms/team_reduce.hpp"

namespace libcoll::algo {

namespace {
std::size_t at(int i) { return static_cast<std::size_t>(i); }
int wrap(int i, int n) { return (i % n + n) % n; }

std::int64_t largest(std::span<const Part> parts) {
  std::int64_t n = 0;
  for (const Part& p : parts) n = std::max(n, p.count);
  return n;
}

std::vector<Part> even_parts(std::int64_t count, int n) {
  std::vector<Part> out;
  for (int i = 0; i < n; ++i) out.push_back(even_part(count, n, i));
  return out;
}

// Blocks [first, first + many) counted around the ring, as one or two ranges of the vector.
std::vector<Range> around(const Range& of, std::span<const Part> parts, int first, int many) {
  const int n = static_cast<int>(parts.size());
  std::vector<Range> out;
  const auto add = [&](int from, int to) {
    if (from == to) return;
    const Part &a = parts[at(from)], &z = parts[at(to - 1)];
    out.push_back(sched::part(of, a.offset, z.offset + z.count - a.offset));
  };
  add(first, std::min(n, first + many));
  if (first + many > n) add(0, first + many - n);
  return out;
}

// Halves from n down to 1, rounding up: {to, from} of each round.
std::vector<std::pair<int, int>> skips(int n) {
  std::vector<std::pair<int, int>> out;
  for (int s = n; s > 1; s = (s + 1) / 2) out.emplace_back((s + 1) / 2, s);
  return out;
}

// acc ends with the member's own block.
void circulant_halving(Site s, const Team& t, const Range& from, const Range& acc, std::span<const Part> parts) {
  const int n = t.size();
  Range mine = from;
  for (const auto& [keep, had] : skips(n)) {
    const int to = wrap(t.me + keep, n), source = wrap(t.me - keep, n);
    for (const Range& r : around(mine, parts, wrap(t.me + keep, n), had - keep)) s.b.send(t.rank(to), r);
    const auto old = around(mine, parts, t.me, had - keep), now = around(acc, parts, t.me, had - keep);
    for (std::size_t i = 0; i < now.size(); ++i) {
      const Range in = s.room.get(now[i].count);
      s.b.recv(t.rank(source), in);
      s.b.reduce(now[i], old[i], in);
    }
    if (had - keep < keep) {  // one block took no part
      const int left = wrap(t.me + keep - 1, n);
      s.b.copy(sub(acc, parts[at(left)]), sub(mine, parts[at(left)]));
    }
    mine = acc;
  }
}
}  // namespace

// Ring allreduce. Idea: blocks travel around, growing by one operand at every stop, then around again.
// Invariant: after round r member i has block i - 2 - r with r + 2 operands. Cost: 2 (n - 1) rounds,
// 2 (n - 1)/n m. Source: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms", 2009.
void allreduce_ring(Site s, const Team& t, const Range& from, const Range& acc) {
  const int n = t.size(), right = t.rank(wrap(t.me + 1, n)), left = t.rank(wrap(t.me - 1, n));
  const auto parts = even_parts(from.count, n);
  const Range inbox[] = {s.room.get(largest(parts)), s.room.get(largest(parts))};
  for (int r = 0; r + 1 < n; ++r) {
    const Part &out = parts[at(wrap(t.me - 1 - r, n))], &in = parts[at(wrap(t.me - 2 - r, n))];
    const Range got = sched::part(inbox[r % 2], 0, in.count);
    s.b.send(right, sub(r == 0 ? from : acc, out));
    s.b.recv(left, got);
    s.b.reduce(sub(acc, in), got, sub(from, in));
  }
  for (int r = 0; r + 1 < n; ++r) {
    s.b.send(right, sub(acc, parts[at(wrap(t.me - r, n))]));
    s.b.recv(left, sub(acc, parts[at(wrap(t.me - 1 - r, n))]));
  }
}

void reduce_scatter_ring(Site s, const Team& t, const Range& from, const Range& to, std::span<const Part> parts) {
  const int n = t.size(), right = t.rank(wrap(t.me + 1, n)), left = t.rank(wrap(t.me - 1, n));
  const Range inbox[] = {s.room.get(largest(parts)), s.room.get(largest(parts))};
  Range have = sub(from, parts[at(wrap(t.me - 1, n))]);
  for (int r = 0; r + 1 < n; ++r) {
    const Part& in = parts[at(wrap(t.me - 2 - r, n))];
    const Range got = sched::part(inbox[r % 2], 0, in.count);
    s.b.send(right, have);
    s.b.recv(left, got);
    s.b.reduce(r + 2 == n ? to : got, got, sub(from, in));
    have = got;
  }
}

// Pairwise. Idea: in round r every member sends member + r its block. Cost: n - 1 rounds, (n - 1)/n m, any n.
void reduce_scatter_pairwise(Site s, const Team& t, const Range& from, const Range& to, std::span<const Part> parts) {
  const int n = t.size();
  const std::int64_t own = parts[at(t.me)].count;
  const Range inbox[] = {s.room.get(own), s.room.get(own)};
  Range mine = sub(from, parts[at(t.me)]);
  for (int r = 1; r < n; ++r) {
    const int next = wrap(t.me + r, n), last = wrap(t.me - r, n);
    s.b.send(t.rank(next), sub(from, parts[at(next)]));
    s.b.recv(t.rank(last), inbox[r % 2]);
    s.b.reduce(to, mine, inbox[r % 2]);
    mine = to;
  }
}

// Circulant graph. Idea: a member numbers the blocks from its own on; in a round that goes from h blocks to
// k = ceil(h / 2) it sends blocks k.. to the member k further, for whom they are blocks 0.. Invariant: before a
// round, what is missing of a block is spread over the blocks 0..h of others. Cost: ceil(log2 n) rounds for
// any n, (n - 1)/n m; a run of blocks that wraps around is two messages. The allgather goes the same way back.
// Source: Traeff, "Optimal, non-pipelined reduce-scatter and allreduce algorithms", 2024.
void reduce_scatter_circulant(Site s, const Team& t, const Range& from, const Range& to, std::span<const Part> parts) {
  const Range acc = s.room.get(from.count);
  circulant_halving(s, t, from, acc, parts);
  s.b.copy(to, sub(acc, parts[at(t.me)]));
}

void allgather_circulant(Site s, const Team& t, const Range& buffer, std::span<const Part> parts) {
  const int n = t.size();
  const auto rounds = skips(n);
  for (auto r = rounds.rbegin(); r != rounds.rend(); ++r) {
    const auto [have, want] = *r;
    for (const Range& x : around(buffer, parts, t.me, want - have)) s.b.send(t.rank(wrap(t.me - have, n)), x);
    for (const Range& x : around(buffer, parts, wrap(t.me + have, n), want - have)) s.b.recv(t.rank(wrap(t.me + have, n)), x);
  }
}

void allreduce_circulant(Site s, const Team& t, const Range& from, const Range& acc) {
  const auto parts = even_parts(from.count, t.size());
  circulant_halving(s, t, from, acc, parts);
  allgather_circulant(s, t, acc, parts);
}

}  // namespace libcoll::algo
