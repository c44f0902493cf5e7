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

// elements[i][j]: from member i of a cluster (index in Cluster::ranks) to member j.
using Traffic = std::vector<std::vector<std::int64_t>>;
// `from` holds the segments for members 0, 1, ... one after the other; `to` gets those of members 0, 1, ...
// Over the cluster's parts: inside a part segments go to the member in charge of the part they are for,
// which sends one message there; it arrives at the member in charge of the sender and is handed out.
// slices: how many members share this work (all_slices: all).
void exchange_in(Builder&, const Problem&, const Cluster&, const Traffic&, int slices, int window, const Range& to, const Range& from);

}  // namespace libcoll::algo
