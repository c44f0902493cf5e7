// k-nomial trees: members are numbered from the root. A member whose lowest digit other than 0 (base
// radix) has weight w hangs below the number with this digit cleared, and its subtree is the w numbers
// from its own on: one piece in the order of the team, but for the turn from the last to the first.
#include "libcoll/algorithms/team_moves.hpp"

#include <algorithm>

namespace libcoll::algo {

namespace {

class Tree {
 public:
  Tree(int n, int root, int radix, int me) : n_(n), root_(root), radix_(radix), number_((me - root + n) % n) {
    while (weight_ < n_ && number_ / weight_ % radix_ == 0) weight_ *= radix_;
  }
  bool is_root() const { return number_ == 0; }
  int parent() const { return member(number_ - number_ / weight_ % radix_ * weight_); }
  bool parent_is_root() const { return parent() == root_; }
  int member(int number) const { return (number + root_) % n_; }
  struct Sub {
    int first, end;  // numbers; the first is its root
  };
  Sub mine() const { return {number_, is_root() ? n_ : std::min(n_, number_ + weight_)}; }
  // Nearest first.
  std::vector<Sub> children() const {
    std::vector<Sub> out;
    for (int w = 1; w < weight_ && w < n_; w *= radix_)
      for (int d = 1; d < radix_ && number_ + d * w < n_; ++d) out.push_back({number_ + d * w, std::min(n_, number_ + d * w + w)});
    return out;
  }

