#include "transports/nccl/nccl_ops.hpp"

namespace libcoll::nccl {

namespace {

bool has_type(DType t, int version) {
  switch (t) {
    case DType::bf16: return version >= 21000;
    case DType::f8e4m3:
    case DType::f8e5m2: return version >= 22400;
    default: return nccl_type(t).has_value();
  }
}

}  // namespace

std::optional<Type> nccl_type(DType t) noexcept {
  switch (t) {
    case DType::i8: return Type::i8;
    case DType::u8: return Type::u8;
    case DType::i32: return Type::i32;
    case DType::u32: return Type::u32;
    case DType::i64: return Type::i64;
    case DType::u64: return Type::u64;
    case DType::f16: return Type::f16;
    case DType::bf16: return Type::bf16;
    case DType::f32: return Type::f32;
    case DType::f64: return Type::f64;
    case DType::f8e4m3: return Type::f8e4m3;
    case DType::f8e5m2: return Type::f8e5m2;
    default: return std::nullopt;
  }
}

std::optional<RedOp> nccl_op(Op op) noexcept {
  switch (op) {
    case Op::sum: return RedOp::sum;
    case Op::prod: return RedOp::prod;
    case Op::min: return RedOp::min;
    case Op::max: return RedOp::max;
    case Op::avg: return RedOp::avg;
    default: return std::nullopt;
  }
}

bool supports(DType t, Op op, int version) noexcept {
  return has_type(t, version) && nccl_op(op) && is_defined(op, t) && (op != Op::avg || version >= 21000);
}

bool supports_premulsum(DType t, int version) noexcept { return has_type(t, version) && version >= 21100; }

}  // namespace libcoll::nccl
