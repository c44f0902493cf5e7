// What collectives compute, on the buffers of all ranks: left folds in rank order, by the project's kernels.
#include <cstring>

#include "libcoll/kernels/reduce.hpp"
#include "tests/support/gpu_double/comm.hpp"

namespace libcoll::test::gpu_double {

namespace {

template <class T>
void divide(void* to, std::size_t count, int divisor) {
  T* values = static_cast<T*>(to);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<T>(values[i] / static_cast<T>(divisor));
}

// NCCL divides sums of integers, too, towards zero; the kernels know no such average.
bool divide_integers(nccl::Type type, void* to, std::size_t count, int divisor) {
  switch (type) {
    case nccl::Type::i8: divide<std::int8_t>(to, count, divisor); return true;
    case nccl::Type::u8: divide<std::uint8_t>(to, count, divisor); return true;
    case nccl::Type::i32: divide<std::int32_t>(to, count, divisor); return true;
    case nccl::Type::u32: divide<std::uint32_t>(to, count, divisor); return true;
    case nccl::Type::i64: divide<std::int64_t>(to, count, divisor); return true;
    case nccl::Type::u64: divide<std::uint64_t>(to, count, divisor); return true;
    default: return false;
  }
}

libcoll::Op op_of(int redop, bool integer) {
  switch (redop) {
    case 1: return libcoll::Op::prod;
    case 2: return libcoll::Op::max;
    case 3: return libcoll::Op::min;
    case 4: return integer ? libcoll::Op::sum : libcoll::Op::avg;
    default: return libcoll::Op::sum;
  }
}

// A rank's operand times its scalar, in the element type.
std::vector<std::byte> scaled(const gpu_double::Op& op, std::size_t count) {
  const DType t = dtype_of(op.type);
  const std::size_t width = size_of(t);
  const void* scalar = op.device_scalar ? op.device_scalar : op.scalar.data();
  std::vector<std::byte> factors(count * width), product(count * width);
  for (std::size_t i = 0; i < count; ++i) std::memcpy(factors.data() + i * width, scalar, width);
  void* dst = product.data();
  const void* srcs[] = {op.send, factors.data()};
  kernels::find_reduce(t, libcoll::Op::prod)({&dst, 1, srcs, 2, count, 1, false});
  return product;
}

struct Fold {
  const Match& match;
  std::vector<std::vector<std::byte>> products;
  std::vector<const std::byte*> operands;

  Fold(const Match& m, std::size_t count) : match(m) {
    for (const auto& op : m.ops) {
      if (op.redop == premulsum) products.push_back(scaled(op, count));
      operands.push_back(op.redop == premulsum ? products.back().data() : static_cast<const std::byte*>(op.send));
    }
  }
  void into(const std::vector<void*>& dsts, std::size_t offset_bytes, std::size_t count) const {
    if (count == 0) return;
    const int size = static_cast<int>(match.ops.size());
    const nccl::Type type = match.first.type;
    const bool integer = type <= nccl::Type::u64, avg = match.first.redop == static_cast<int>(nccl::RedOp::avg);
    std::vector<const void*> srcs;
    for (const std::byte* o : operands) srcs.push_back(o + offset_bytes);
    kernels::find_reduce(dtype_of(type), op_of(match.first.redop, integer))(
        {dsts.data(), static_cast<int>(dsts.size()), srcs.data(), size, count, size, false});
    if (integer && avg)
      for (void* d : dsts) divide_integers(type, d, count, size);
  }
};

void move(void* to, const void* from, std::size_t bytes) {
  if (bytes && to != from) std::memmove(to, from, bytes);
}

std::byte* at(void* base, std::size_t offset) { return static_cast<std::byte*>(base) + offset; }

}  // namespace

DType dtype_of(nccl::Type t) {
  constexpr DType types[] = {DType::i8, DType::u8, DType::i32, DType::u32, DType::i64, DType::u64,
                             DType::f16, DType::f32, DType::f64, DType::bf16, DType::f8e4m3, DType::f8e5m2};
  return types[static_cast<int>(t)];
}

void compute(const Match& m, int size) {
  const gpu_double::Op& first = m.first;
  const std::size_t bytes = first.count * size_of(dtype_of(first.type));
  const auto ranks = static_cast<std::size_t>(size);
  const auto root = static_cast<std::size_t>(first.root);
  if (first.operation == Operation::send || first.operation == Operation::recv) return move(m.ops[1].recv, m.ops[0].send, bytes);
  if (bytes == 0) return;
  switch (first.operation) {
    case Operation::all_reduce: {
      std::vector<void*> dsts;
      for (const auto& op : m.ops) dsts.push_back(op.recv);
      return Fold(m, first.count).into(dsts, 0, first.count);
    }
    case Operation::reduce: return Fold(m, first.count).into({m.ops[root].recv}, 0, first.count);
    case Operation::reduce_scatter: {
      const Fold fold(m, first.count * ranks);
      for (std::size_t r = 0; r < ranks; ++r) fold.into({m.ops[r].recv}, r * bytes, first.count);
      return;
    }
    case Operation::broadcast:
      for (const auto& op : m.ops) move(op.recv, m.ops[root].send, bytes);
      return;
    case Operation::all_gather:
      for (std::size_t from = 0; from < ranks; ++from)
        for (const auto& op : m.ops) move(at(op.recv, from * bytes), m.ops[from].send, bytes);
      return;
    default: return;
  }
}

}  // namespace libcoll::test::gpu_double
