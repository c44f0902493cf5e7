// Small calls that are right, for tests that make one rank call something else.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "libcoll/libcoll.hpp"

namespace libcoll::test {

// Buffers and arguments of one call; the defaults are right.
struct Args {
  explicit Args(const Comm& c, Count n = 4)
      : ranks(c.size()), count(n), a(static_cast<std::size_t>(n * ranks + 64), 1.0), b(a.size(), -1.0), counts(static_cast<std::size_t>(ranks), n) {
    for (int r = 0; r < ranks; ++r) displs.push_back(r * n);
    out_counts = counts;
    send = a.data();
    recv = b.data();
  }
  int ranks;
  Count count;
  std::vector<double> a, b;
  std::vector<Count> counts, displs, out_counts;
  const void* send;
  void* recv;
  DType type = DType::f64;
  ReduceOp op = Op::sum;
  int root = 0;
  CallOptions options = {};
};

enum class Which { barrier, bcast, reduce, allreduce, reduce_scatter_block, reduce_scatter, allgather, allgatherv, gather,
                   gatherv, scatter, scatterv, alltoall, alltoallv, scan, exscan };
inline constexpr std::array all_calls{Which::barrier, Which::bcast, Which::reduce, Which::allreduce, Which::reduce_scatter_block,
    Which::reduce_scatter, Which::allgather, Which::allgatherv, Which::gather, Which::gatherv, Which::scatter, Which::scatterv,
    Which::alltoall, Which::alltoallv, Which::scan, Which::exscan};
inline constexpr std::array<const char*, 16> call_names{"barrier", "bcast", "reduce", "allreduce", "reduce_scatter_block",
    "reduce_scatter", "allgather", "allgatherv", "gather", "gatherv", "scatter", "scatterv", "alltoall", "alltoallv", "scan", "exscan"};
inline const char* name_of(Which w) { return call_names[static_cast<std::size_t>(w)]; }

inline bool reduces(Which w) {
  return w == Which::reduce || w == Which::allreduce || w == Which::reduce_scatter_block || w == Which::reduce_scatter ||
         w == Which::scan || w == Which::exscan;
}
inline bool rooted(Which w) {
  return w == Which::bcast || w == Which::reduce || w == Which::gather || w == Which::gatherv || w == Which::scatter || w == Which::scatterv;
}
inline bool has_tables(Which w) {
  return w == Which::reduce_scatter || w == Which::allgatherv || w == Which::gatherv || w == Which::scatterv || w == Which::alltoallv;
}
// Whether every rank looks at what every other calls.
inline bool all_see_all(Which w) { return !rooted(w) && w != Which::scan && w != Which::exscan; }

#define LIBCOLL_TEST_CALL_BY_NAME(form)                                                                              \
  const CallOptions& o = x.options;                                                                                  \
  const bool is_root = c.rank() == x.root;                                                                           \
  switch (w) {                                                                                                       \
    case Which::barrier: return c.form##barrier(o);                                                                  \
    case Which::bcast: return c.form##bcast(x.recv, x.count, x.type, x.root, o);                                     \
    case Which::reduce: return c.form##reduce(x.send, x.recv, x.count, x.type, x.op, x.root, o);                     \
    case Which::allreduce: return c.form##allreduce(x.send, x.recv, x.count, x.type, x.op, o);                       \
    case Which::reduce_scatter_block: return c.form##reduce_scatter_block(x.send, x.recv, x.count, x.type, x.op, o); \
    case Which::reduce_scatter: return c.form##reduce_scatter(x.send, x.recv, x.counts, x.type, x.op, o);            \
    case Which::allgather: return c.form##allgather(x.send, x.recv, x.count, x.type, o);                             \
    case Which::allgatherv: return c.form##allgatherv(x.send, x.count, x.recv, x.counts, x.displs, x.type, o);       \
    case Which::gather: return c.form##gather(x.send, x.recv, x.count, x.type, x.root, o);                           \
    case Which::gatherv:                                                                                             \
      return is_root ? c.form##gatherv(x.send, x.count, x.recv, x.counts, x.displs, x.type, x.root, o)               \
                     : c.form##gatherv(x.send, x.count, nullptr, {}, {}, x.type, x.root, o);                         \
    case Which::scatter: return c.form##scatter(x.send, x.recv, x.count, x.type, x.root, o);                         \
    case Which::scatterv:                                                                                            \
      return is_root ? c.form##scatterv(x.send, x.counts, x.displs, x.recv, x.count, x.type, x.root, o)              \
                     : c.form##scatterv(nullptr, {}, {}, x.recv, x.count, x.type, x.root, o);                        \
    case Which::alltoall: return c.form##alltoall(x.send, x.recv, x.count, x.type, o);                               \
    case Which::alltoallv:                                                                                           \
      return c.form##alltoallv(x.send, x.out_counts, x.displs, x.recv, x.counts, x.displs, x.type, o);               \
    case Which::scan: return c.form##scan(x.send, x.recv, x.count, x.type, x.op, o);                                 \
    case Which::exscan: return c.form##exscan(x.send, x.recv, x.count, x.type, x.op, o);                             \
  }

inline void call(Comm& c, Which w, Args& x) { LIBCOLL_TEST_CALL_BY_NAME() }
inline Request start(Comm& c, Which w, Args& x) {
  LIBCOLL_TEST_CALL_BY_NAME(i)
  return {};
}
inline Persistent plan(Comm& c, Which w, Args& x) {
  LIBCOLL_TEST_CALL_BY_NAME(plan_)
  return {};
}
#undef LIBCOLL_TEST_CALL_BY_NAME

// What a call came to.
struct Outcome {
  Errc code = Errc::ok;
  int peer = -1;
  std::string text;
};
inline Outcome outcome_of(const std::function<void()>& f) {
  try {
    f();
    return {};
  } catch (const Error& e) {
    return {e.code(), e.peer(), e.what()};
  }
}

// The communicator works: throws otherwise.
inline void expect_usable(Comm& c) {
  for (const std::size_t n : {std::size_t{1}, std::size_t{5000}}) {
    std::vector<std::int64_t> in(n, c.rank() + 1), out(n);
    c.allreduce<std::int64_t>(in, out, Op::sum);
    if (out.back() != c.size() * (c.size() + 1) / 2) throw std::runtime_error("the communicator gives wrong results afterwards");
  }
}

}  // namespace libcoll::test
