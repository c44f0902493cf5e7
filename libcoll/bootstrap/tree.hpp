// The tree over which ranks exchange records, and the Bootstrap on top of it.
#pragma once

#include <optional>
#include <vector>

#include "libcoll/bootstrap.hpp"
#include "libcoll/bootstrap/link.hpp"

namespace libcoll::detail {

// Ranks numbered like a heap: the children of r are r*fanout+1 .. r*fanout+fanout. 4096 ranks are 4
// levels deep, a rank has at most 9 connections and the job P-1. The alternatives: Bruck's exchange
// sends less from rank 0, but costs 2*log2(P) connections and handshakes per rank, for records of a few
// hundred bytes; a binomial tree gives rank 0 log2(P) children and is deeper.
inline constexpr int tree_fanout = 8;
constexpr int tree_parent(int rank) { return (rank - 1) / tree_fanout; }
std::vector<int> tree_children(int rank, int size);
int tree_depth(int rank);
// Ranks below and including `rank`, as one half-open range per level.
struct RankRange {
  int begin = 0, end = 0;
  bool operator==(const RankRange&) const = default;
};
std::vector<RankRange> tree_subtree(int rank, int size);

// Allgather by gathering up the tree and broadcasting down it: 2*depth steps. Both directions stream in
// frames; on the way down each frame is passed on before the next is read.
class TreeBootstrap final : public Bootstrap {
 public:
  TreeBootstrap(int rank, int size, std::chrono::milliseconds timeout, std::optional<Link> parent,
                std::vector<Link> children);
  int rank() const noexcept override { return rank_; }
  int size() const noexcept override { return size_; }
  void allgather(const void* send, void* recv, std::size_t bytes) override;
  // The same without exceptions. On failure the neighbours are told and the tree is broken.
  Result<void> try_allgather(const void* send, void* recv, std::size_t bytes);

 private:
  Result<void> exchange(std::span<std::byte> all, std::size_t bytes);
  Result<void> gather(std::span<std::byte> all, std::size_t bytes, Clock::time_point start);
  Result<void> broadcast(std::span<std::byte> all, std::size_t bytes, Clock::time_point start);
  Failure explain(const Failure&, int peer) const;

  int rank_, size_;
  std::chrono::milliseconds timeout_;
  std::optional<Link> parent_;
  std::vector<Link> children_;
  std::vector<RankRange> subtree_;
  std::optional<Failure> broken_;
};

}  // namespace libcoll::detail
