// Each collective in terms of the two engines. Blocks and slices only; the protocol is theirs.
#include "transports/shm/natives.hpp"

#include "transports/shm/fold.hpp"
#include "transports/shm/framed.hpp"
#include "transports/shm/move.hpp"
#include "transports/shm/small.hpp"
#include "transports/shm/tuning.hpp"

namespace libcoll::xport::shm {

using detail::Call;
using detail::Coll;

namespace {

const std::byte* bytes_at(const void* p, std::uint64_t offset = 0) { return static_cast<const std::byte*>(p) + offset; }
std::byte* bytes_at(void* p, std::uint64_t offset = 0) { return static_cast<std::byte*>(p) + offset; }
std::size_t index(int r) { return static_cast<std::size_t>(r); }
std::uint64_t scaled(Count n, const Plan& plan) { return static_cast<std::uint64_t>(n) * plan.call.element_bytes; }
bool streams(const Group& g, std::uint64_t bytes) { return bytes >= g.shape().stream_from; }

// -- Movement -------------------------------------------------------------------------------------

// One block of this rank, for all readers.
Offer offer_one(Group& g, const void* data, std::uint64_t bytes) {
  g.blocks[0] = {bytes_at(data), bytes};
  return {.blocks = {g.blocks.data(), 1}, .base = bytes_at(data), .extent = bytes};
}

// Equal blocks, one per reader, lying behind each other.
Offer offer_each(Group& g, const void* data, std::uint64_t bytes) {
  for (int r = 0; r < g.size(); ++r) g.blocks[index(r)] = {bytes_at(data, index(r) * bytes), bytes};
  return {.blocks = {g.blocks.data(), index(g.size())}, .base = bytes_at(data), .extent = bytes * index(g.size())};
}

// Blocks by counts and displacements; readers need a table.
Offer offer_table(Group& g, const void* data, const Count* counts, const Count* displs, const Plan& plan) {
  std::uint64_t extent = 0;
  for (int r = 0; r < g.size(); ++r) {
    const std::uint64_t at = scaled(displs[r], plan), n = scaled(counts[r], plan);
    g.blocks[index(r)] = {bytes_at(data, at), n};
    if (n != 0) extent = std::max(extent, at + n);
  }
  return {.blocks = {g.blocks.data(), index(g.size())}, .base = bytes_at(data), .extent = extent, .tabled = true};
}

void want_each(Group& g, void* recv, std::uint64_t bytes) {
  for (int r = 0; r < g.size(); ++r) g.wanted[index(r)] = {bytes_at(recv, index(r) * bytes), bytes};
}

void want_table(Group& g, void* recv, const Count* counts, const Count* displs, const Plan& plan) {
  for (int r = 0; r < g.size(); ++r) g.wanted[index(r)] = {bytes_at(recv, scaled(displs[r], plan)), scaled(counts[r], plan)};
}

void want_only(Group& g, int source, void* recv, std::uint64_t bytes) {
  for (int r = 0; r < g.size(); ++r) g.wanted[index(r)] = {};
  g.wanted[index(source)] = {bytes_at(recv), bytes};
}

void run_bcast(Group& g, const Args& a, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, a);
  const int root = static_cast<int>(plan.call.root);
  Transfer t{.reads = g.rank() != root, .only_source = root, .one_for_all = true, .streaming = streams(g, plan.bytes)};
  if (g.rank() == root) t.offer = offer_one(g, a.recv, plan.bytes);
  else want_only(g, root, a.recv, plan.bytes);
  move(g, q, plan, t);
}

void run_allgather(Group& g, const Args& a, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, a);
  want_each(g, a.recv, plan.bytes);
  Transfer t{.offer = offer_one(g, a.send, plan.bytes), .one_for_all = true, .streaming = streams(g, plan.bytes * index(g.size()))};
  t.offer.symmetric = true;
  move(g, q, plan, t);
}

void run_allgatherv(Group& g, const Args& a, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, a);
  want_table(g, a.recv, a.recv_counts, a.recv_displs, plan);
  move(g, q, plan, {.offer = offer_one(g, a.send, scaled(a.local_count, plan)), .one_for_all = true});
}

