// Parting a small weighted graph into cliques, by exact search. Pure.
#pragma once

#include <cstdint>
#include <vector>

namespace libcoll::topo {

// Undirected; weight 0 is no edge.
class WeightedGraph {
 public:
  explicit WeightedGraph(int n)
      : n_(n), weights_(static_cast<std::size_t>(n) * static_cast<std::size_t>(n)) {}
  int size() const noexcept { return n_; }
  std::uint64_t at(int a, int b) const { return weights_[index(a, b)]; }
  void set(int a, int b, std::uint64_t weight) { weights_[index(a, b)] = weights_[index(b, a)] = weight; }
  bool is_complete() const;
  // The lightest edge weighs at least half of the heaviest: a ring over it loses no more than that.
  bool is_balanced() const;
  WeightedGraph subgraph(const std::vector<int>& vertices) const;

 private:
  std::size_t index(int a, int b) const {
    return static_cast<std::size_t>(a) * static_cast<std::size_t>(n_) + static_cast<std::size_t>(b);
  }
  int n_;
  std::vector<std::uint64_t> weights_;
};

using Parts = std::vector<std::vector<int>>;  // each ascending, ordered by their lowest vertices

inline constexpr int max_clique_vertices = 16;

// All vertices, parted into complete and balanced cliques. In this order of importance: cliques of one
// size of at least 2, the larger the better (or else sizes with the largest sum of squares); the
// heaviest edges inside; and of parts that are equal so far, those with the largest matching among the
// edges left outside, so that each vertex has a bridge. At most max_clique_vertices.
Parts best_cliques(const WeightedGraph&);

}  // namespace libcoll::topo
