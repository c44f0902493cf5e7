#include "libcoll/planning/predict.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace libcoll::planning {

using algo::Work;
using detail::Coll;

namespace {

double us_for(double bytes, double gbps) { return bytes / (gbps * 1e3); }

// The measured speeds are those of a cache, which has to hold operands, staging memory and results of several ranks;
// what it does not hold is copied, and reduced, at the speed of memory.
constexpr double cache_bytes = 256 << 10;
double speed(double gbps, double bytes) {
  constexpr double memory_gbps = 10;
  return bytes <= cache_bytes ? gbps : std::min(gbps, memory_gbps);
}

// One native operation of `ranks` ranks. Small ones are hops; large ones are copies, of which every rank
// makes its own at the same time: as far as there are CPUs.
double native_us(const Work& w, double bytes, const Costs& c) {
  const double hop = c.crowded() ? c.hop_us * w.ranks : c.hop_us + 0.01 * w.ranks;
  const double copy_gbps = speed(c.copy_gbps, bytes);
  const double stage = us_for(bytes, std::min(c.staged_gbps, copy_gbps)), read = us_for(bytes, copy_gbps);
  const double ranks = std::max(1, w.ranks), peers = std::max(1.0, ranks - 1);
  // `own`: of the busiest rank; `all`: of all together, who take turns.
  const auto copies = [&](double own, double all) { return hop + std::max(own, all * std::min(c.ranks_per_cpu / ranks, 1.0)); };
  switch (w.native) {
    case Coll::barrier: return hop;
    case Coll::bcast: return copies(stage, peers * stage);
    case Coll::gather:
    case Coll::scatter: return copies(stage, stage);
    // Slices: every rank reduces its own, then the root takes them.
    case Coll::reduce: return copies(std::min(peers * read, 2 * stage), peers * read);
    case Coll::allreduce: return copies(std::min(peers * read, 2 * stage), peers * read + ranks * stage);
    default: return copies(stage, ranks * stage);
  }
}

// `at_once`: messages that the busiest rank sends or receives in one round; `flows`: ranks of a host that do
// so at the same time. Both share a link, and CPUs where these are short. `inside`: part of the bytes that stays inside the
// host. `wait_us`: for what one round waits.
double message_us(const Work& w, double wait_us, double at_once, double flows, double inside, double sent, double reduced, const Costs& c) {
  const double further = c.crowded() ? c.alpha_us : c.send_us;
  const double alpha = wait_us + further * (flows * at_once - 1);
  const double out = sent * (1 - inside);
  return w.rounds * alpha + (us_for(out * (1 - w.both), c.network_gbps) + us_for(out * w.both, c.both_gbps)) * flows +
         us_for(sent * inside, c.staged_gbps) * (c.crowded() ? flows : 1) + us_for(reduced, reduced <= cache_bytes ? c.reduce_gbps : c.reduce_large_gbps);
}

// How many messages the busiest rank has under way in one round.
double messages_at_once(const algo::Recipe& r, const Work& w) {
  if (r.algorithm.find("k_nomial") != std::string::npos) return std::min(r.radix - 1, std::max(1, w.ranks - 1));
  for (const char* everybody : {"ordered", "linear", "scattered"})
    if (r.algorithm == everybody) return std::max(1.0, std::ceil((w.ranks - 1) / std::max(1.0, w.rounds)));
  return 1;
}

double ranks_of_a_host(const sched::Problem& p) {
  std::size_t most = 1;
  for (const auto& level : p.levels)
    if (level.level == Level::host)
      for (const auto& members : level.members) most = std::max(most, members.size());
  return static_cast<double>(most);
}

// Of a rank's peers in a flat algorithm.
double part_inside(const sched::Problem& p) { return p.size > 1 ? (ranks_of_a_host(p) - 1) / (p.size - 1) : 0; }

// Ranks of a host that send at the same time. In a flat algorithm all do in every round, but where the root alone is
// busy; a tree sends more than the root does, since blocks are passed on.
double flows_of_a_host(const sched::Problem& p, const algo::Recipe& r) {
  const double ranks = ranks_of_a_host(p);
  if (p.coll != Coll::gather && p.coll != Coll::scatter) return ranks;
  if (r.algorithm == "linear" || r.radix >= p.size || p.size < 2) return 1;
  return std::min(ranks, 0.5 * std::log2(p.size) * p.size / (p.size - 1));
}

double chunks_of(const sched::Problem& p, const algo::Recipe& r) {
  return r.chunk > 0 ? std::max(1.0, std::ceil(static_cast<double>(p.count) / static_cast<double>(r.chunk))) : 1;
}

}  // namespace