void gather_to_root(Group& g, std::uint64_t q, const Args& a, const Plan& plan, std::uint64_t own_bytes) {
  const int root = static_cast<int>(plan.call.root);
  move(g, q, plan, {.offer = offer_one(g, a.send, own_bytes), .reads = g.rank() == root, .only_reader = root, .one_for_all = true,
                    .streaming = streams(g, own_bytes * index(g.size()))});
}

void run_gather(Group& g, const Args& a, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, a);
  if (g.rank() == static_cast<int>(plan.call.root)) want_each(g, a.recv, plan.bytes);
  gather_to_root(g, q, a, plan, plan.bytes);
}

void run_gatherv(Group& g, const Args& a, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, a);
  if (g.rank() == static_cast<int>(plan.call.root)) want_table(g, a.recv, a.recv_counts, a.recv_displs, plan);
  gather_to_root(g, q, a, plan, scaled(a.local_count, plan));
}

void scatter_from_root(Group& g, std::uint64_t q, const Plan& plan, Transfer& t, const Args& a, std::uint64_t own_bytes) {
  const int root = static_cast<int>(plan.call.root);
  t.only_source = root;
  t.offer.alone = true;
  t.offset = index(g.rank()) * own_bytes;
  want_only(g, root, a.recv, own_bytes);
  move(g, q, plan, t);
}

void run_scatter(Group& g, const Args& a, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, a);
  Transfer t{.streaming = streams(g, plan.bytes)};
  if (g.rank() == static_cast<int>(plan.call.root)) t.offer = offer_each(g, a.send, plan.bytes);
  scatter_from_root(g, q, plan, t, a, plan.bytes);
}

void run_scatterv(Group& g, const Args& a, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, a);
  Transfer t;
  t.offer.tabled = true;
  if (g.rank() == static_cast<int>(plan.call.root)) t.offer = offer_table(g, a.send, a.send_counts, a.send_displs, plan);
  scatter_from_root(g, q, plan, t, a, scaled(a.local_count, plan));
}

void run_alltoall(Group& g, const Args& a, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, a);
  want_each(g, a.recv, plan.bytes);
  Transfer t{.offer = offer_each(g, a.send, plan.bytes), .offset = index(g.rank()) * plan.bytes, .streaming = streams(g, plan.bytes * index(g.size()))};
  t.offer.keep = plan.call.in_place != 0;
  t.offer.symmetric = true;
  move(g, q, plan, t);
}

void run_alltoallv(Group& g, const Args& a, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, a);
  want_table(g, a.recv, a.recv_counts, a.recv_displs, plan);
  Transfer t{.offer = offer_table(g, a.send, a.send_counts, a.send_displs, plan)};
  t.offer.keep = plan.call.in_place != 0;
  // In place, piece i of a block arrives where piece i has been staged from.
  t.offer.cut_alike = true;
  move(g, q, plan, t);
}

// -- Reduction ------------------------------------------------------------------------------------

// Everybody reads and reduces the whole vector.
Fold whole_vector(Group& g, const Args& a, const Plan& plan) {
  Fold f{.offer = offer_one(g, a.send, plan.bytes), .one_for_all = true, .first = 0, .last = g.size() - 1,
         .my_bytes = plan.bytes, .own = bytes_at(a.send), .result = bytes_at(a.recv), .largest = plan.bytes,
         .streaming = streams(g, plan.bytes)};
  f.offer.keep = plan.call.in_place != 0;
  return f;
}

