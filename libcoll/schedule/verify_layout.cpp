// Which buffers a collective gives each rank, what is in them at the start, and what must be at the end.
#include <algorithm>
#include <numeric>

#include "libcoll/schedule/verify_proof.hpp"

namespace libcoll::sched {

namespace {

constexpr std::int64_t block_origin = std::int64_t{1} << 40;  // origins of different blocks of one rank never join

bool has_send_blocks(Coll c) { return c == Coll::scatterv || c == Coll::alltoallv; }
bool has_recv_blocks(Coll c) { return c == Coll::allgatherv || c == Coll::gatherv || c == Coll::alltoallv; }

}  // namespace

bool may_be_in_place(const Problem& p, int rank) {
  switch (p.coll) {
    case Coll::barrier:
    case Coll::bcast: return false;
    case Coll::reduce:
    case Coll::gather:
    case Coll::gatherv:
    case Coll::scatter:
    case Coll::scatterv: return rank == p.root;
    default: return true;
  }
}

int Proof::memory_of(int rank, Space space, int block) const {
  // The one block that a rank sends in a gatherv, or gets in a scatterv, goes by both names.
  if (space == Space::send_block && p.coll == Coll::gatherv && block == rank) return 0;
  if (space == Space::recv_block && p.coll == Coll::scatterv && block == rank) return 1;
  switch (space) {
    case Space::send: return 0;
    case Space::recv: return 1;
    case Space::scratch: return 2;
    case Space::send_block: return has_send_blocks(p.coll) && block >= 0 && block < p.size ? 3 + block : -1;
    case Space::recv_block: return has_recv_blocks(p.coll) && block >= 0 && block < p.size ? 3 + p.size + block : -1;
  }
  return -1;
}

Place Proof::place(int rank, const Range& r) const {
  Place out{memory_of(rank, r.space, r.block), r.offset, r.count};
  if (out.memory >= 0 && r.count == whole_block) out.count = memories[at(rank)][out.memory].size;
  return out;
}

// Sizes and first contents. Missing buffers have size 0: mentioning them is outside.
void Proof::lay_out() {
  const std::int64_t n = p.count;
  const int size = p.size;
  const auto block = [&](int r) { return p.block_counts[at(r)]; };
  const auto pair = [&](int from, int to) { return p.block_counts[at(from) * at(size) + at(to)]; };
  const auto sum = [](const std::vector<std::int64_t>& v) { return std::accumulate(v.begin(), v.end(), std::int64_t{0}); };
  memories.assign(at(size), {});
  for (int r = 0; r < size; ++r) {
    auto& m = memories[at(r)];
    const bool here = in_place[at(r)], root = r == p.root;
    m[2].size = all[at(r)].scratch;
    // `count` elements from `first` of a memory are r's operand, from `origin` on.
    const auto holds = [&](int memory, std::int64_t first, std::int64_t count, std::int64_t origin = 0) {
      if (count > 0) m[memory].write(first, count, std::vector<Piece>{{0, count, origin, r, false}});
    };
    const auto block_of = [&](int memory, std::int64_t count) {
      if (count > 0) m.make(memory).size = count, m[memory].read_only = memory < 3 + size;
    };
    const auto vector_operand = [&](std::int64_t in, std::int64_t out, bool gets) {  // `in` elements in, `out` out
      m[0].size = here ? 0 : in;
      m[1].size = !gets ? 0 : here ? std::max(in, out) : out;
      holds(here ? 1 : 0, 0, in);
    };
    switch (p.coll) {
      case Coll::barrier: break;
      case Coll::bcast:
        m[1].size = n;
        if (root) holds(1, 0, n);
        break;
      case Coll::reduce: vector_operand(n, n, root); break;
      case Coll::allreduce:
      case Coll::scan:
      case Coll::exscan: vector_operand(n, n, true); break;
      case Coll::reduce_scatter_block: vector_operand(n * size, n, true); break;
      case Coll::reduce_scatter: vector_operand(sum(p.counts), p.counts[at(r)], true); break;
      case Coll::alltoall: vector_operand(n * size, n * size, true); break;
      case Coll::allgather:
      case Coll::gather:
        m[0].size = here ? 0 : n;
        m[1].size = p.coll == Coll::allgather || root ? n * size : 0;
        holds(here ? 1 : 0, here ? n * r : 0, n);
        break;
      case Coll::allgatherv:
      case Coll::gatherv: {
        const auto& counts = p.coll == Coll::allgatherv ? p.counts : p.block_counts;
        m[0].size = here ? 0 : counts[at(r)];
        if (p.coll == Coll::allgatherv || root)
          for (int b = 0; b < size; ++b) block_of(3 + size + b, counts[at(b)]);
        holds(here ? 3 + size + r : 0, 0, counts[at(r)]);
        break;
      }
      case Coll::scatter:
        m[1].size = here ? 0 : n;
        if (root) m[0].size = n * size, holds(0, 0, n * size);
        break;
      case Coll::scatterv:
        m[1].size = here ? 0 : block(r);
        if (root)
          for (int b = 0; b < size; ++b) block_of(3 + b, block(b)), holds(3 + b, 0, block(b), b * block_origin);
        break;
      case Coll::alltoallv:
        for (int b = 0; b < size; ++b) {
          block_of(3 + b, here ? 0 : pair(r, b));
          block_of(3 + size + b, pair(b, r));
          holds(here ? 3 + size + b : 3 + b, 0, pair(r, b), b * block_origin);
        }
        break;
    }
    m[0].read_only = true;
    // Its buffer is left as it was (comm.hpp).
    if (p.coll == Coll::exscan && r == 0) m[1].read_only = true;
  }
}

// Elements of `where` must be elements origin, origin + 1, ... of ranks `who`. With `same_as`: by the same
// expressions as there (empty: remember these).
bool Proof::expect(int rank, const Range& where, std::int64_t origin, Run who, bool finished, Pieces* same_as) {
  const Place at_ = place(rank, where);
  if (at_.count == 0) return true;
  const auto say = [&](const std::string& why) {
    error = fmt::format("rank {}: result: {}", rank, why);
    return false;
  };
  Pieces got;
  std::int64_t gap = 0;
  const char* buffer = where.space == Space::send || where.space == Space::send_block ? "send" : "recv";
  const std::string name = where.space == Space::recv_block || where.space == Space::send_block ? fmt::format("{} block {}", buffer, where.block) : buffer;
  if (!memories[at(rank)][at_.memory].read(at_.first, at_.count, got, gap)) return say(fmt::format("element {} of {} was never written", gap, name));
  for (const Piece& piece : got) {
    const std::string elements = fmt::format("elements [{},{}) of {}", at_.first + piece.first, at_.first + piece.end, name);
    const auto& runs = terms.runs(piece.term);
    if (runs.size() != 1 || runs[0] != who) {
      std::string have;
      for (const Run& r : runs) have += fmt::format("[{},{})", r.first, r.last);
      return say(fmt::format("{} hold contributions of ranks {} instead of [{},{})", elements, have, who.first, who.last));
    }
    if (piece.origin != origin + piece.first)
      return say(fmt::format("{} hold elements from {} of the contribution, not from {}", elements, piece.origin, origin + piece.first));
    if (piece.finished != finished) return say(fmt::format("{} were {}divided by the number of ranks", elements, finished ? "not " : ""));
    if (p.determinism == Determinism::placement && who.last - who.first > 1) {
      std::vector<int> ranks(at(who.last - who.first));
      std::iota(ranks.begin(), ranks.end(), who.first);
      std::string why;
      if (terms.combine(ranks, why) != piece.term) return say(fmt::format("{} were not combined by one reduction in rank order (determinism placement)", elements));
    }
  }
  if (same_as != nullptr) {
    Pieces joined;
    for (const Piece& piece : got) append(joined, piece);
    if (same_as->empty()) *same_as = joined;
    const bool same = std::equal(joined.begin(), joined.end(), same_as->begin(), same_as->end(),
                                 [](const Piece& a, const Piece& b) { return a.first == b.first && a.end == b.end && a.term == b.term; });
    if (!same) return say(fmt::format("{} was combined in another order than on rank 0", name));
  }
  return true;
}

bool Proof::check_results() {
  const std::int64_t n = p.count;
  const int size = p.size;
  const Run everyone{0, size};
  Pieces first;  // of allreduce, on the first rank
  std::int64_t before = 0;
  for (int r = 0; r < size; ++r) {
    const auto recv = [&](std::int64_t from, std::int64_t count) { return Range{Space::recv, 0, from, count}; };
    const bool here = in_place[at(r)], root = r == p.root;
    switch (p.coll) {
      case Coll::barrier: break;
      case Coll::bcast:
        if (!expect(r, recv(0, n), 0, {p.root, p.root + 1}, false)) return false;
        break;
      case Coll::reduce:
        if (root && !expect(r, recv(0, n), 0, everyone, p.averages)) return false;
        break;
      case Coll::allreduce:
        if (!expect(r, recv(0, n), 0, everyone, p.averages, &first)) return false;
        break;
      case Coll::scan:
      case Coll::exscan: {
        const int last = p.coll == Coll::scan ? r + 1 : r;
        if (last > 0 && !expect(r, recv(0, n), 0, {0, last}, p.averages)) return false;
        break;
      }
      case Coll::reduce_scatter_block:
        if (!expect(r, recv(0, n), r * n, everyone, p.averages)) return false;
        break;
      case Coll::reduce_scatter:
        if (!expect(r, recv(0, p.counts[at(r)]), before, everyone, p.averages)) return false;
        before += p.counts[at(r)];
        break;
      case Coll::scatter:
        if (!expect(r, here ? Range{Space::send, 0, r * n, n} : recv(0, n), r * n, {p.root, p.root + 1}, false)) return false;
        break;
      case Coll::scatterv:
        if (!expect(r, here ? Range{Space::send_block, r, 0, whole_block} : recv(0, whole_block), r * block_origin, {p.root, p.root + 1}, false)) return false;
        break;
      case Coll::allgather:
      case Coll::gather:
      case Coll::alltoall:
        if (p.coll == Coll::gather && !root) break;
        for (int b = 0; b < size; ++b)
          if (!expect(r, recv(b * n, n), p.coll == Coll::alltoall ? r * n : 0, {b, b + 1}, false)) return false;
        break;
      case Coll::allgatherv:
      case Coll::gatherv:
      case Coll::alltoallv:
        if (p.coll == Coll::gatherv && !root) break;
        for (int b = 0; b < size; ++b)
          if (!expect(r, {Space::recv_block, b, 0, whole_block}, p.coll == Coll::alltoallv ? r * block_origin : 0, {b, b + 1}, false)) return false;
        break;
    }
  }
  return true;
}

}  // namespace libcoll::sched
