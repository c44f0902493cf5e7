// Trees, chains, and the one reduction in rank order.
#include "libcoll/algorithms/team_reduce.hpp"

namespace libcoll::algo {

namespace {
std::size_t at(int i) { return static_cast<std::size_t>(i); }

// Powers of the radix below n, widest last.
std::vector<int> distances(int n, int radix) {
  std::vector<int> out;
  for (std::int64_t d = 1; d < n; d *= radix) out.push_back(static_cast<int>(d));
  return out;
}

std::vector<Part> even_parts(std::int64_t count, int n) {
  std::vector<Part> out;
  for (int i = 0; i < n; ++i) out.push_back(even_part(count, n, i));
  return out;
}
}  // namespace

// k-nomial reduction tree. Idea: in round i members whose number has digit i (base k) not zero send what they
// have to the member with that digit zero. Invariant: before the round of distance d, member v (a multiple of
// d) holds members [v, v + d) combined, so operands are neighbours in rank and stay in order.
// Cost: ceil(log_k n) rounds of (k - 1) messages of m. Any n. A root other than member 0: numbers count from
// the root on, or, if the operation does not commute, member 0 passes the result on.
// Source: Thakur, Rabenseifner, Gropp, "Optimization of collective communication operations in MPICH", 2005.
Range reduce_tree(Site s, const Team& t, int root, const Range& from, const Range& acc) {
  const int n = t.size(), turn = s.p.commutative ? root : 0, v = (t.me + n - turn) % n, k = s.recipe.radix;
  const auto rank = [&](int w) { return t.rank((w + turn) % n); };
  Range mine = from;
  for (const int d : distances(n, k)) {
    const std::int64_t group = std::int64_t{d} * k;
    if (v % group != 0) {
      s.b.send(rank(static_cast<int>(v - v % group)), mine);
      break;
    }
    std::vector<Range> operands{mine};
    for (int j = 1; j < k && v + std::int64_t{j} * d < n; ++j) {
      operands.push_back(s.room.get(from.count));
      s.b.recv(rank(v + j * d), operands.back());
    }
    if (operands.size() == 1) continue;
    s.b.reduce(acc, operands);
    mine = acc;
  }
  if (turn != root) {
    if (t.me == 0) s.b.send(t.rank(root), mine);
    if (t.me == root) s.b.recv(t.rank(0), acc), mine = acc;
  }
  return mine;
}

void reduce_linear(Site s, const Team& t, int root, const Range& from, const Range& acc) {
  if (t.me != root) return s.b.send(t.rank(root), from);
  std::vector<Range> operands;
  for (int i = 0; i < t.size(); ++i) operands.push_back(i == root ? from : s.room.get(from.count));
  for (int i = 0; i < t.size(); ++i)
    if (i != root) s.b.recv(t.rank(i), operands[at(i)]);
  s.b.reduce(acc, operands);
}

// One reduction of all operands in rank order. Idea: member i owns part i; all send it their part i, and it
// combines them at once. Cost: 1 round, (n - 1) messages, (n - 1)/n m each way; the same bits however the
// ranks are placed and the vector is cut. Any n, any operation.
void reduce_scatter_ordered(Site s, const Team& t, const Range& from, const Range& to, std::span<const Part> parts) {
  const int n = t.size();
  std::vector<Range> operands(at(n));
  for (int i = 0; i < n; ++i) operands[at(i)] = i == t.me ? sub(from, parts[at(i)]) : s.room.get(parts[at(t.me)].count);
  for (int i = 1; i < n; ++i) {
    const int next = (t.me + i) % n, last = (t.me + n - i) % n;
    s.b.send(t.rank(next), sub(from, parts[at(next)]));
    s.b.recv(t.rank(last), operands[at(last)]);
  }
  s.b.reduce(to, operands);
}

void reduce_ordered(Site s, const Team& t, int root, const Range& from, const Range& acc) {
  const auto parts = even_parts(from.count, t.size());
  reduce_scatter_ordered(s, t, from, sub(acc, parts[at(t.me)]), parts);
  if (t.me != root) return s.b.send(t.rank(root), sub(acc, parts[at(t.me)]));
  for (int i = 0; i < t.size(); ++i)
    if (i != root) s.b.recv(t.rank(i), sub(acc, parts[at(i)]));
}

void allreduce_ordered(Site s, const Team& t, const Range& from, const Range& acc) {
  const auto parts = even_parts(from.count, t.size());
  const int n = t.size();
  reduce_scatter_ordered(s, t, from, sub(acc, parts[at(t.me)]), parts);
  for (int i = 1; i < n; ++i) {
    const int next = (t.me + i) % n, last = (t.me + n - i) % n;
    s.b.send(t.rank(next), sub(acc, parts[at(t.me)]));
    s.b.recv(t.rank(last), sub(acc, parts[at(last)]));
  }
}

// k-nomial broadcast: the reduction tree backwards.
void bcast_tree(Site s, const Team& t, int root, const Range& buffer) {
  const int n = t.size(), v = (t.me + n - root) % n, k = s.recipe.radix;
  const auto all = distances(n, k);
  const auto rank = [&](int w) { return t.rank((w + root) % n); };
  for (auto d = all.rbegin(); d != all.rend(); ++d) {
    if (v % *d != 0) continue;
    const std::int64_t group = std::int64_t{*d} * k;
    if (v % group != 0) {
      s.b.recv(rank(static_cast<int>(v - v % group)), buffer);
      continue;
    }
    for (int j = 1; j < k && v + std::int64_t{j} * *d < n; ++j) s.b.send(rank(v + j * *d), buffer);
  }
}

// Scatter, then allgather. Idea: a binomial tree hands every member its n-th part, circulant rounds collect
// them. Cost: 2 ceil(log2 n) rounds; the root sends m, every other at most 2 (n - 1)/n m. Any n.
// Source: Barnett et al., "Interprocessor collective communication library (InterCom)", 1994.
void bcast_scatter_allgather(Site s, const Team& t, int root, const Range& buffer) {
  const int n = t.size(), v = (t.me + n - root) % n;
  const auto parts = even_parts(buffer.count, n);
  const auto blocks = [&](int from, int to) { return sched::part(buffer, parts[at(from)].offset, parts[at(to - 1)].offset + parts[at(to - 1)].count - parts[at(from)].offset); };
  Team turned;
  for (int i = 0; i < n; ++i) turned.ranks.push_back(t.rank((i + root) % n));
  turned.me = v;
  const auto all = distances(n, 2);
  for (auto d = all.rbegin(); d != all.rend(); ++d) {
    if (v % *d != 0) continue;
    if (v % (2 * *d) != 0) s.b.recv(turned.rank(v - *d), blocks(v, std::min(v + *d, n)));
    else if (v + *d < n) s.b.send(turned.rank(v + *d), blocks(v + *d, std::min(v + 2 * *d, n)));
  }
  allgather_circulant(s, turned, buffer, parts);
}

// Chain: every member passes on what it gets; with the recipe's chunks a pipeline. Cost: n - 1 rounds to the
// last, m through every member: with c chunks m (1 + (n - 2)/c).
void bcast_chain(Site s, const Team& t, int root, const Range& buffer) {
  const int n = t.size(), v = (t.me + n - root) % n;
  if (v > 0) s.b.recv(t.rank((t.me + n - 1) % n), buffer);
  if (v + 1 < n) s.b.send(t.rank((t.me + 1) % n), buffer);
}

}  // namespace libcoll::algo