Messages messages_of(const sched::Problem& p, const algo::Recipe& r) {
  Messages sum;
  for (const Work& w : algo::collective(p.coll).work(p, r))
    if (w.where == Work::Where::messages) sum.rounds += w.rounds * chunks_of(p, r), sum.elements += w.sent;
  return sum;
}

double predict_us(const sched::Problem& p, const algo::Recipe& r, const Costs& c, std::uint32_t element_bytes) {
  const double element = element_bytes;
  const auto works = algo::collective(p.coll).work(p, r);
  const double chunks = chunks_of(p, r);
  // Rounds are per chunk, bytes are of the whole: `part` of them.
  const auto phase_us = [&](const Work& w, double part, double wait_us) {
    const bool flat = r.over.empty();
    const double flows = flat ? flows_of_a_host(p, r) : std::max(1, w.flows), sent = w.sent * element * part;
    if (w.where == Work::Where::native) return std::max(w.rounds, 1.0) * native_us(w, sent, c);
    // Ranks that all send and receive, and take turns at a CPU, find the sockets full or empty: a flat allgather of 2 x 2 ranks took
    // half as long again as its bytes.
    const double turns = flat && flows > 1 && c.crowded() ? 1.5 : 1;
    return message_us(w, wait_us, messages_at_once(r, w), flows, flat ? part_inside(p) : 0, turns * sent, w.reduced * element * part, c);
  };
  double sum = 0, slowest = 0;
  for (const Work& w : works) {
    const double us = phase_us(w, 1 / chunks, c.alpha_us);
    sum += us;
    // Chunks overlap, so that the slowest phase counts for all of them and the others for one. Not so where ranks share a CPU, which
    // does one thing at a time: every chunk costs all phases. But in a tree nobody waits for an answer before the next chunk.
    if (c.crowded()) sum += (chunks - 1) * phase_us(w, 1 / chunks, w.both > 0 ? c.alpha_us : c.send_us);
    slowest = std::max(slowest, us);
  }
  return c.crowded() ? sum : sum + (chunks - 1) * slowest;
}

double predict_native_us(const sched::Problem& p, const Costs& c, std::uint32_t element_bytes) {
  const auto one_vector = [](Coll coll) {
    return coll == Coll::bcast || coll == Coll::reduce || coll == Coll::allreduce || coll == Coll::scan || coll == Coll::exscan || coll == Coll::barrier;
  };
  double elements = static_cast<double>(p.count) * (one_vector(p.coll) ? 1 : p.size);
  for (const std::int64_t n : p.counts) elements += static_cast<double>(n);
  return native_us({.where = Work::Where::native, .native = p.coll, .ranks = p.size, .rounds = 1, .sent = elements}, elements * element_bytes, c);
}

std::string to_text(const Costs& c) {
  return fmt::format("hop {:.2f} us, copy {:.1f} GB/s, staged {:.1f} GB/s; network {:.1f} us + {:.2f} GB/s ({:.2f} both ways), {:.1f} us per further message; reduction {:.1f} GB/s ({:.1f} of large ones){}", c.hop_us,
                     c.copy_gbps, c.staged_gbps, c.alpha_us, c.network_gbps, c.both_gbps, c.send_us, c.reduce_gbps, c.reduce_large_gbps, c.measured ? "" : " (assumed)");
}

}  // namespace libcoll::planning
