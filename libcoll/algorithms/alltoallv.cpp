// Alltoallv: as alltoall, with blocks of any lengths; each rank knows only those it sends or receives.
//
// pairwise   Idea: in round k send to me + k and receive from me - k, one round after the other.
//            p - 1 rounds, every element travels once, no scratch.
// scattered  The same with 16 rounds at once: latencies overlap, queues stay short.
// A block without elements is an empty message: the sender and the receiver agree, but the schedule, built
// before, knows of no length. For the same reason nobody can carry another rank's blocks (no composition
// over levels: direct messages between owners), nor put aside what it is about to overwrite: in place, the
// caller gives the schedule a copy of the blocks as the send buffer.
// Source: textbook; the order of partners as in Thakur, Rabenseifner, Gropp, IJHPCA 19(1), 2005.
#include "libcoll/algorithms/collectives.hpp"
#include "libcoll/algorithms/team_alltoall.hpp"

namespace libcoll::algo {

namespace {

constexpr Entry entries[] = {
    {"scattered", "sixteen partners at once", "textbook"},
    {"pairwise", "one partner after the other", "Thakur, Rabenseifner, Gropp 2005"},
};

std::string refuses_alltoallv(const Problem& p, const Recipe& r) {
  if (p.in_place) return "in place, give the schedule a copy of the blocks to send";
  if (!r.over.empty()) return "only their two ends know the lengths of blocks: they travel directly, not over levels";
  if (r.chunk != 0) return "blocks of unknown length are not cut into chunks";
  return {};
}

void build_alltoallv(Builder& b, const Problem& p, const Recipe& r) {
  b.copy(recv_block(p, b.rank()), send_block(p, b.rank()));
  exchange(
      b, sched::everyone(p.size, b.rank()), window_of(r.algorithm), [&](int i) { return send_block(p, i); },
      [&](int i) { return recv_block(p, i); });
}

// Lengths are unknown: rounds only.
std::vector<Work> work_of_alltoallv(const Problem& p, const Recipe& r) {
  const int window = window_of(r.algorithm);
  return {{.ranks = p.size, .rounds = double((p.size - 1 + window - 1) / window)}};
}

}  // namespace

const Collective alltoallv_collective{entries, refuses_alltoallv, build_alltoallv, work_of_alltoallv};

}  // namespace libcoll::algo
