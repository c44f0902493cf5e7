// Dynamic programming over subsets of vertices: the best parting of a set takes a clique that holds the
// set's lowest vertex, and parts the rest best.
#include "topology/cliques.hpp"

#include <algorithm>
#include <bit>

namespace libcoll::topo {
namespace {

using Set = std::uint32_t;
constexpr std::int64_t impossible = -1, not_computed = -2;
constexpr std::size_t max_ties = 256;  // partings of equal weight that are compared by their bridges

struct Clique {
  Set members;
  std::int64_t score;
};

std::vector<int> to_vector(Set s) {
  std::vector<int> v;
  for (; s != 0; s &= s - 1) v.push_back(std::countr_zero(s));
  return v;
}

// Complete and balanced, by lowest vertex.
std::vector<std::vector<Clique>> all_cliques(const WeightedGraph& g) {
  const int n = g.size();
  std::vector<std::vector<Clique>> by_lowest(static_cast<std::size_t>(n));
  for (Set s = 1; s < (Set{1} << n); ++s) {
    std::uint64_t lightest = UINT64_MAX, heaviest = 0, sum = 0;
    for (Set a = s; a != 0 && lightest != 0; a &= a - 1)
      for (Set b = a & (a - 1); b != 0; b &= b - 1) {
        const std::uint64_t w = g.at(std::countr_zero(a), std::countr_zero(b));
        lightest = std::min(lightest, w);
        heaviest = std::max(heaviest, w);
        sum += w;
      }
    if (lightest == 0 || (std::has_single_bit(s) ? false : lightest < heaviest - heaviest / 2)) continue;
    by_lowest[static_cast<std::size_t>(std::countr_zero(s))].push_back({s, static_cast<std::int64_t>(sum)});
  }
  return by_lowest;
}

class Search {
 public:
  Search(int n, std::vector<std::vector<Clique>> cliques)
      : cliques_(std::move(cliques)), best_(std::size_t{1} << n, not_computed) {
    best_[0] = 0;
  }

  std::int64_t best(Set set) {
    std::int64_t& memo = best_[set];
    if (memo != not_computed) return memo;
    std::int64_t found = impossible;
    for (const Clique& c : from(set))
      if ((c.members & ~set) == 0)
        if (const std::int64_t rest = best(set & ~c.members); rest != impossible)
          found = std::max(found, rest + c.score);
    return best_[set] = found;
  }

  // The partings of `set` that reach best(set), in a fixed order.
  void collect(Set set, std::vector<Set>& chosen, std::vector<std::vector<Set>>& all) {
    if (all.size() == max_ties) return;
    if (set == 0) return all.push_back(chosen);
    for (const Clique& c : from(set)) {
      if ((c.members & ~set) != 0) continue;
      const std::int64_t rest = best(set & ~c.members);
      if (rest == impossible || rest + c.score != best(set)) continue;
      chosen.push_back(c.members);
      collect(set & ~c.members, chosen, all);
      chosen.pop_back();
    }
  }

 private:
  const std::vector<Clique>& from(Set set) const {
    return cliques_[static_cast<std::size_t>(std::countr_zero(set))];
  }
  std::vector<std::vector<Clique>> cliques_;
  std::vector<std::int64_t> best_;
};

std::vector<std::vector<Clique>> of_size(const std::vector<std::vector<Clique>>& cliques, int size) {
  auto kept = cliques;
  for (auto& list : kept)
    std::erase_if(list, [&](const Clique& c) { return std::popcount(c.members) != size; });
  return kept;
}

// Sums of squares come first: they lie above every sum of weights.
std::vector<std::vector<Clique>> favouring_large(std::vector<std::vector<Clique>> cliques) {
  for (auto& list : cliques)
    for (Clique& c : list) {
      const std::int64_t size = std::popcount(c.members);
      c.score += (size * size) << 40;
    }
  return cliques;
}

// Largest number of disjoint edges between different parts.
class Matching {
 public:
  Matching(const WeightedGraph& g, const std::vector<Set>& parts)
      : neighbours_(static_cast<std::size_t>(g.size())), memo_(std::size_t{1} << g.size(), -1) {
    for (const Set part : parts)
      for (const int a : to_vector(part))
        for (int b = 0; b < g.size(); ++b)
          if (g.at(a, b) != 0 && (part >> b & 1) == 0)
            neighbours_[static_cast<std::size_t>(a)] |= Set{1} << b;
  }
  int size(Set set) {
    if (set == 0) return 0;
    if (memo_[set] >= 0) return memo_[set];
    const int a = std::countr_zero(set);
    const Set rest = set & (set - 1);
    int most = size(rest);
    for (Set b = neighbours_[static_cast<std::size_t>(a)] & rest; b != 0; b &= b - 1)
      most = std::max(most, 1 + size(rest & ~(b & -b)));
    memo_[set] = static_cast<signed char>(most);
    return most;
  }

 private:
  std::vector<Set> neighbours_;
  std::vector<signed char> memo_;
};

}  // namespace

bool WeightedGraph::is_complete() const {
  for (int a = 0; a < n_; ++a)
    for (int b = 0; b < a; ++b)
      if (at(a, b) == 0) return false;
  return true;
}

bool WeightedGraph::is_balanced() const {
  std::uint64_t lightest = UINT64_MAX, heaviest = 0;
  for (int a = 0; a < n_; ++a)
    for (int b = 0; b < a; ++b)
      if (at(a, b) != 0) {
        lightest = std::min(lightest, at(a, b));
        heaviest = std::max(heaviest, at(a, b));
      }
  return lightest >= heaviest - heaviest / 2;
}

WeightedGraph WeightedGraph::subgraph(const std::vector<int>& vertices) const {
  WeightedGraph g(static_cast<int>(vertices.size()));
  for (std::size_t a = 0; a < vertices.size(); ++a)
    for (std::size_t b = 0; b < a; ++b)
      g.set(static_cast<int>(a), static_cast<int>(b), at(vertices[a], vertices[b]));
  return g;
}

Parts best_cliques(const WeightedGraph& g) {
  const int n = g.size();
  if (n == 0) return {};
  const Set all = (Set{1} << n) - 1;
  const auto cliques = all_cliques(g);
  int size = n;
  while (size > 1 && (n % size != 0 || Search(n, of_size(cliques, size)).best(all) == impossible)) --size;
  Search search(n, size > 1 ? of_size(cliques, size) : favouring_large(cliques));
  std::vector<Set> chosen;
  std::vector<std::vector<Set>> ties;
  search.collect(all, chosen, ties);
  std::size_t winner = 0;
  int most = -1;
  for (std::size_t i = 0; i < ties.size(); ++i)
    if (const int bridges = Matching(g, ties[i]).size(all); bridges > most) {
      most = bridges;
      winner = i;
    }
  Parts parts;
  for (const Set part : ties[winner]) parts.push_back(to_vector(part));
  return parts;
}

}  // namespace libcoll::topo
