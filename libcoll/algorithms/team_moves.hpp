// Movements within one team, as native steps or as messages: what flat and composed forms share.
// Only members call these. Every member passes the same parts, so that all agree on who sends what.
#pragma once

#include "libcoll/algorithms/cluster.hpp"

namespace libcoll::algo {

// How messages travel from or to one member: directly, or along a tree.
struct Route {
  bool tree = false;  // k_nomial: ceil(log_radix n) rounds; else linear
  int radix = 2;
  bool native = true; // use a native operation if the team has one
};

// Member i's `from` lands at parts[i] of the root's `to`. Parts follow each other in the team's order.
// The root's own part is its own business: nothing happens to it here.
void gather_parts(Builder&, const Problem&, const Team&, int root, const Route&, const Range& to, const Range& from,
                  const std::vector<Part>& parts);
// The reverse: parts[i] of the root's `from` lands at member i's `to`.
void scatter_parts(Builder&, const Problem&, const Team&, int root, const Route&, const Range& to, const Range& from,
                   const std::vector<Part>& parts);
// The root's range lands at everyone's.
void bcast_range(Builder&, const Problem&, const Team&, int root, const Range&);
// Member i's parts[i] of `all`, where it lies already, lands there at everyone.
void allgather_native(Builder&, const NativeGroup&, const Range& all, const Range& from, const std::vector<Part>& parts);

// Allgather by messages. blocks[i]: where member i's block lies at everyone, and at itself already.
//   ring                n - 1 rounds of one block, no scratch
//   recursive_doubling  log2 n rounds, n a power of two
//   bruck               ceil(log2 n) rounds of one message, by way of scratch
//   circulant           ceil(log2 n) rounds of at most two messages, no scratch
void allgather_blocks(Builder&, const Team&, const std::string& algorithm, const std::vector<Range>& blocks);

// Rounds of a "scattered" exchange that may be under way at once: more would only fill queues.
inline constexpr int exchange_window = 16;
// Rounds of a k-nomial tree over n members: ceil(log_radix n).
int tree_rounds(int n, int radix);
int tree_children(int n, int radix);  // of its root
bool power_of_two(int n);

}  // namespace libcoll::algo