// Slice r of the vector belongs to rank r; slices are whole cache lines of whole elements.
Fold sliced_vector(Group& g, const Args& a, const Plan& plan) {
  const std::uint64_t ranks = index(g.size()), element = plan.call.element_bytes;
  std::uint64_t stride = (static_cast<std::uint64_t>(plan.call.count) + ranks - 1) / ranks * element;
  if (64 % element == 0) stride = (stride + 63) / 64 * 64;
  Fold f{.first = 0, .last = g.size() - 1, .largest = std::min(stride, plan.bytes), .total_bytes = plan.bytes,
         .slice_stride = stride, .streaming = streams(g, plan.bytes)};
  for (std::uint64_t r = 0; r < ranks; ++r) {
    const std::uint64_t at = std::min(r * stride, plan.bytes);
    g.blocks[r] = {bytes_at(a.send, at), std::min(stride, plan.bytes - at)};
  }
  // Its descriptor says where the results are.
  f.offer = {.blocks = {g.blocks.data(), ranks}, .base = bytes_at(a.send), .extent = plan.bytes, .in_line = false, .combined = true};
  f.my_offset = std::min(index(g.rank()) * stride, plan.bytes);
  f.my_bytes = g.blocks[index(g.rank())].bytes;
  f.own = bytes_at(a.send, f.my_offset);
  return f;
}

void run_allreduce_direct(Group& g, const Args& a, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, a);
  fold(g, q, plan, a, whole_vector(g, a, plan));
}

void run_allreduce_sliced(Group& g, const Args& a, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, a);
  Fold f = sliced_vector(g, a, plan);
  f.gather = Fold::Gather::all;
  f.gathered = bytes_at(a.recv);
  f.result = bytes_at(a.recv, f.my_offset);
  fold(g, q, plan, a, f);
}

// The root reads everything; the others only offer.
void run_reduce_direct(Group& g, const Args& a, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, a);
  const int root = static_cast<int>(plan.call.root);
  Fold f = whole_vector(g, a, plan);
  f.only_reader = root;
  if (g.rank() == root) f.offer = {};  // nobody reads the root's vector
  else f.last = -1, f.my_bytes = 0;
  fold(g, q, plan, a, f);
}

void run_reduce_sliced(Group& g, const Args& a, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, a);
  Fold f = sliced_vector(g, a, plan);
  f.gather = Fold::Gather::root;
  f.root = static_cast<int>(plan.call.root);
  if (g.rank() == f.root) {
    f.gathered = bytes_at(a.recv);
    f.result = bytes_at(a.recv, f.my_offset);
  }
  fold(g, q, plan, a, f);
}

void run_reduce_scatter(Group& g, const Args& a, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, a);
  const bool equal = plan.call.coll == Coll::reduce_scatter_block;
  Fold f{.first = 0, .last = g.size() - 1, .result = bytes_at(a.recv)};
  std::uint64_t at = 0;
  for (int r = 0; r < g.size(); ++r) {
    const std::uint64_t n = equal ? plan.bytes : scaled(a.recv_counts[r], plan);
    g.blocks[index(r)] = {bytes_at(a.send, at), n};
    if (r == g.rank()) f.my_offset = at;
    f.largest = std::max(f.largest, n);
    at += n;
  }
  f.offer = {.blocks = {g.blocks.data(), index(g.size())}, .base = bytes_at(a.send), .extent = at, .combined = true, .keep = plan.call.in_place != 0};
  f.my_bytes = g.blocks[index(g.rank())].bytes;
  f.own = bytes_at(a.send, f.my_offset);
  f.streaming = streams(g, at);
  fold(g, q, plan, a, f);
}

void run_scan(Group& g, const Args& a, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, a);
  Fold f = whole_vector(g, a, plan);
  f.ordered = true;
  f.last = plan.call.coll == Coll::scan ? g.rank() : g.rank() - 1;
  if (f.last < 0) f.my_bytes = 0;
  fold(g, q, plan, a, f);
}

// -- A communicator of one ------------------------------------------------------------------------

void run_alone(Group& g, const Args& a, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, a);
  const bool v = a.recv_counts != nullptr || a.send_counts != nullptr;
  const std::uint64_t n = !v ? plan.bytes : scaled(plan.call.coll == Coll::reduce_scatter ? a.recv_counts[0] : a.local_count, plan);
  void* to = bytes_at(a.recv, a.recv_displs ? scaled(a.recv_displs[0], plan) : 0);
  const void* from = bytes_at(a.send, a.send_displs ? scaled(a.send_displs[0], plan) : 0);
  if (n != 0 && plan.call.coll != Coll::exscan) {
    if (plan.reduce && detail::is_reduction(plan.call.coll)) {
      // One operand still gets the operation's canonical form: truth as 1 or 0, one NaN.
      g.operands[0] = from;
      g.results[0] = to;
      plan.reduce({g.results.data(), 1, g.operands.data(), 1, n / plan.call.element_bytes, 1, false});
    } else if (from != to && a.send != nullptr) {
      std::memcpy(to, from, n);
    }
  }
  g.finish(q);
}

