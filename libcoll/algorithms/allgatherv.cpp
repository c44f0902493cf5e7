// Allgather of unequal blocks, whose lengths all ranks know (Problem::counts). Blocks lie where the
// caller's displacements say, so that neighbours are not adjacent and one message carries one block
// unless it goes through scratch.
//
// ring   Idea: every rank passes on what it got last. Invariant: after round k, blocks me - k - 1 .. me
//        are there. p - 1 rounds of one block, no scratch; a round takes as long as its largest block.
// bruck  Idea: a rank with s blocks from its own on takes the next s from the rank s after it, by way of
//        scratch. Invariant: after round k the first min(2^(k+1), p) blocks from the own one on are there.
//        ceil(log2 p) rounds of one message, scratch for all blocks.
// Both take in every foreign element once. Papers: Bruck et al., IEEE TPDS 8(11), 1997; Thakur,
// Rabenseifner, Gropp, IJHPCA 19(1), 2005. Over levels: see cluster_allgather.cpp.
#include "libcoll/algorithms/cluster_allgather.hpp"
#include "libcoll/algorithms/collectives.hpp"

namespace libcoll::algo {

namespace {
constexpr Entry entries[] = {
    {"bruck", "fetch as many blocks as held from doubling distances, held turned", "Bruck et al. 1997"},
    {"ring", "pass on to the right what came from the left", "Thakur, Rabenseifner, Gropp 2005"},
};
}  // namespace

const Collective allgatherv_collective{entries, refuses_allgather, build_allgather, work_of_allgather};

}  // namespace libcoll::algo
