// Every collective of the double, with every type and operation, against plain references.
#include <cstring>

#include "tests/unit/kernels/reference.hpp"
#include "tests/unit/nccl/support.hpp"
#include "transports/nccl/nccl_ops.hpp"

namespace libcoll::test {
namespace {

constexpr DType types[] = {DType::i8, DType::u8, DType::i32, DType::u32, DType::i64, DType::u64, DType::f16, DType::f32, DType::f64, DType::bf16, DType::f8e4m3, DType::f8e5m2};
constexpr int scaled = nccl::builtin_redop_count;

Bytes operand(DType t, std::size_t count, std::uint64_t tag, int rank, Values values = Values::random) {
  Bytes b(count * size_of(t));
  fill_operand(b.data(), count, t, Op::sum, values, tag, rank);
  return b;
}

template <class T>
void divide(Bytes& b, int divisor) {
  for (std::size_t i = 0; i < b.size(); i += sizeof(T)) {
    T v;
    std::memcpy(&v, b.data() + i, sizeof(T));
    v = static_cast<T>(v / static_cast<T>(divisor));
    std::memcpy(b.data() + i, &v, sizeof(T));
  }
}

// What `redop` makes of the operands of all ranks.
Bytes reduced(DType t, int redop, std::vector<Bytes> operands, std::size_t count, std::uint64_t tag) {
  const int n = static_cast<int>(operands.size());
  constexpr Op ops[] = {Op::sum, Op::prod, Op::max, Op::min, Op::avg};
  if (redop == scaled) {
    for (int r = 0; r < n; ++r) {
      const Bytes scalar = operand(t, 1, tag + 1, r, Values::exact);
      Bytes all;
      for (std::size_t i = 0; i < count; ++i) all.insert(all.end(), scalar.begin(), scalar.end());
      operands[static_cast<std::size_t>(r)] = reference_reduce(t, Op::prod, {operands[static_cast<std::size_t>(r)], all}, count, 1);
    }
    return reference_reduce(t, Op::sum, operands, count, 1);
  }
  if (ops[redop] != Op::avg || is_defined(Op::avg, t)) return reference_reduce(t, ops[redop], operands, count, n);
  Bytes sum = reference_reduce(t, Op::sum, operands, count, 1);
  switch (t) {
    case DType::i8: divide<std::int8_t>(sum, n); break;
    case DType::u8: divide<std::uint8_t>(sum, n); break;
    case DType::i32: divide<std::int32_t>(sum, n); break;
    case DType::u32: divide<std::uint32_t>(sum, n); break;
    case DType::i64: divide<std::int64_t>(sum, n); break;
    default: divide<std::uint64_t>(sum, n); break;
  }
  return sum;
}

Bytes part(const Bytes& b, std::size_t index, std::size_t bytes) {
  const auto from = b.begin() + static_cast<std::ptrdiff_t>(index * bytes);
  return {from, from + static_cast<std::ptrdiff_t>(bytes)};
}

// Device memory of one rank for all cases: a sending half and a receiving half.
struct Buffers {
  explicit Buffers(GpuRank& g) : rank(g), send(static_cast<unsigned char*>(g.allocate(half))), recv(static_cast<unsigned char*>(g.allocate(half))) {}
  static constexpr std::size_t half = 8 * 20 * 8;
  GpuRank& rank;
  unsigned char* send;
  unsigned char* recv;
};

void reductions(GpuRank& g, Buffers& b, DType t, int redop, std::uint64_t tag) {
  const auto type = *nccl::nccl_type(t);
  const std::size_t width = size_of(t), count = mixed(tag) % 20, bytes = count * width, n = static_cast<std::size_t>(g.size);
  const int root = static_cast<int>(mixed(tag, 1) % n);
  const bool in_place = mixed(tag, 2) % 2 != 0;
  nccl::RedOp op = static_cast<nccl::RedOp>(redop);
  if (redop == scaled) {
    Bytes scalar = operand(t, 1, tag + 1, g.rank, Values::exact);
    EXPECT_NCCL(g.nccl.redop_create_premulsum(&op, scalar.data(), type, nccl::Residence::host_immediate, g.comm));
  }
  std::vector<Bytes> all;
  for (int r = 0; r < g.size; ++r) all.push_back(operand(t, count * n, tag, r));
  const Bytes expected = reduced(t, redop, all, count * n, tag), head = part(expected, 0, bytes);
  const auto me = static_cast<std::size_t>(g.rank);

  g.upload(b.send, all[me]);
  unsigned char* to = in_place ? b.send : b.recv;
  EXPECT_NCCL(g.nccl.all_reduce(b.send, to, count, type, op, g.comm, g.stream));
  EXPECT_EQ(g.download(to, bytes), head);

  g.upload(b.send, all[me]);
  EXPECT_NCCL(g.nccl.reduce(b.send, in_place ? b.send : b.recv, count, type, op, root, g.comm, g.stream));
  if (g.rank == root) {
    EXPECT_EQ(g.download(in_place ? b.send : b.recv, bytes), head);
  }

  g.upload(b.send, all[me]);
  to = in_place ? b.send + me * bytes : b.recv;
  EXPECT_NCCL(g.nccl.reduce_scatter(b.send, to, count, type, op, g.comm, g.stream));
  EXPECT_EQ(g.download(to, bytes), part(expected, me, bytes));
  if (redop == scaled) {
    EXPECT_NCCL(g.nccl.redop_destroy(op, g.comm));
  }
}

void movements(GpuRank& g, Buffers& b, DType t, std::uint64_t tag) {
  const auto type = *nccl::nccl_type(t);
  const std::size_t width = size_of(t), count = mixed(tag) % 20, bytes = count * width, n = static_cast<std::size_t>(g.size), me = static_cast<std::size_t>(g.rank);
  const int root = static_cast<int>(mixed(tag, 1) % n), right = (g.rank + 1) % g.size, left = (g.rank + g.size - 1) % g.size;
  const bool in_place = mixed(tag, 2) % 2 != 0;
  std::vector<Bytes> all;
  Bytes gathered;
  for (int r = 0; r < g.size; ++r) {
    all.push_back(operand(t, count, tag, r));
    gathered.insert(gathered.end(), all.back().begin(), all.back().end());
  }
  g.upload(b.send, all[me]);
  EXPECT_NCCL(g.nccl.broadcast(b.send, in_place ? b.send : b.recv, count, type, root, g.comm, g.stream));
  EXPECT_EQ(g.download(in_place ? b.send : b.recv, bytes), all[static_cast<std::size_t>(root)]);

  unsigned char* from = in_place ? b.recv + me * bytes : b.send;
  g.upload(from, all[me]);
  EXPECT_NCCL(g.nccl.all_gather(from, b.recv, count, type, g.comm, g.stream));
  EXPECT_EQ(g.download(b.recv, bytes * n), gathered);

  g.upload(b.send, all[me]);
  EXPECT_NCCL(g.nccl.group_start());
  EXPECT_NCCL(g.nccl.send(b.send, count, type, right, g.comm, g.stream));
  EXPECT_NCCL(g.nccl.recv(b.recv, count, type, left, g.comm, g.stream));
  EXPECT_NCCL(g.nccl.group_end());
  EXPECT_EQ(g.download(b.recv, bytes), all[static_cast<std::size_t>(left)]);
}

class Collectives : public ::testing::TestWithParam<int> {};

TEST_P(Collectives, EqualTheReference) {
  auto options = devices(GetParam());
  options.delay_us = 3;
  Session session(options);
  run_ranks(session, GetParam(), [](GpuRank& g) {
    Buffers buffers(g);
    std::uint64_t tag = test_seed();
    for (const DType t : types) {
      SCOPED_TRACE(std::string(name_of(t)) + ", " + seed_text());
      for (int redop = 0; redop <= scaled; ++redop) reductions(g, buffers, t, redop, tag += 2);
      movements(g, buffers, t, tag += 2);
    }
  });
  expect_clean(session);
}

INSTANTIATE_TEST_SUITE_P(Ranks, Collectives, ::testing::Values(1, 2, 3, 4, 8));

}  // namespace
}  // namespace libcoll::test
