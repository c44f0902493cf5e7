#include "libcoll/planning/device_costs.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "libcoll/algorithms/device_build.hpp"

namespace libcoll::planning {

using algo::DeviceGroups;
using algo::DeviceRecipe;
using detail::Coll;
using sched::Problem;

namespace {

double us_for(double bytes, double gbps) { return bytes / (gbps * 1e3); }

// Ranks that run one native: in so many islands, with so many at least in each.
struct Span {
  double ranks = 1, islands = 1, members = 1;
  double nvlink_gbps = 0;   // of a rank
  double network_gbps = 0;  // of an island's part of the ring, or rings, that cross it
  double ring_gbps() const {
    if (islands == 1) return nvlink_gbps;
    return members == 1 ? network_gbps : std::min(nvlink_gbps, network_gbps);
  }
};

struct Model {
  const DeviceCosts& c;
  double members, islands, ranks;

  Model(const Problem& p, const DeviceGroups& groups, const DeviceCosts& costs) : c(costs), ranks(p.size) {
    members = ranks;
    for (const auto& island : groups.islands) members = std::min(members, static_cast<double>(island.size()));
    islands = static_cast<double>(groups.islands.size());
    if (groups.islands.empty()) members = 1, islands = ranks;
  }
  double nvlink() const { return c.link_gbps * c.links; }
  double card() const { return c.nic_gbps * c.nics_per_rank; }
  Span everyone() const { return {ranks, islands, members, nvlink(), members * card()}; }
  Span island() const { return {members, 1, members, nvlink(), 0}; }
  Span rail() const { return {islands, islands, 1, 0, card()}; }

