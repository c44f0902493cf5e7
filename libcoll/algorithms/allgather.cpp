// Allgather: equal blocks, everyone gets all. p ranks, blocks of m elements; each rank must take in
// (p - 1) m elements in at least ceil(log2 p) rounds.
//
// recursive_doubling  Idea: in round k, ranks that differ in bit k exchange all they hold.
//                     Invariant: after round k a rank holds the 2^(k+1) blocks of its aligned group.
//                     log2 p rounds, (p - 1) m sent. Needs a power of two of ranks (of groups, over levels).
// bruck               Idea: a rank with s blocks from its own on takes the next s from the rank s after it;
//                     blocks are held turned, own block first, and turned back at the end.
//                     Invariant: after round k the first min(2^(k+1), p) turned blocks are there.
//                     ceil(log2 p) rounds of one message, (p - 1) m sent, p m scratch, any p.
// ring                Idea: every rank passes on what it got last. Invariant: after round k, blocks
//                     me - k - 1 .. me are there. p - 1 rounds, (p - 1) m sent, neighbours only.
// circulant           As bruck, with the skips of p halved and rounded up again and again, and blocks where
//                     they belong: ceil(log2 p) rounds of at most two messages, (p - 1) m sent, no scratch.
// Papers: Bruck et al., IEEE TPDS 8(11), 1997; Thakur, Rabenseifner, Gropp, IJHPCA 19(1), 2005; Traeff,
// "Optimal, non-pipelined reduce-scatter and allreduce algorithms", 2024 (circulant skips).
#include "libcoll/algorithms/cluster_allgather.hpp"
#include "libcoll/algorithms/collectives.hpp"

namespace libcoll::algo {

namespace {
constexpr Entry entries[] = {
    {"recursive_doubling", "partners exchange all they hold, at doubling distances", "Thakur, Rabenseifner, Gropp 2005"},
    {"bruck", "fetch as many blocks as held from doubling distances, held turned", "Bruck et al. 1997"},
    {"ring", "pass on to the right what came from the left", "Thakur, Rabenseifner, Gropp 2005"},
    {"circulant", "fetch from distances p halved again and again, in place", "Traeff 2024"},
};
}  // namespace

const Collective allgather_collective{entries, refuses_allgather, build_allgather, work_of_allgather};

}  // namespace libcoll::algo