 private:
  int n_, root_, radix_, number_, weight_ = 1;
};

const Part& at(const std::vector<Part>& parts, int i) { return parts[static_cast<std::size_t>(i)]; }

// What lies in the root's buffer of a subtree: one range, or two if it goes over the end of the team.
std::vector<Range> in_root_buffer(const Tree& tree, Tree::Sub s, const Range& buffer, const std::vector<Part>& parts) {
  std::vector<Range> out;
  for (int v = s.first; v < s.end; ++v) {
    const Part& p = at(parts, tree.member(v));
    out.push_back(part(buffer, p.offset, p.count));
  }
  return merged(out);
}

std::int64_t elements(const Tree& tree, Tree::Sub s, const std::vector<Part>& parts) {
  std::int64_t n = 0;
  for (int v = s.first; v < s.end; ++v) n += at(parts, tree.member(v)).count;
  return n;
}

// The same cut on the side of the root's child, whose subtree lies in one piece.
std::vector<Range> cut_like_root(const Tree& tree, Tree::Sub s, const Range& piece, const std::vector<Part>& parts) {
  std::vector<Range> out = in_root_buffer(tree, s, Range{}, parts);
  std::int64_t from = 0;
  for (Range& r : out) {
    r = part(piece, from, r.count);
    from += r.count;
  }
  return out;
}

// Parts in the order of the native group, the root's without elements.
std::vector<Part> for_native(const NativeGroup& g, const std::vector<Part>& parts, int root) {
  std::vector<Part> out;
  for (const int i : g.member) out.push_back(i == root ? Part{at(parts, i).offset, 0} : at(parts, i));
  return out;
}

bool nothing_moves(const std::vector<Part>& parts, int root) {
  for (int i = 0; i < static_cast<int>(parts.size()); ++i)
    if (i != root && at(parts, i).count != 0) return false;
  return true;
}

void gather_tree(Builder& b, const Team& t, const Tree& tree, const Range& to, const Range& from, const std::vector<Part>& parts) {
  const auto rank = [&](int number) { return t.rank(tree.member(number)); };
  if (tree.is_root()) {
    for (const auto& child : tree.children())
      for (const Range& r : in_root_buffer(tree, child, to, parts)) b.recv(rank(child.first), r);
    return;
  }
  Range piece = from;
  if (const auto children = tree.children(); !children.empty()) {
    piece = b.scratch(elements(tree, tree.mine(), parts));
    b.copy(part(piece, 0, from.count), from);
    std::int64_t next = from.count;
    for (const auto& child : children) {
      const std::int64_t n = elements(tree, child, parts);
      b.recv(rank(child.first), part(piece, next, n));
      next += n;
    }
  }
  if (!tree.parent_is_root()) return b.send(t.rank(tree.parent()), piece);
  for (const Range& r : cut_like_root(tree, tree.mine(), piece, parts)) b.send(t.rank(tree.parent()), r);
}

void scatter_tree(Builder& b, const Team& t, const Tree& tree, const Range& to, const Range& from, const std::vector<Part>& parts) {
  const auto rank = [&](int number) { return t.rank(tree.member(number)); };
  auto children = tree.children();
  std::reverse(children.begin(), children.end());  // the largest subtree has the longest way to go
  if (tree.is_root()) {
    for (const auto& child : children)
      for (const Range& r : in_root_buffer(tree, child, from, parts)) b.send(rank(child.first), r);
    return;
  }
  const Range piece = children.empty() ? to : b.scratch(elements(tree, tree.mine(), parts));
  if (tree.parent_is_root()) {
    for (const Range& r : cut_like_root(tree, tree.mine(), piece, parts)) b.recv(t.rank(tree.parent()), r);
  } else {
    b.recv(t.rank(tree.parent()), piece);
  }
  std::int64_t end = piece.count;
  for (const auto& child : children) {
    const std::int64_t n = elements(tree, child, parts);
    end -= n;
    b.send(rank(child.first), part(piece, end, n));
  }
  b.copy(to, part(piece, 0, to.count));
}

// Rounds of growing holdings: with s blocks from my own on, I fetch the next ones from the member s
// after me. `after` says how many blocks are held after the round.
template <class After>
std::vector<int> holdings(int n, After after) {
  std::vector<int> out{1};
  while (out.back() < n) out.push_back(after(out.back()));
  return out;
}

// Skips of the circulant graph: n halved and rounded up, again and again, backwards.
std::vector<int> circulant_holdings(int n) {
  std::vector<int> out{n};
  while (out.back() > 1) out.push_back((out.back() + 1) / 2);
  std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace

int tree_rounds(int n, int radix) {
  int rounds = 0;
  for (std::int64_t reach = 1; reach < n; reach *= radix) ++rounds;
  return rounds;
}

int tree_children(int n, int radix) {
  int children = 0;
  for (std::int64_t w = 1; w < n; w *= radix) children += static_cast<int>(std::min<std::int64_t>(radix - 1, (n - 1) / w));
  return children;
}

bool power_of_two(int n) { return n > 0 && (n & (n - 1)) == 0; }

void gather_parts(Builder& b, const Problem& p, const Team& t, int root, const Route& route, const Range& to, const Range& from,
                  const std::vector<Part>& parts) {
  if (nothing_moves(parts, root)) return;
  if (const NativeGroup g = route.native ? native_group(p, t.ranks) : NativeGroup{}; g.index >= 0) {
    const bool am_root = t.me == root;
    b.native(Coll::gatherv, g.index, g.place[static_cast<std::size_t>(root)], am_root ? to : Range{}, am_root ? Range{} : from,
             for_native(g, parts, root));
  } else if (route.tree) {
    gather_tree(b, t, Tree(t.size(), root, route.radix, t.me), to, from, parts);
  } else if (t.me != root) {
    b.send(t.rank(root), from);
  } else {
    for (int k = 1; k < t.size(); ++k) {
      const int i = (root + k) % t.size();
      b.recv(t.rank(i), part(to, at(parts, i).offset, at(parts, i).count));
    }
  }
}

void scatter_parts(Builder& b, const Problem& p, const Team& t, int root, const Route& route, const Range& to, const Range& from,
                   const std::vector<Part>& parts) {
  if (nothing_moves(parts, root)) return;
  if (const NativeGroup g = route.native ? native_group(p, t.ranks) : NativeGroup{}; g.index >= 0) {
    const bool am_root = t.me == root;
    b.native(Coll::scatterv, g.index, g.place[static_cast<std::size_t>(root)], am_root ? Range{} : to, am_root ? from : Range{},
             for_native(g, parts, root));
  } else if (route.tree) {
    scatter_tree(b, t, Tree(t.size(), root, route.radix, t.me), to, from, parts);
  } else if (t.me != root) {
    b.recv(t.rank(root), to);
  } else {
    // The furthest first, as in the tree: those of other hosts are under way while those of this one are copied.
    for (int k = t.size() - 1; k > 0; --k) {
      const int i = (root + k) % t.size();
      b.send(t.rank(i), part(from, at(parts, i).offset, at(parts, i).count));
    }
  }
}

void bcast_range(Builder& b, const Problem& p, const Team& t, int root, const Range& range) {
  if (range.count == 0 || t.size() == 1) return;
  if (const NativeGroup g = native_group(p, t.ranks); g.index >= 0)
    return b.native(Coll::bcast, g.index, g.place[static_cast<std::size_t>(root)], range, {});
  const Tree tree(t.size(), root, 2, t.me);
  if (!tree.is_root()) b.recv(t.rank(tree.parent()), range);
  auto children = tree.children();
  for (auto c = children.rbegin(); c != children.rend(); ++c) b.send(t.rank(tree.member(c->first)), range);
}

void allgather_native(Builder& b, const NativeGroup& g, const Range& all, const Range& from, const std::vector<Part>& parts) {
  std::vector<Part> ordered;
  std::int64_t total = 0;
  for (const int i : g.member) {
    ordered.push_back(at(parts, i));
    total += at(parts, i).count;
  }
  if (total != 0) b.native(Coll::allgatherv, g.index, 0, all, from, ordered);
}

void allgather_blocks(Builder& b, const Team& t, const std::string& algorithm, const std::vector<Range>& blocks) {
  const int n = t.size(), me = t.me;
  const auto block = [&](int i) { return blocks[static_cast<std::size_t>((i % n + n) % n)]; };
  const auto peer = [&](int i) { return t.rank((i % n + n) % n); };
  const auto run = [&](int first, int many) {
    std::vector<Range> out;
    for (int i = first; i < first + many; ++i) out.push_back(block(i));
    return merged(out);
  };
  if (algorithm == "ring") {
    for (int k = 0; k + 1 < n; ++k) {
      b.send(peer(me + 1), block(me - k));
      b.recv(peer(me - 1), block(me - k - 1));
    }
  } else if (algorithm == "recursive_doubling") {
    for (int held = 1; held < n; held *= 2) {
      const int mine = me & ~(held - 1), other = mine ^ held;
      for (const Range& r : run(mine, held)) b.send(t.rank(me ^ held), r);
      for (const Range& r : run(other, held)) b.recv(t.rank(me ^ held), r);
    }
  } else if (algorithm == "circulant") {
    const std::vector<int> held = circulant_holdings(n);
    for (std::size_t k = 0; k + 1 < held.size(); ++k) {
      for (const Range& r : run(me, held[k + 1] - held[k])) b.send(peer(me - held[k]), r);
      for (const Range& r : run(me + held[k], held[k + 1] - held[k])) b.recv(peer(me + held[k]), r);
    }
  } else {  // bruck
    std::vector<std::int64_t> start{0};
    for (int i = 0; i < n; ++i) start.push_back(start.back() + block(me + i).count);
    const Range turned = b.scratch(start.back());
    const auto piece = [&](int first, int end) {
      return part(turned, start[static_cast<std::size_t>(first)],
                  start[static_cast<std::size_t>(end)] - start[static_cast<std::size_t>(first)]);
    };
    b.copy(piece(0, 1), block(me));
    const std::vector<int> held = holdings(n, [&](int s) { return std::min(2 * s, n); });
    for (std::size_t k = 0; k + 1 < held.size(); ++k) {
      b.send(peer(me - held[k]), piece(0, held[k + 1] - held[k]));
      b.recv(peer(me + held[k]), piece(held[k], held[k + 1]));
    }
    std::vector<std::pair<Range, Range>> copies;
    for (int i = 1; i < n; ++i) copies.emplace_back(block(me + i), piece(i, i + 1));
    copy_all(b, copies);
  }
}

}  // namespace libcoll::algo