bool wants_direct(const Call& c, const Group& g, std::uint64_t bytes) {
  if (c.algorithm != detail::Algorithm::automatic) return c.algorithm == detail::Algorithm::direct;
  return bytes <= direct_threshold(g.costs(), g.size(), g.oversubscribed());
}

// Two hops pay where flat flags would read more than 16 lines, and every hop is short. Where ranks
// outnumber CPUs a hop is a round of context switches: flat stays best.
bool wants_grouped(const Call& c, const Group& g) {
  if (c.algorithm != detail::Algorithm::automatic) return c.algorithm == detail::Algorithm::grouped;
  return g.size() > 16 && !g.oversubscribed();
}

}  // namespace

Native find_native(const Call& c, const Group& g) {
  const std::uint64_t bytes = static_cast<std::uint64_t>(c.count) * c.element_bytes;
  if (g.size() == 1) return {run_alone, "alone"};
  const bool may_frame = c.op != Op::custom && c.algorithm == detail::Algorithm::automatic;
  const bool one = may_frame && can_frame(g, true, bytes), each = may_frame && can_frame(g, false, bytes);
  switch (c.coll) {
    case Coll::barrier: return wants_grouped(c, g) ? Native{barrier_grouped, "grouped flags"} : Native{barrier_flat, "flat flags", post_barrier, complete_barrier};
    case Coll::bcast: return one ? framed(c.coll) : Native{run_bcast, "pull from root"};
    case Coll::allreduce:
      if (bytes <= inline_bytes && c.op != Op::custom && c.algorithm != detail::Algorithm::sliced) {
        if (wants_grouped(c, g)) return {allreduce_grouped, "grouped"};
        if (g.size() == 2) return {allreduce_pair, "inline", post_inline, complete_pair};
        return {allreduce_inline, "inline", post_inline, complete_inline};
      }
      if (one) return framed(c.coll);
      return wants_direct(c, g, bytes) ? Native{run_allreduce_direct, "direct"} : Native{run_allreduce_sliced, "sliced"};
    case Coll::reduce:
      if (one) return framed(c.coll);
      return wants_direct(c, g, bytes) ? Native{run_reduce_direct, "direct"} : Native{run_reduce_sliced, "sliced"};
    case Coll::reduce_scatter_block:
      if (each) return framed(c.coll);
      return {run_reduce_scatter, "sliced"};
    case Coll::reduce_scatter: return {run_reduce_scatter, "sliced"};
    case Coll::allgather: return one ? framed(c.coll) : Native{run_allgather, "pull"};
    case Coll::allgatherv: return {run_allgatherv, "pull"};
    case Coll::gather: return one ? framed(c.coll) : Native{run_gather, "pull by root"};
    case Coll::gatherv: return {run_gatherv, "pull by root"};
    case Coll::scatter: return each ? framed(c.coll) : Native{run_scatter, "pull from root"};
    case Coll::scatterv: return {run_scatterv, "pull from root"};
    case Coll::alltoall: return each ? framed(c.coll) : Native{run_alltoall, "pull"};
    case Coll::alltoallv: return {run_alltoallv, "pull"};
    case Coll::scan:
    case Coll::exscan: return {run_scan, "direct"};
  }
  return {};
}

bool can_complete(Group& g, std::uint64_t q, const Plan& plan) {
  const Coll coll = plan.call.coll;
  const int root = static_cast<int>(plan.call.root);
  if (coll == Coll::bcast || coll == Coll::scatter) return g.rank() == root || g.has_posted(q, root);
  if ((coll == Coll::gather || coll == Coll::reduce) && g.rank() != root) return true;
  for (int r = 0; r < g.size(); ++r)
    if (r != g.rank() && !g.has_posted(q, r)) return false;
  return true;
}

}  // namespace libcoll::xport::shm
