#include "types.hpp"

#include <algorithm>
#include <cstring>
#include <functional>

#include <c10/util/Exception.h>

namespace libcoll::torch_door {
namespace {

bool find_type(at::ScalarType t, DType& type) {
  switch (t) {
    case at::kByte: type = DType::u8; return true;
    case at::kChar: type = DType::i8; return true;
    case at::kShort: type = DType::i16; return true;
    case at::kInt: type = DType::i32; return true;
    case at::kLong: type = DType::i64; return true;
    case at::kUInt16: type = DType::u16; return true;
    case at::kUInt32: type = DType::u32; return true;
    case at::kUInt64: type = DType::u64; return true;
    case at::kHalf: type = DType::f16; return true;
    case at::kBFloat16: type = DType::bf16; return true;
    case at::kFloat: type = DType::f32; return true;
    case at::kDouble: type = DType::f64; return true;
    case at::kFloat8_e4m3fn: type = DType::f8e4m3; return true;
    case at::kFloat8_e5m2: type = DType::f8e5m2; return true;
    case at::kComplexFloat: type = DType::c64; return true;
    case at::kComplexDouble: type = DType::c128; return true;
    case at::kBool: type = DType::boolean; return true;
    default: return false;
  }
}

const char* name_of(c10d::ReduceOp::RedOpType op) {
  static constexpr const char* names[] = {"SUM", "AVG", "PRODUCT", "MIN", "MAX", "BAND", "BOR", "BXOR", "PREMUL_SUM", "UNUSED"};
  return names[std::min<std::size_t>(op, std::size(names) - 1)];
}

Op operation_of(c10d::ReduceOp::RedOpType op, bool on_booleans) {
  using R = c10d::ReduceOp;
  switch (op) {
    // As NCCL has it, and torch on booleans: a sum is "any", a product "all".
    case R::SUM:
    case R::PREMUL_SUM: return on_booleans ? Op::lor : Op::sum;
    case R::MAX: return on_booleans ? Op::lor : Op::max;
    case R::PRODUCT: return on_booleans ? Op::land : Op::prod;
    case R::MIN: return on_booleans ? Op::land : Op::min;
    case R::AVG: return Op::avg;
    case R::BAND: return Op::band;
    case R::BOR: return Op::bor;
    case R::BXOR: return Op::bxor;
    default: return Op::custom;
  }
}

}  // namespace

Reduction Reduction::of(const char* collective, const c10d::ReduceOp& op, at::ScalarType t) {
  Reduction r;
  const bool known = find_type(t, r.type);
  r.op = operation_of(op.op_, t == at::kBool);
  const bool defined = known && r.op != Op::custom && is_defined(r.op, r.type) && !(op.op_ == c10d::ReduceOp::PREMUL_SUM && t == at::kBool);
  TORCH_CHECK_VALUE(defined, "libcoll: ", collective, ": ReduceOp.", name_of(op.op_), " is not defined on ", c10::toString(t));
  if (op.op_ == c10d::ReduceOp::PREMUL_SUM) {
    TORCH_CHECK_VALUE(op.supplement_, "libcoll: ", collective, ": PREMUL_SUM has no factor");
    r.factor = op.supplement_;
  }
  return r;
}

at::Tensor Reduction::scaled(const at::Tensor& t) const {
  if (!factor) return t;
  const at::AutoDispatchBelowADInplaceOrView raw;
  const auto* f = static_cast<const c10d::PreMulSumSupplement*>(factor.get());
  return f->tensor_factor.defined() ? t.mul(f->tensor_factor.to(t.scalar_type())) : t.mul(f->double_factor).to(t.scalar_type());
}

void require_dense_cpu(const char* collective, const char* argument, const at::Tensor& t) {
  TORCH_CHECK_VALUE(t.defined(), "libcoll: ", collective, ": ", argument, " is undefined");
  TORCH_CHECK_VALUE(t.layout() == at::kStrided, "libcoll: ", collective, ": ", argument, " is ", t.layout(), "; it has to be dense");
  TORCH_CHECK_VALUE(t.device().is_cpu(), "libcoll: ", collective, ": ", argument, " is on ", t.device(), "; this group communicates CPU tensors");
}

at::Tensor flat(const at::Tensor& t) {
  const at::AutoDispatchBelowADInplaceOrView raw;
  return t.resolve_conj().resolve_neg().contiguous();
}

std::function<void()> copy_back(const at::Tensor& flat, const at::Tensor& wanted) {
  if (flat.is_same(wanted)) return {};
  return [flat, target = wanted]() mutable { target.copy_(flat); };
}

at::Tensor apart_from(const at::Tensor& source, const void* target, std::int64_t bytes, const void* own) {
  const auto* from = static_cast<const std::byte*>(source.data_ptr());
  const auto* to = static_cast<const std::byte*>(target);
  const std::less<const std::byte*> before;
  const bool overlap = before(from, to + bytes) && before(to, from + bytes_of(source));
  return overlap && from != own ? source.clone() : source;
}

std::int64_t Blocks::span() const {
  std::int64_t end = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) end = std::max(end, counts[i] == 0 ? 0 : displs[i] + counts[i]);
  return end;
}

at::Tensor flat_target(const at::Tensor& t) {
  return t.is_contiguous() && !t.is_conj() && !t.is_neg() ? t : at::empty(t.sizes(), t.options().memory_format(at::MemoryFormat::Contiguous));
}

Blocks Blocks::of(const std::vector<at::Tensor>& tensors, Use use) {
  Blocks b;
  for (const at::Tensor& t : tensors) b.tensors.push_back(use == Use::read ? flat(t) : flat_target(t));
  const std::less<const std::byte*> before;
  for (const at::Tensor& t : b.tensors) {
    auto* p = static_cast<std::byte*>(t.data_ptr());
    if (bytes_of(t) != 0 && (b.base == nullptr || before(p, b.base))) b.base = p;
  }
  const std::byte* end = b.base;
  for (const at::Tensor& t : b.tensors) {
    const auto* p = static_cast<const std::byte*>(t.data_ptr());
    b.counts.push_back(bytes_of(t));
    // Differences of addresses of unrelated objects: as integers.
    b.displs.push_back(bytes_of(t) == 0 ? 0 : static_cast<Count>(reinterpret_cast<std::uintptr_t>(p) - reinterpret_cast<std::uintptr_t>(b.base)));
    b.even &= b.counts.back() == b.counts.front();
    if (bytes_of(t) == 0) continue;
    b.adjacent &= p == end;
    end = p + bytes_of(t);
  }
  return b;
}

std::int64_t Blocks::bytes() const {
  std::int64_t sum = 0;
  for (const Count c : counts) sum += c;
  return sum;
}

void Blocks::pack(Use use) {
  if (adjacent) return;
  packed_ = at::empty({bytes()}, at::kByte);
  base = static_cast<std::byte*>(packed_.data_ptr());
  Count at = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    displs[i] = at;
    if (use == Use::read && counts[i] != 0) std::memcpy(base + at, tensors[i].data_ptr(), static_cast<std::size_t>(counts[i]));
    at += counts[i];
  }
  adjacent = true;
}

void Blocks::spread(const std::vector<at::Tensor>& to) const {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (packed_.defined() && counts[i] != 0) std::memcpy(tensors[i].data_ptr(), base + displs[i], static_cast<std::size_t>(counts[i]));
    if (!tensors[i].is_same(to[i])) {
      at::Tensor target = to[i];
      target.copy_(tensors[i]);
    }
  }
}

}  // namespace libcoll::torch_door
