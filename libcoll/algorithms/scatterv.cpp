// Scatterv: blocks of any lengths from the root, which alone knows them all; a receiver knows its own.
//
// linear  Idea: the root sends every rank its block from where it lies.
//         One round, p - 1 messages at the root (blocks without elements send an empty one), no scratch;
//         every foreign element leaves the root once, the lower bound.
// Nobody but the root could cut what is meant for others, so that there are no trees, and nothing to
// compose over levels: a native scatterv is a step whose parts are known when the schedule is built.
#include "libcoll/algorithms/collectives.hpp"

namespace libcoll::algo {

namespace {

constexpr Entry entries[] = {{"linear", "the root sends to everyone", "textbook"}};

std::string refuses_scatterv(const Problem&, const Recipe& r) {
  if (!r.over.empty()) return "only the root knows the lengths of blocks: they travel directly, not over levels";
  if (r.chunk != 0) return "blocks of unknown length are not cut into chunks";
  return {};
}

void build_scatterv(Builder& b, const Problem& p, const Recipe&) {
  if (b.rank() != p.root) return b.recv(p.root, recv_block(p, b.rank()));
  for (int k = 1; k < p.size; ++k) {
    const int peer = (p.root + k) % p.size;
    b.send(peer, send_block(p, peer));
  }
  if (!p.in_place) b.copy(recv_block(p, p.root), send_block(p, p.root));
}

// Lengths are unknown: rounds only.
std::vector<Work> work_of_scatterv(const Problem& p, const Recipe&) { return {{.ranks = p.size, .rounds = 1}}; }

}  // namespace

const Collective scatterv_collective{entries, refuses_scatterv, build_scatterv, work_of_scatterv};

}  // namespace libcoll::algo
