#include "topology/cliques.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace libcoll::topo {
namespace {

WeightedGraph complete(int n) {
  WeightedGraph g(n);
  for (int a = 0; a < n; ++a)
    for (int b = 0; b < a; ++b) g.set(a, b, 1);
  return g;
}

std::uint64_t weight_inside(const WeightedGraph& g, const Parts& parts) {
  std::uint64_t w = 0;
  for (const auto& part : parts)
    for (std::size_t i = 0; i < part.size(); ++i)
      for (std::size_t j = 0; j < i; ++j) w += g.at(part[i], part[j]);
  return w;
}

TEST(Cliques, CompleteGraphIsOne) {
  for (const int n : {1, 2, 5, 16}) EXPECT_EQ(best_cliques(complete(n)).size(), 1u) << n;
  EXPECT_TRUE(best_cliques(WeightedGraph(0)).empty());
}

TEST(Cliques, NoEdgesAreSingles) { EXPECT_EQ(best_cliques(WeightedGraph(16)).size(), 16u); }

TEST(Cliques, UnbalancedCompleteGraphIsParted) {
  WeightedGraph g = complete(4);
  g.set(0, 2, 4);
  g.set(1, 3, 4);
  EXPECT_EQ(best_cliques(g), (Parts{{0, 2}, {1, 3}}));
}

TEST(Cliques, EqualPartingsAreToldApartByTheirBridges) {
  // A ladder of three rungs. The rungs as pairs leave two rows of three, of which one has no bridge each.
  WeightedGraph g(6);
  for (const auto& [a, b] : {std::pair{0, 1}, {2, 3}, {4, 5}, {0, 2}, {2, 4}, {1, 3}, {3, 5}}) g.set(a, b, 1);
  EXPECT_EQ(best_cliques(g), (Parts{{0, 1}, {2, 4}, {3, 5}}));
}

// Against all partings, by brute force: same sizes and no more weight inside.
TEST(Cliques, NothingIsBetter) {
  std::mt19937 random(5);
  for (int round = 0; round < 60; ++round) {
    const int n = 1 + static_cast<int>(random() % 8);
    WeightedGraph g(n);
    for (int a = 0; a < n; ++a)
      for (int b = 0; b < a; ++b)
        if (random() % 3 != 0) g.set(a, b, 1 + random() % 4);
    const auto is_clique = [&](const std::vector<int>& v) {
      const WeightedGraph s = g.subgraph(v);
      return s.is_complete() && s.is_balanced();
    };
    // Larger is better: (size if equal and above 1, sum of squares, weight).
    const auto rank = [&](const Parts& parts) {
      std::size_t squares = 0, same = parts[0].size();
      for (const auto& p : parts) {
        squares += p.size() * p.size();
        if (p.size() != same) same = 0;
      }
      return std::tuple(same > 1 ? same : 0, squares, weight_inside(g, parts));
    };
    const auto most = rank(best_cliques(g));
    for (const auto& part : best_cliques(g)) EXPECT_TRUE(is_clique(part));
    Parts parts;
    const auto visit = [&](auto&& self, int v) -> void {
      if (v == n) {
        if (std::all_of(parts.begin(), parts.end(), is_clique)) {
          EXPECT_LE(rank(parts), most);
        }
        return;
      }
      for (std::size_t i = 0; i <= parts.size(); ++i) {
        if (i == parts.size()) parts.emplace_back();
        parts[i].push_back(v);
        self(self, v + 1);
        parts[i].pop_back();
        if (parts[i].empty()) {
          parts.pop_back();
          break;
        }
      }
    };
    visit(visit, 0);
  }
}

}  // namespace
}  // namespace libcoll::topo
