#include "tests/multiproc/body.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "tests/multiproc/context.hpp"
#include "tests/multiproc/jobs.hpp"
#include "tests/unit/kernels/reference.hpp"

namespace libcoll::test {

namespace {

constexpr std::array<std::size_t, 12> all_counts{0, 1, 2, 3, 7, 8, 63, 64, 65, 1000, 4097, 100003};
constexpr std::array<std::string_view, 3> algorithms{"", "direct", "sliced"};
constexpr std::array reductions{Reduction::allreduce, Reduction::reduce, Reduction::reduce_scatter_block,
                                Reduction::reduce_scatter, Reduction::scan, Reduction::exscan};
constexpr std::array movements{Movement::bcast, Movement::allgather, Movement::gather, Movement::scatter, Movement::alltoall};
constexpr std::array vector_forms{VectorForm::allgatherv, VectorForm::gatherv, VectorForm::scatterv, VectorForm::alltoallv};

bool has_algorithms(Reduction r) { return r == Reduction::allreduce || r == Reduction::reduce; }

// The larger the job and the message, the smaller the share of its cases that run.
double share(const Context& c, std::size_t count) {
  const double ranks = c.size <= 4 ? 1.5 : c.size <= 9 ? 0.5 : 0.12;
  return count <= 1000 ? ranks : count <= 5000 ? ranks * 0.8 : ranks * 0.5;
}

// Every defined pair of type and operation.
void every_type(Context& c) {
  for (int t = 0; t < dtype_count; ++t) {
    for (int o = 0; o < op_count; ++o) {
      const auto dtype = static_cast<DType>(t);
      const auto op = static_cast<Op>(o);
      if (!is_defined(op, dtype)) continue;
      for (const std::size_t count : {std::size_t{3}, std::size_t{700}}) {
        const Operation exact = builtin(dtype, op, Values::exact), random = builtin(dtype, op, Values::random);
        const bool in_place = c.draw_below(2) == 1;
        check(c, Reduction::allreduce, exact, {.count = count, .in_place = in_place});
        if (c.sampled(share(c, count)))
          check(c, Reduction::allreduce, random, {.count = count, .algorithm = algorithms[c.draw() % 3], .in_place = !in_place});
        const Reduction other = reductions[1 + c.draw() % 5];
        if (c.sampled(share(c, count)))
          check(c, other, random, {.count = count, .root = c.draw_below(c.size), .in_place = in_place});
      }
    }
  }
}

// All sizes on few types; the algorithms must give the same bits, those of the fold in rank order.
void every_count(Context& c) {
  const std::array operations{builtin(DType::f64, Op::sum, Values::random), builtin(DType::i32, Op::max, Values::exact),
                              builtin(DType::bf16, Op::sum, Values::random), builtin(DType::u8, Op::bxor, Values::exact)};
  for (const std::size_t count : all_counts) {
    for (const Operation& op : operations) {
      for (const Reduction kind : reductions) {
        for (const std::string_view algorithm : algorithms) {
          if (!algorithm.empty() && !has_algorithms(kind)) continue;
          for (const bool in_place : {false, true}) {
            // The size at which everything is cut in pieces is not left to chance for one type.
            const bool always = count >= 100003 && kind == Reduction::allreduce && op.dtype == DType::f64 && !in_place && c.size <= 4;
            const bool drawn = c.sampled(share(c, count));
            const int root = c.draw_below(c.size);
            if (always || drawn) check(c, kind, op, {.count = count, .root = root, .algorithm = algorithm, .in_place = in_place});
          }
        }
      }
    }
  }
}

void every_movement(Context& c) {
  constexpr std::array types{DType::byte, DType::i16, DType::f32, DType::f64, DType::c128, DType::f64_i32};
  for (const std::size_t count : all_counts) {
    for (const Movement kind : movements) {
      for (const bool in_place : {false, true}) {
        for (int repeat = 0; repeat < 3; ++repeat) {
          const DType dtype = types[c.draw() % types.size()];
          const int root = c.draw_below(c.size);
          if (c.sampled(share(c, count) * 0.7)) check(c, kind, dtype, {.count = count, .root = root, .in_place = in_place});
        }
      }
    }
    for (const VectorForm kind : vector_forms) {
      for (const bool in_place : {false, true}) {
        for (int repeat = 0; repeat < 3; ++repeat) {
          const DType dtype = types[c.draw() % types.size()];
          const int root = c.draw_below(c.size);
          if (c.sampled(share(c, count) * 0.7)) check(c, kind, dtype, {.count = count, .root = root, .in_place = in_place});
        }
      }
    }
  }
}

void every_root(Context& c) {
  for (int root = 0; root < c.size; ++root) {
    for (const std::size_t count : {std::size_t{2}, std::size_t{1000}, std::size_t{30011}}) {
      if (count > 2 && !c.sampled(share(c, count) * 2)) continue;
      const Shape shape{.count = count, .root = root, .in_place = c.draw_below(2) == 1};
      for (const Movement kind : {Movement::bcast, Movement::gather, Movement::scatter}) check(c, kind, DType::f32, shape);
      for (const VectorForm kind : {VectorForm::gatherv, VectorForm::scatterv}) check(c, kind, DType::i64, shape);
      check(c, Reduction::reduce, builtin(DType::f32, Op::sum, Values::random), shape);
    }
  }
}

void user_operation(Context& c) {
  for (const Operation& op : user_operations()) {
    for (const std::size_t count : all_counts) {
      if (count > 30000 && c.size > 4) continue;
      for (const Reduction kind : reductions) {
        for (const std::string_view algorithm : algorithms) {
          if (!algorithm.empty() && !has_algorithms(kind)) continue;
          const Shape shape{.count = count, .root = c.draw_below(c.size), .algorithm = algorithm, .in_place = c.draw_below(2) == 1};
          if (c.sampled(share(c, count) * 0.6)) check(c, kind, op, shape);
        }
      }
    }
  }
}

// Every mix of private and arena buffers among the ranks, send and recv independently.
void every_mix(Context& c) {
  if (c.size > 3 || !c.sampled(1)) return;
  const Operation sum = builtin(DType::f64, Op::sum, Values::random);
  for (int mix = 0; mix < 1 << (2 * c.size); ++mix) {
    c.forced_send = mix & ((1 << c.size) - 1);
    c.forced_recv = mix >> c.size;
    for (const std::size_t count : {std::size_t{1000}, std::size_t{9001}}) {
      const Shape shape{.count = count, .root = c.draw_below(c.size), .in_place = c.draw_below(2) == 1};
      for (const Reduction kind : reductions) check(c, kind, sum, shape);
      for (const Movement kind : movements) check(c, kind, DType::f64, shape);
      for (const VectorForm kind : vector_forms) check(c, kind, DType::f64, shape);
    }
  }
  c.forced_send = c.forced_recv = -1;
}

// big + 1 + 1 + ...: the ones are lost one by one if each step rounds to the type, and kept if the sum
// is held in f32 and rounded once.
void one_rounding(Context& c) {
  struct Row { DType dtype; float big; };
  for (const Row row : {Row{DType::f16, 2048}, Row{DType::bf16, 256}, Row{DType::f8e4m3, 16}, Row{DType::f8e5m2, 8}}) {
    for (const std::size_t count : {std::size_t{1}, std::size_t{500}, std::size_t{9000}}) {
      const SmallFormat& format = small_format(row.dtype);
      const std::size_t bytes = size_of(row.dtype);
      const auto vector_of = [&](float v) {
        const unsigned code = format.encode(v);
        Bytes out(count * bytes);
        for (std::size_t i = 0; i < count; ++i) std::memcpy(out.data() + i * bytes, &code, bytes);
        return out;
      };
      const Bytes send = vector_of(c.rank == 0 ? row.big : 1), want = vector_of(row.big + static_cast<float>(c.size - 1));
      Bytes recv(send.size());
      for (const std::string_view algorithm : algorithms) {
        c.comm.allreduce(send.data(), recv.data(), static_cast<Count>(count), row.dtype, Op::sum, {.algorithm = algorithm});
        c.expect(std::string("one rounding of ") + name_of(row.dtype), recv.data(), want.data(), want.size());
      }
    }
  }
}

// Typed forms and the value form.
void typed_forms(Context& c) {
  const double sum = c.comm.allreduce(c.rank + 0.5, Op::sum);
  const double want = c.size * c.size / 2.0;
  c.expect("allreduce of a value", &sum, &want, sizeof sum);
  const auto n = static_cast<std::size_t>(c.size);
  std::vector<std::int32_t> one{c.rank}, all(n), square(n * 2, c.rank), mixed_up(n * 2);
  c.comm.allgather<std::int32_t>(one, all);
  c.comm.alltoall<std::int32_t>(square, mixed_up);
  for (std::size_t r = 0; r < n; ++r)
    if (all[r] != static_cast<int>(r) || mixed_up[2 * r + 1] != static_cast<int>(r)) c.fail("typed allgather or alltoall");
  std::vector<std::int32_t> piece(2), total(1, -1), prefix(1);
  c.comm.reduce_scatter_block<std::int32_t>(square, piece, Op::sum);
  c.comm.reduce<std::int32_t>(one, c.rank == 0 ? std::span(total) : std::span<std::int32_t>(), Op::sum, 0);
  c.comm.scan<std::int32_t>(one, prefix, Op::sum);
  const int ranks_sum = c.size * (c.size - 1) / 2;
  if (piece[1] != ranks_sum || total[0] != (c.rank == 0 ? ranks_sum : -1) || prefix[0] != c.rank * (c.rank + 1) / 2)
    c.fail("typed reduce_scatter_block, reduce or scan");
  c.comm.bcast<std::int32_t>(one, c.size - 1);
  c.comm.allreduce<std::int32_t>(in_place, all, Op::max);
  if (one[0] != c.size - 1) c.fail("typed bcast");
  c.comm.barrier();
}

void many_started(Context& c) {
  Random random(c.draw());
  const std::size_t most_bytes = c.size <= 4 ? 1u << 20 : c.size <= 9 ? 1u << 18 : 1u << 16;
  for (int round = 0; round < 2; ++round) {
    const bool drawn = round == 0 || c.sampled(1);
    if (drawn) run_many_in_flight(c.comm, random, round == 0 ? most_bytes : most_bytes / 16);
  }
  run_opposite_order(c.comm, random, most_bytes);
}

}  // namespace

void run_body(Comm& comm, const BodyOptions& options) {
  Context c(comm, options);
  typed_forms(c);
  one_rounding(c);
  if (options.every_type) every_type(c);
  every_count(c);
  every_movement(c);
  every_root(c);
  user_operation(c);
  every_mix(c);
  many_started(c);
}

void run_smoke(Comm& comm, std::uint64_t seed, bool private_only) {
  const BodyOptions options{.seed = seed};
  Context c(comm, options);
  if (private_only) c.forced_send = c.forced_recv = 0;
  for (const std::size_t count : {std::size_t{1}, std::size_t{100}, std::size_t{20000}}) {
    check(c, Reduction::allreduce, builtin(DType::f64, Op::sum, Values::random), {.count = count});
    check(c, Movement::bcast, DType::i32, {.count = count, .root = c.draw_below(c.size)});
    check(c, Movement::alltoall, DType::i32, {.count = count});
  }
  comm.barrier();
}

}  // namespace libcoll::test
