// Alltoall: block j of rank i becomes block i of rank j. p ranks, blocks of m elements: every rank must
// send (p - 1) m elements; with ceil(log2 p) rounds, about p/2 log2 p m.
//
// bruck      Idea: blocks travel by the binary digits of their distance. Blocks are turned so that block
//            d is for the rank d after me; in round k all blocks whose distance has bit k go 2^k ahead.
//            Invariant: after round k block d has come d mod 2^(k+1) ranks. ceil(log2 p) rounds of one
//            message, about p/2 m elements each, any p. Small blocks.
// pairwise   Idea: in round k send to me + k and receive from me - k, one round after the other.
//            p - 1 rounds, (p - 1) m sent, no scratch. Large blocks.
// scattered  The same with 16 rounds at once: latencies overlap, queues stay short.
// In place, blocks are sent from a copy: a rank may not wait for its send before it receives.
//
// Over levels: all that one group has for another travels as one message, H (H - 1) between H groups, the
// fewest possible if each pair shall talk. Inside a group blocks are brought to the rank in charge of the
// other group (slices=1: the leader; all: ranks take turns) and handed out by native alltoallv operations.
// Every element enters a group once. Papers: Bruck et al., IEEE TPDS 8(11), 1997; Traeff et al.,
// "Implementing a classic: zero-copy all-to-all communication with MPI datatypes", ICS 2014; aggregation
// per pair of nodes: Kumar, Sabharwal, Garg, Heidelberger, ICPP 2008.
#include <algorithm>

#include "libcoll/algorithms/collectives.hpp"
#include "libcoll/algorithms/team_alltoall.hpp"

namespace libcoll::algo {

namespace {

constexpr std::size_t at(int i) { return static_cast<std::size_t>(i); }

constexpr Entry entries[] = {  // of equal predictions the first is chosen: bruck copies besides
    {"scattered", "sixteen partners at once", "textbook"},
    {"pairwise", "one partner after the other", "Thakur, Rabenseifner, Gropp 2005"},
    {"bruck", "blocks travel by the binary digits of their distance", "Bruck et al. 1997"},
};

std::string refuses_alltoall(const Problem&, const Recipe& r) {
  if (r.algorithm == "bruck" && !r.over.empty()) return "between groups there is one message per pair: pairwise or scattered";
  if (r.chunk != 0) return "an alltoall is not cut into chunks";
  return {};
}

void bruck(Builder& b, const Problem& p) {
  const int n = p.size, me = b.rank();
  const std::int64_t m = p.count;
  b.copy(recv_block(p, me), send_block(p, me));
  const Range turned = b.scratch(n * m);
  const auto block = [&](int d) { return part(turned, d * m, m); };
  std::vector<std::pair<Range, Range>> copies;
  for (int d = 1; d < n; ++d) copies.emplace_back(block(d), send_block(p, (me + d) % n));
  copy_all(b, copies);
  const Range out = b.scratch(n / 2 * m), in = b.scratch(n / 2 * m);
  for (int hop = 1; hop < n; hop *= 2) {
    std::vector<std::pair<Range, Range>> pack, unpack;
    std::int64_t many = 0;
    for (int d = hop; d < n; ++d) {
      if ((d & hop) == 0) continue;
      pack.emplace_back(part(out, many * m, m), block(d));
      unpack.emplace_back(block(d), part(in, many * m, m));
      ++many;
    }
    copy_all(b, pack);
    b.send((me + hop) % n, part(out, 0, many * m));
    b.recv((me - hop + n) % n, part(in, 0, many * m));
    copy_all(b, unpack);
  }
  copies.clear();
  for (int d = n - 1; d > 0; --d) copies.emplace_back(recv_block(p, (me - d + n) % n), block(d));
  copy_all(b, copies);
}

void by_messages(Builder& b, const Problem& p, int window) {
  const int me = b.rank();
  Range kept;
  if (p.in_place) {
    kept = b.scratch(p.size * p.count);
    b.copy(kept, {Space::recv, 0, 0, p.size * p.count});
  } else {
    b.copy(recv_block(p, me), send_block(p, me));
  }
  exchange(b, sched::everyone(p.size, me), window, [&](int i) { return p.in_place ? part(kept, i * p.count, p.count) : send_block(p, i); },
           [&](int i) { return recv_block(p, i); });
}

void over_levels(Builder& b, const Problem& p, const Recipe& r) {
  const Cluster world = clusters(p, r.over);
  const std::int64_t all = p.size * p.count;
  const bool sorted = std::is_sorted(world.ranks.begin(), world.ranks.end());
  Range from{Space::send, 0, 0, all}, to{Space::recv, 0, 0, all};
  std::vector<std::pair<Range, Range>> pack, unpack;
  if (!sorted || p.in_place) {
    from = b.scratch(all);
    for (int i = 0; i < p.size; ++i) pack.emplace_back(part(from, i * p.count, p.count), send_block(p, world.ranks[at(i)]));
  }
  if (!sorted) {
    to = b.scratch(all);
    for (int i = 0; i < p.size; ++i) unpack.emplace_back(recv_block(p, world.ranks[at(i)]), part(to, i * p.count, p.count));
  }
  copy_all(b, pack);
  exchange_in(b, p, world, Traffic::uniform(p.count), r.slices, window_of(r.algorithm), to, from);
  copy_all(b, unpack);
}

void build_alltoall(Builder& b, const Problem& p, const Recipe& r) {
  if (p.count == 0) return;
  if (!r.over.empty()) over_levels(b, p, r);
  else if (r.algorithm == "bruck") bruck(b, p);
  else by_messages(b, p, window_of(r.algorithm));
}

int rounds_of(const std::string& algorithm, int n) { return (n - 1 + window_of(algorithm) - 1) / window_of(algorithm); }

std::vector<Work> work_of_alltoall(const Problem& p, const Recipe& r) {
  const double m = static_cast<double>(p.count), n = p.size;
  if (r.over.empty() && r.algorithm == "bruck") {
    const int rounds = tree_rounds(p.size, 2);
    // All blocks are turned before and after, and packed in each round.
    return {{.ranks = p.size, .rounds = double(rounds), .sent = m * n / 2 * rounds, .reduced = m * n * (2 + 0.5 * rounds)}};
  }
  if (r.over.empty()) return {{.ranks = p.size, .rounds = double(rounds_of(r.algorithm, p.size)), .sent = m * (n - 1)}};
  std::vector<Work> out;
  const int groups = group_count(p, r.over.back());
  const std::vector<LevelTeam> teams = level_teams(p, clusters(p, r.over));
  const int members = teams.back().ranks;
  const int speakers = r.slices == all_slices ? std::min(members, std::max(1, groups - 1)) : std::min(r.slices, members);
  // What the members leave with the busiest speaker, and with each other.
  const double busiest = groups > 1 ? m * n * members / speakers : m * n;
  const auto inside = [&] {
    for (const LevelTeam& t : teams) out.push_back(work_in(t, Coll::alltoallv, busiest));
  };
  inside();
  if (groups == 1) return out;
  const double rounds = std::max(1.0, double(rounds_of(r.algorithm, groups)) / speakers);
  out.push_back({.ranks = groups, .rounds = rounds, .sent = m * (n - members) * members / speakers, .flows = speakers});
  inside();
  return out;
}

}  // namespace

const Collective alltoall_collective{entries, refuses_alltoall, build_alltoall, work_of_alltoall};

}  // namespace libcoll::algo
