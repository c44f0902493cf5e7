// Device schedules over everyone: one NCCL call where NCCL has the operation, else messages between all at once.
// NCCL's own algorithms (rings, double binary trees, NVLS) decide the cost: see planning/device_costs.hpp.
// Source: NCCL's user guide, "Collective operations" and "Point-to-point communication".
#include "libcoll/algorithms/cluster.hpp"
#include "libcoll/algorithms/device_build.hpp"
#include "libcoll/algorithms/team_alltoall.hpp"

namespace libcoll::algo {

namespace {

constexpr std::size_t at(int i) { return static_cast<std::size_t>(i); }

std::vector<Part> parts_of(const Problem& p) {
  if (p.counts.empty()) return equal_parts(p.size, p.count);
  std::vector<Part> out;
  std::int64_t begin = 0;
  for (const std::int64_t n : p.counts) out.push_back({begin, n}), begin += n;
  return out;
}

Range none(Space space) { return {space, 0, 0, 0}; }

// In place the result belongs at the start of what holds the operand. It is made in the rank's own part of it, where NCCL
// is in place, too; in scratch if both overlap.
void reduce_scatter(Builder& b, const Problem& p) {
  const auto parts = parts_of(p);
  const Part mine = parts[at(b.rank())];
  const std::int64_t all = parts.back().offset + parts.back().count;
  const Range from = operand(p, b.rank(), 0, all), to{Space::recv, 0, 0, mine.count};
  if (p.size == 1) return b.copy(to, from);
  if (!p.in_place || mine.offset == 0) return b.native(Coll::reduce_scatter, everyone_group, 0, to, from, parts);
  const Range made = mine.offset >= mine.count ? sub(from, mine) : b.scratch(mine.count);
  b.native(Coll::reduce_scatter, everyone_group, 0, made, from, parts);
  b.copy(to, made);
}

void allgather(Builder& b, const Problem& p) {
  const Range to{Space::recv, 0, 0, p.size * p.count}, from = operand(p, b.rank(), 0, p.count);
  if (p.size == 1) return b.copy(to, from);
  b.native(Coll::allgatherv, everyone_group, 0, to, from, parts_of(p));
}

// Where blocks belong is known when the schedule runs: they come to scratch and are copied there.
void allgatherv(Builder& b, const Problem& p) {
  const int me = b.rank();
  const Range from = operand(p, me, 0, p.counts[at(me)]);
  if (p.size == 1) return b.copy(recv_block(p, 0), from);
  const auto parts = parts_of(p);
  const Range all = b.scratch(parts.back().offset + parts.back().count);
  b.native(Coll::allgatherv, everyone_group, 0, all, from, parts);
  for (int r = 0; r < p.size; ++r)
    if (r != me || !p.in_place) b.copy(recv_block(p, r), r == me ? from : sub(all, parts[at(r)]));
}

bool nothing_to_do(const Problem& p) {
  switch (p.coll) {
    case Coll::barrier: return p.size == 1;
    case Coll::gatherv:
    case Coll::scatterv:
    case Coll::alltoallv: return false;  // known later
    default: return p.count == 0 && std::all_of(p.counts.begin(), p.counts.end(), [](std::int64_t n) { return n == 0; });
  }
}

}  // namespace

std::vector<Part> equal_parts(int n, std::int64_t each) {
  std::vector<Part> out;
  out.reserve(at(n));
  for (int i = 0; i < n; ++i) out.push_back({i * each, each});
  return out;
}

Range alltoall_source(Builder& b, const Problem& p) {
  const std::int64_t all = p.size * p.count;
  if (!p.in_place) return {Space::send, 0, 0, all};
  const Range kept = b.scratch(all);
  b.copy(kept, {Space::recv, 0, 0, all});
  return kept;
}

void build_device_flat(Builder& b, const Problem& p) {
  if (nothing_to_do(p)) return;
  const int me = b.rank();
  const bool alone = p.size == 1, root = me == p.root;
  const Range all{Space::recv, 0, 0, p.count};
  switch (p.coll) {
    case Coll::barrier: return b.native(Coll::barrier, everyone_group, 0, none(Space::scratch), none(Space::scratch));
    case Coll::bcast:
      if (!alone) b.native(Coll::bcast, everyone_group, p.root, all, none(Space::recv));
      return;
    case Coll::reduce:
      if (alone) return b.copy(all, operand(p, me, 0, p.count));
      return b.native(Coll::reduce, everyone_group, p.root, root ? all : none(Space::recv), operand(p, me, 0, p.count));
    case Coll::allreduce:
      if (alone) return b.copy(all, operand(p, me, 0, p.count));
      return b.native(Coll::allreduce, everyone_group, 0, all, operand(p, me, 0, p.count));
    case Coll::reduce_scatter:
    case Coll::reduce_scatter_block: return reduce_scatter(b, p);
    case Coll::allgather: return allgather(b, p);
    case Coll::allgatherv: return allgatherv(b, p);
    case Coll::alltoall: {
      const Range from = alltoall_source(b, p);
      const auto block = [&](int r) { return sched::part(from, r * p.count, p.count); };
      if (!p.in_place) b.copy(recv_block(p, me), block(me));
      return exchange(b, sched::everyone(p.size, me), p.size, block, [&](int r) { return recv_block(p, r); });
    }
    case Coll::alltoallv:
      b.copy(recv_block(p, me), send_block(p, me));
      return exchange(b, sched::everyone(p.size, me), p.size, [&](int r) { return send_block(p, r); }, [&](int r) { return recv_block(p, r); });
    default:  // gather(v), scatter(v): the catalogue's linear form is all messages at once
      return collective(p.coll).build(b, p, {.algorithm = "linear"});
  }
}

}  // namespace libcoll::algo
