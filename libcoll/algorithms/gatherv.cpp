// Gatherv: blocks of any lengths at the root, which alone knows them all; a sender knows its own.
//
// linear  Idea: every rank sends its block to the root, which receives each where it belongs.
//         One round, p - 1 messages at the root (blocks without elements send an empty one), no scratch;
//         the root takes in every foreign element once, the lower bound.
// Nobody but the root could place or cut another rank's block, so that there are no trees, and nothing to
// compose over levels: a native gatherv is a step whose parts are known when the schedule is built.
#include "libcoll/algorithms/collectives.hpp"

namespace libcoll::algo {

namespace {

constexpr Entry entries[] = {{"linear", "everyone sends to the root", "textbook"}};

std::string refuses_gatherv(const Problem&, const Recipe& r) {
  if (!r.over.empty()) return "only the root knows the lengths of blocks: they travel directly, not over levels";
  if (r.chunk != 0) return "blocks of unknown length are not cut into chunks";
  return {};
}

void build_gatherv(Builder& b, const Problem& p, const Recipe&) {
  if (b.rank() != p.root) return b.send(p.root, send_block(p, b.rank()));
  b.copy(recv_block(p, p.root), send_block(p, p.root));
  for (int k = 1; k < p.size; ++k) {
    const int peer = (p.root + k) % p.size;
    b.recv(peer, recv_block(p, peer));
  }
}

// Lengths are unknown: rounds only.
std::vector<Work> work_of_gatherv(const Problem& p, const Recipe&) { return {{.ranks = p.size, .rounds = 1}}; }

}  // namespace

const Collective gatherv_collective{entries, refuses_gatherv, build_gatherv, work_of_gatherv};

}  // namespace libcoll::algo
