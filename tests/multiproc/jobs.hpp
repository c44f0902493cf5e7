// Jobs: calls with data that tells where it comes from, for tests that have many under way at once.
#pragma once

#include <memory>
#include <random>

#include "tests/multiproc/calls.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {

// One call with its own buffers. Sums of the values are exact in any order.
struct Job {
  Job(Comm& c, Which w, Count n, std::uint64_t t, int root, bool arena) : which(w), tag(t), count(n), args(c, n), rank(c.rank()), ranks(c.size()) {
    args.root = root;
    send = args.a.data(), recv = args.b.data();
    if (arena) {
      memory = c.allocate(2 * args.a.size() * sizeof(double));
      send = memory.span<double>().data(), recv = send + args.a.size();
    }
    args.send = send, args.recv = recv;
    fill();
  }

  static double value(int r, std::uint64_t t, Count i) { return r + 3.0 * static_cast<double>(t % 97) + static_cast<double>(i % 50); }
  double sum(int last, Count i) const {
    double s = 0;
    for (int r = 0; r <= last; ++r) s += value(r, tag, i);
    return s;
  }

  // Operands for another run, results wiped.
  void fill() {
    const auto n = static_cast<Count>(args.a.size());
    for (Count i = 0; i < n; ++i) send[i] = value(rank, tag, i), recv[i] = -1;
    if (which == Which::bcast && rank == args.root) std::copy(send, send + n, recv);
  }
  // What the library must have copied.
  void forget_tables() {
    for (auto* t : {&args.counts, &args.displs, &args.out_counts}) std::vector<Count>(t->size(), -77).swap(*t);
  }

  void expect(Count at, double want) const {
    if (recv[at] != want)
      throw std::runtime_error(std::string(name_of(which)) + ", count " + std::to_string(count) + ", root " + std::to_string(args.root) + ": element " +
                               std::to_string(at) + " is " + std::to_string(recv[at]) + " and not " + std::to_string(want));
  }
  void verify() const {
    const bool am_root = rank == args.root;
    for (Count i = 0; i < count; ++i) {
      switch (which) {
        case Which::barrier: break;
        case Which::bcast: expect(i, value(args.root, tag, i)); break;
        case Which::reduce: expect(i, am_root ? sum(ranks - 1, i) : -1); break;
        case Which::allreduce: expect(i, sum(ranks - 1, i)); break;
        case Which::reduce_scatter_block:
        case Which::reduce_scatter: expect(i, sum(ranks - 1, rank * count + i)); break;
        case Which::allgather:
        case Which::allgatherv:
        case Which::gather:
        case Which::gatherv:
          for (int r = 0; r < ranks; ++r) expect(r * count + i, am_root || which == Which::allgather || which == Which::allgatherv ? value(r, tag, i) : -1);
          break;
        case Which::scatter:
        case Which::scatterv: expect(i, value(args.root, tag, rank * count + i)); break;
        case Which::alltoall:
        case Which::alltoallv:
          for (int r = 0; r < ranks; ++r) expect(r * count + i, value(r, tag, rank * count + i));
          break;
        case Which::scan: expect(i, sum(rank, i)); break;
        case Which::exscan: expect(i, rank == 0 ? -1 : sum(rank - 1, i)); break;
      }
    }
  }

  Which which;
  std::uint64_t tag;
  Count count;
  Args args;
  int rank, ranks;
  Buffer memory;
  double* send;
  double* recv;
};

using Random = std::mt19937_64;  // equal on all ranks

// A call of any kind and size; `most_bytes` of one rank's buffer. Buffers of each rank are private or in the arena.
inline std::unique_ptr<Job> draw_job(Comm& c, Random& random, std::size_t most_bytes, bool private_only = false) {
  constexpr std::array<Count, 7> counts{1, 5, 6, 100, 3000, 30000, 300000};
  const Which w = all_calls[random() % all_calls.size()];
  const Count most = static_cast<Count>(most_bytes / sizeof(double)) / c.size(), n = std::min(most, counts[random() % counts.size()]);
  const std::uint64_t tag = random();
  const int root = static_cast<int>(random() % static_cast<unsigned>(c.size()));
  return std::make_unique<Job>(c, w, n, tag, root, !private_only && mixed(tag, static_cast<std::uint64_t>(c.rank())) % 4 == 0);
}

// 32 jobs under way at once, some blocking ones between them, waited for in another order on each rank.
// Collective; throws if a result is wrong.
void run_many_in_flight(Comm&, Random&, std::size_t most_bytes, bool private_only = false);
// Calls on two communicators, waited for in opposite order by even and odd ranks.
void run_opposite_order(Comm&, Random&, std::size_t most_bytes);
// Small operations that nothing precedes are posted and completed apart from all others: whatever comes
// between the two must find them, and whatever is started next must not find anything of them.
void run_alone_and_then_not(Comm&);
// Pooled operations are used again: nothing may be left of the last call's plan, options, tables or error.
void run_from_one_pool(Comm&);
// More calls than the plan cache holds, between starts of one plan.
void run_beyond_the_cache(Comm&);

}  // namespace libcoll::test
