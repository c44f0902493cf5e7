// Personalised exchange within a team or a cluster: what alltoall and alltoallv share.
#pragma once

#include <functional>

#include "libcoll/algorithms/cluster_moves.hpp"

namespace libcoll::algo {

// Rounds in flight of an exchange by messages: 1 (pairwise) or exchange_window (scattered).
int window_of(const std::string& algorithm);

// Round k = 1 .. n - 1: sends to member me + k, receives from me - k; `window` rounds at once.
// to_member(i), from_member(i): may be empty, on both sides alike.
void exchange(Builder&, const Team&, int window, const std::function<Range(int)>& to_member, const std::function<Range(int)>& from_member);

// How many elements member i of a cluster (its place in Cluster::ranks) has for member j.
class Traffic {
 public:
  static Traffic uniform(std::int64_t count) { return Traffic(0, count); }  // needs no table
  static Traffic none(int members) { return Traffic(members, 0); }
  std::int64_t operator()(int i, int j) const { return table_.empty() ? count_ : table_[at(i, j)]; }
  std::int64_t& cell(int i, int j) { return table_[at(i, j)]; }
  bool empty() const;

 private:
  Traffic(int members, std::int64_t count)
      : members_(members), count_(count), table_(static_cast<std::size_t>(members) * static_cast<std::size_t>(members), count) {}
  std::size_t at(int i, int j) const {
    return static_cast<std::size_t>(i) * static_cast<std::size_t>(members_) + static_cast<std::size_t>(j);
  }
  int members_;
  std::int64_t count_;  // without a table: of every pair
  std::vector<std::int64_t> table_;
};
// `from` holds the segments for members 0, 1, ... one after the other; `to` gets those of members 0, 1, ...
// Over the cluster's parts: inside a part segments go to the member in charge of the part they are for,
// which sends one message there; it arrives at the member in charge of the sender and is handed out.
// slices: how many members share this work (all_slices: all).
void exchange_in(Builder&, const Problem&, const Cluster&, const Traffic&, int slices, int window, const Range& to, const Range& from);

}  // namespace libcoll::algo
