// Exchanges in the hypercube: doubling, halving, and Swing's variation of them.
#include "libcoll/algorithms/team_reduce.hpp"

namespace libcoll::algo {

namespace {
std::size_t at(int i) { return static_cast<std::size_t>(i); }

// Any n is folded to a power of two first: of the first 2 (n - 2^k) members each odd one takes its left
// neighbour's operand, so that operands stay neighbours; the even ones wait.
struct Fold {
  int size = 1;   // the power of two
  int extra = 0;  // pairs
  int me = -1;    // number among those who go on, or -1
  explicit Fold(const Team& t) {
    while (2 * size <= t.size()) size *= 2;
    extra = t.size() - size;
    me = t.me >= 2 * extra ? t.me - extra : t.me % 2 == 1 ? t.me / 2 : -1;
  }
  int member(int v) const { return v < extra ? 2 * v + 1 : v + extra; }
};

// Returns where the member's operand is now.
Range fold_in(Site s, const Team& t, const Fold& f, const Range& from, const Range& acc) {
  if (f.me < 0) {
    s.b.send(t.rank(t.me + 1), from);
  } else if (f.me < f.extra) {
    const Range in = s.room.get(from.count);
    s.b.recv(t.rank(t.me - 1), in);
    s.b.reduce(acc, in, from);
    return acc;
  }
  return from;
}

void fold_out(Site s, const Team& t, const Fold& f, const Range& acc) {
  if (f.me < 0) s.b.recv(t.rank(t.me + 1), acc);
  else if (f.me < f.extra) s.b.send(t.rank(t.me - 1), acc);
}

// acc = mine (op) in, the lower member's operand first.
void combine(Site s, const Range& acc, const Range& mine, const Range& in, bool mine_first) {
  if (mine_first) s.b.reduce(acc, mine, in);
  else s.b.reduce(acc, in, mine);
}

// Round i of a butterfly of n = 2^k: with whom, and whether the lower half is kept.
struct Hypercube {
  int n;
  int peer(int v, int i) const { return v ^ (1 << i); }
  bool keeps_lower(int v, int i) const { return (v >> i & 1) == 0; }
};

// Swing: peers at distance 1, -1, 3, -5, ... so that messages cross few links of a ring or torus.
// Those who still share a range after i rounds pair up alike; which of the two groups that come out of round i
// takes the lower half is decided by their lowest members.
struct Swing {
  int n;
  int peer(int v, int i) const {
    int rho = 0;
    for (int k = 0, power = 1; k <= i; ++k, power *= -2) rho += power;
    return ((v % 2 == 0 ? v + rho : v - rho) % n + n) % n;
  }
  int lowest(int v, int i) const { return 1 << i >= n ? v : std::min(lowest(v, i + 1), lowest(peer(v, i), i + 1)); }
  bool keeps_lower(int v, int i) const { return lowest(v, i + 1) < lowest(peer(v, i), i + 1); }
};

struct Round {
  int peer;
  Range kept, given;
};

// Halves the range in every round: `acc` ends with one part of all operands, the last round's `kept`.
template <class Shape>
std::vector<Round> halve(Site s, const Team& t, const Fold& f, const Shape& shape, Range mine, const Range& acc) {
  std::vector<Round> rounds;
  int low = 0, high = f.size;
  const auto range = [&](const Range& of, int from, int to) {
    const auto first = even_part(of.count, f.size, from).offset;
    return sched::part(of, first, even_part(of.count, f.size, to).offset - first);
  };
  for (int i = 0; 1 << i < f.size; ++i) {
    const int peer = shape.peer(f.me, i), mid = (low + high) / 2;
    const bool lower = shape.keeps_lower(f.me, i);
    const int from = lower ? low : mid, to = lower ? mid : high;
    const Range kept = range(acc, from, to), given = lower ? range(acc, mid, high) : range(acc, low, mid);
    const Range in = s.room.get(kept.count);
    s.b.send(t.rank(f.member(peer)), lower ? range(mine, mid, high) : range(mine, low, mid));
    s.b.recv(t.rank(f.member(peer)), in);
    combine(s, kept, range(mine, from, to), in, f.me < peer);
    rounds.push_back({peer, kept, given});
    low = from;
    high = to;
    mine = acc;
  }
  return rounds;
}

template <class Shape>
void butterfly(Site s, const Team& t, const Range& from, const Range& acc, const Shape& shape) {
  const Fold f(t);
  const Range mine = fold_in(s, t, f, from, acc);
  if (f.me >= 0) {
    const auto rounds = halve(s, t, f, shape, mine, acc);
    for (auto r = rounds.rbegin(); r != rounds.rend(); ++r) {
      s.b.send(t.rank(f.member(r->peer)), r->kept);
      s.b.recv(t.rank(f.member(r->peer)), r->given);
    }
  }
  fold_out(s, t, f, acc);
}
}  // namespace

// Recursive doubling. Idea: in round i members whose numbers differ in bit i exchange all they have.
// Invariant: after round i a member has its block of 2^(i+1) neighbours combined, as the others of the block
// have, by the same expression. Cost: ceil(log2 n) rounds of m, 2 more if n is no power of two; n log2 n
// messages in all for powers of two. Any n, any operation. Source: Thakur et al. 2005.
void allreduce_doubling(Site s, const Team& t, const Range& from, const Range& acc) {
  const Fold f(t);
  Range mine = fold_in(s, t, f, from, acc);
  for (int d = 1; f.me >= 0 && d < f.size; d *= 2) {
    const int peer = f.me ^ d;
    const Range in = s.room.get(from.count);
    s.b.send(t.rank(f.member(peer)), mine);
    s.b.recv(t.rank(f.member(peer)), in);
    combine(s, acc, mine, in, f.me < peer);
    mine = acc;
  }
  fold_out(s, t, f, acc);
}

// Rabenseifner's: halving, then doubling. Idea: as recursive doubling, but each of a pair keeps one half of
// the range they share; then the same way back. Neighbours come first, so that operands stay in order.
// Cost: 2 ceil(log2 n) rounds, 2 (n - 1)/n m (2 m more for those folded). Any n, any operation.
// Sources: Rabenseifner, "Optimization of collective reduction operations", 2004;
// Swing: De Sensi et al., "Swing: short-cutting rings for higher bandwidth allreduce", NSDI 2024.
void allreduce_butterfly(Site s, const Team& t, const Range& from, const Range& acc, bool swing) {
  const Fold f(t);
  if (swing) butterfly(s, t, from, acc, Swing{f.size});
  else butterfly(s, t, from, acc, Hypercube{f.size});
}

void reduce_scatter_gather(Site s, const Team& t, int root, const Range& from, const Range& acc) {
  const Fold f(t);
  const Hypercube shape{f.size};
  const Range mine = fold_in(s, t, f, from, acc);
  if (f.me >= 0) {
    const auto rounds = halve(s, t, f, shape, mine, acc);
    if (t.me != root) s.b.send(t.rank(root), rounds.back().kept);
  }
  if (t.me != root) return;
  for (int v = 0; v < f.size; ++v) {
    if (f.member(v) == root) continue;
    int part = 0;  // the halves that v kept
    for (int i = 0; 1 << i < f.size; ++i) part = 2 * part + (shape.keeps_lower(v, i) ? 0 : 1);
    s.b.recv(t.rank(f.member(v)), sub(acc, even_part(acc.count, f.size, part)));
  }
}

// Recursive halving with the farthest first, so that a member ends with its own block. Invariant: after round
// i a member holds the blocks of n / 2^(i+1) members, of 2^(i+1) operands. Cost: ceil(log2 n) rounds,
// (n - 1)/n m; not a power of two: one round of m before and one of a block after. Source: Thakur et al. 2005.
void reduce_scatter_halving(Site s, const Team& t, const Range& from, const Range& to, std::span<const Part> parts) {
  const Fold f(t);
  const Range acc = s.room.get(from.count);
  Range mine = fold_in(s, t, f, from, acc);
  const auto block = [&](int v) { return v < f.extra ? 2 * v : v + f.extra; };  // first of those of v
  const auto range = [&](const Range& of, int low, int high) {
    const Part &a = parts[at(block(low))], &z = parts[at(block(high) - 1)];
    return sched::part(of, a.offset, z.offset + z.count - a.offset);
  };
  int low = 0, high = f.size;
  for (int d = f.size / 2; f.me >= 0 && d > 0; d /= 2) {
    const int mid = (low + high) / 2;
    const bool lower = (f.me & d) == 0;
    const int peer = t.rank(f.member(f.me ^ d));
    s.b.send(peer, lower ? range(mine, mid, high) : range(mine, low, mid));
    if (lower) high = mid;
    else low = mid;
    const Range kept = range(acc, low, high), in = s.room.get(kept.count);
    s.b.recv(peer, in);
    combine(s, kept, range(mine, low, high), in, lower);
    mine = acc;
  }
  if (f.me < 0) return s.b.recv(t.rank(t.me + 1), to);
  if (f.me < f.extra) s.b.send(t.rank(t.me - 1), sub(mine, parts[at(t.me - 1)]));
  s.b.copy(to, sub(mine, parts[at(t.me)]));
}

}  // namespace libcoll::algo