  // The best protocol, `passes` times around the ring; a rank sends `bytes` in all.
  double ring(const Span& s, double passes, double bytes) const {
    double best = std::numeric_limits<double>::infinity();
    for (const auto& p : {c.ll, c.ll128, c.simple}) {
      const double crossing = passes * (s.islands - 1), hops = passes * (s.ranks - 1) - crossing;
      best = std::min(best, p.ring_base + hops * p.ring_nvlink + crossing * p.ring_network + us_for(bytes, s.ring_gbps() * p.payload));
    }
    return best;
  }
  // Two islands exchange what they have once in each direction; of more, inner ones pass on what comes.
  double network_share(const Span& s, double bytes) const { return s.islands == 1 ? 0 : us_for(bytes * (s.islands == 2 ? 1 : 2), s.network_gbps); }
  double tree(const Span& s, double bytes) const {
    double best = std::numeric_limits<double>::infinity();
    for (const auto& p : {c.ll, c.ll128, c.simple}) {
      const double inside = s.members > 1 ? us_for(2 * bytes, s.nvlink_gbps) : 0;
      const double moving = std::max(inside, network_share(s, bytes)) / p.payload;
      best = std::min(best, p.tree_base + 2 * ((s.members - 1) * p.tree_nvlink + std::log2(s.islands) * p.tree_network) + moving);
    }
    return best;
  }
  double switches(const Span& s, double bytes) const {
    const double inside = us_for(2 * (s.members - 1) / s.members * bytes, c.nvls_gbps);
    return c.simple.tree_base + c.nvls_nvlink_us + 2 * std::log2(s.islands) * c.nvls_network_us + std::max(inside, network_share(s, bytes));
  }
  // `bytes`: of the whole vector, or of all blocks.
  double native(Coll coll, const Span& s, double bytes) const {
    if (s.ranks < 2) return 0;
    const double share = (s.ranks - 1) / s.ranks * bytes;
    switch (coll) {
      case Coll::barrier:
      case Coll::allreduce: {
        const double best = std::min(ring(s, 2, 2 * share), tree(s, bytes));
        return c.nvls && s.members > 2 ? std::min(best, switches(s, bytes)) : best;
      }
      case Coll::bcast:
      case Coll::reduce: return ring(s, 1, bytes);
      default: return ring(s, 1, share);
    }
  }
  // Messages at once by one rank, so many inside its island and so many out of it.
  double messages(double inside, double inside_bytes, double out, double out_bytes) const {
    const double hop = out > 0 ? c.simple.ring_network : c.simple.ring_nvlink;
    return c.simple.ring_base + hop + inside * c.message_us + out * c.network_message_us + std::max(us_for(inside_bytes, nvlink()), us_for(out_bytes, card()));
  }
  double copies(double many, double bytes) const { return many == 0 ? 0 : many * c.copy_us + us_for(2 * bytes, c.memory_gbps); }
};

double sum(const std::vector<std::int64_t>& counts) {
  double all = 0;
  for (const std::int64_t n : counts) all += static_cast<double>(n);
  return all;
}
bool one_vector(Coll c) { return c == Coll::bcast || c == Coll::reduce || c == Coll::allreduce || c == Coll::scan || c == Coll::exscan; }

double flat_us(const Problem& p, const Model& m, double element) {
  const double all = (p.counts.empty() ? static_cast<double>(p.count) * (one_vector(p.coll) ? 1 : p.size) : sum(p.counts)) * element;
  const double inside = m.members - 1, out = m.ranks - m.members, block = static_cast<double>(p.count) * element;
  switch (p.coll) {
    case Coll::gather:
    case Coll::gatherv:
    case Coll::scatter:
    case Coll::scatterv:
    case Coll::alltoall:
    case Coll::alltoallv: return m.messages(inside, inside * block, out, out * block) + m.c.copy_us;
    case Coll::reduce_scatter:
      // Unequal blocks are a call each.
      return m.native(p.coll, m.everyone(), all) + (m.ranks - 1) * m.c.call_us;
    case Coll::allgatherv: return m.native(p.coll, m.everyone(), all) + (m.ranks - 1) * m.c.call_us + m.copies(m.ranks, all);
    default: return m.native(p.coll, m.everyone(), all);
  }
}

// Of one chunk: what islands do, and what rails do meanwhile for another chunk.
struct Phases {
  double inside = 0, across = 0;
};

Phases vector_phases(const Problem& p, const Model& m, const DeviceRecipe& r, double bytes) {
  if (!r.sliced) return {m.native(p.coll, m.island(), bytes), m.native(p.coll, m.rail(), bytes)};
  const double part = bytes / m.members;
  if (p.coll == Coll::allreduce) return {m.native(Coll::reduce_scatter, m.island(), bytes) + m.native(Coll::allgather, m.island(), bytes), m.native(p.coll, m.rail(), part)};
  const double root = m.messages(m.members - 1, bytes - part, 0, 0);
  return {root + m.native(p.coll == Coll::bcast ? Coll::allgather : Coll::reduce_scatter, m.island(), bytes), m.native(p.coll, m.rail(), part)};
}

Phases block_phases(const Problem& p, const DeviceGroups& groups, const Model& m, const DeviceRecipe& r, double block, bool whole) {
  const auto order = algo::block_order(groups.islands);
  if (!r.sliced) return {m.native(p.coll, m.island(), m.members * block), m.native(p.coll, m.rail(), m.ranks * block)};
  Phases out{m.native(p.coll, m.island(), m.ranks * block), m.native(p.coll, m.rail(), m.islands * block)};
  if (whole && order == algo::BlockOrder::by_rail) return out;
  if (whole && order == algo::BlockOrder::by_island) out.inside += (m.islands - 1) * m.c.call_us;
  else out.inside += m.copies(m.ranks, m.ranks * block);
  return out;
}

Phases alltoall_phases(const DeviceGroups& groups, const Model& m, double block) {
  const double others = m.members - 1, islands = m.islands - 1;
  Phases out;
  out.inside = m.copies(islands, islands * block) + m.messages(others * m.islands, others * m.islands * block, 0, 0);
  out.across = m.messages(0, 0, islands, islands * m.members * block);
  if (algo::block_order(groups.islands) != algo::BlockOrder::by_island) out.inside += m.copies(m.ranks - m.members, (m.ranks - m.members) * block);
  return out;
}

// Elements of the send and the receive buffer together, of the rank that has most.
double elements_to_copy(const Problem& p) {
  const double n = static_cast<double>(p.count), all = p.counts.empty() ? n * p.size : sum(p.counts);
  switch (p.coll) {
    case Coll::barrier: return 0;
    case Coll::bcast:
    case Coll::reduce:
    case Coll::allreduce:
    case Coll::scan:
    case Coll::exscan: return 2 * n;
    case Coll::alltoall: return 2 * all;
    case Coll::reduce_scatter:
    case Coll::allgatherv: return all + all / p.size;
    default: return all + n;
  }
}

}  // namespace

double predict_device_us(const Problem& p, const DeviceGroups& groups, const DeviceRecipe& r, const DeviceCosts& costs, std::uint32_t element_bytes) {
  const Model m(p, groups, costs);
  if (!r.over_islands) return flat_us(p, m, element_bytes);
  // The few elements that islands do not divide are an operation of their own.
  const std::int64_t tail = one_vector(p.coll) && r.sliced ? p.count % static_cast<std::int64_t>(m.members) : 0, bulk = p.count - tail;
  const double few = static_cast<double>(tail) * element_bytes;
  double us = 0;
  if (tail > 0) us = p.coll == Coll::allreduce ? m.native(p.coll, m.everyone(), few) : m.native(p.coll, m.rail(), few) + m.native(p.coll, m.island(), few);
  if (bulk == 0) return us;
  const double chunks = r.chunk > 0 && bulk > r.chunk ? std::ceil(static_cast<double>(bulk) / static_cast<double>(r.chunk)) : 1;
  const double bytes = static_cast<double>(bulk) * element_bytes / chunks;
  Phases one;
  if (one_vector(p.coll)) one = vector_phases(p, m, r, bytes);
  else if (p.coll == Coll::alltoall) one = alltoall_phases(groups, m, bytes);
  else one = block_phases(p, groups, m, r, bytes, chunks == 1);
  return us + one.inside + one.across + (chunks - 1) * std::max(one.inside, one.across);
}

double predict_staged_us(const Problem& p, const DeviceCosts& costs, double host_us, std::uint32_t element_bytes) {
  return host_us + 2 * costs.host_copy_us + us_for(elements_to_copy(p) * element_bytes, costs.host_gbps);
}

std::vector<DeviceChoice> choose_device(const Problem& p, const DeviceGroups& groups, const DeviceCosts& costs, std::uint32_t element_bytes, const DeviceSituation& now) {
  // Predictions are no better than this.
  constexpr double doubt = 1.1;
  const bool pair = groups.islands.size() == 2;  // trees and NVLS trees beat what the cards bound others by (nccl-tests issue 196)
  const char* const why = now.capturing ? "graph capture: plain NCCL" : pair ? "two islands: plain NCCL" : "cost model";
  std::vector<std::pair<double, DeviceChoice>> all;
  if (now.nccl)
    for (const DeviceRecipe& r : algo::device_candidates(p, groups)) {
      const double us = predict_device_us(p, groups, r, costs, element_bytes);
      const bool last = r.over_islands && (now.capturing || pair);
      const double plain = all.empty() ? us : all.front().second.predicted_us;
      all.push_back({r.over_islands ? std::max(doubt * us, last ? plain : 0) : us, {false, r, us, r.over_islands ? "cost model" : why}});
    }
  if (now.host_us >= 0 && !now.capturing) {  // a host's part cannot be captured
    const double us = predict_staged_us(p, costs, now.host_us, element_bytes);
    all.push_back({all.empty() ? us : doubt * us, {true, {}, us, all.empty() ? "NCCL cannot" : "cost model"}});
  }
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<DeviceChoice> out;
  for (auto& [key, choice] : all) out.push_back(std::move(choice));
  return out;
}

}  // namespace libcoll::planning
