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
  return f->tensor_factor.defined() ? t.mul(f->tensor_factor.to(t.device(), t.scalar_type())) : t.mul(f->double_factor).to(t.scalar_type());
}

void require_dense(const char* collective, const char* argument, const at::Tensor& t) {
  TORCH_CHECK_VALUE(t.defined(), "libcoll: ", collective, ": ", argument, " is undefined");
  TORCH_CHECK_VALUE(t.layout() == at::kStrided, "libcoll: ", collective, ": ", argument, " is ", t.layout(), "; it has to be dense");
  TORCH_CHECK_VALUE(t.device().is_cpu() || t.device().is_cuda(), "libcoll: ", collective, ": ", argument, " is on ", t.device(),
                    "; libcoll communicates CPU and CUDA tensors");
}

void require_same_device(const char* collective, const char* argument, const at::Tensor& t, const at::Tensor& first) {
  TORCH_CHECK_VALUE(t.device() == first.device(), "libcoll: ", collective, ": ", argument, " is on ", t.device(), ", and another tensor of the call on ", first.device());
}

void require_like(const char* collective, const char* argument, const at::Tensor& t, const at::Tensor& first) {
  require_same_device(collective, argument, t, first);
  TORCH_CHECK_VALUE(t.scalar_type() == first.scalar_type(), "libcoll: ", collective, ": ", argument, " is ", t.scalar_type(), ", and another tensor of the call ",
                    first.scalar_type());
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

namespace {
// A contiguous tensor into the packed bytes from `at` on (read), or out of them (write).
void copy_block(const at::Tensor& packed, Count at, const at::Tensor& t, Blocks::Use use) {
  const std::int64_t n = bytes_of(t);
  if (n == 0) return;
  if (packed.is_cpu()) {
    auto* there = static_cast<std::byte*>(packed.data_ptr()) + at;
    std::memcpy(use == Blocks::Use::read ? there : t.data_ptr(), use == Blocks::Use::read ? t.data_ptr() : there, static_cast<std::size_t>(n));
    return;
  }
  const at::AutoDispatchBelowADInplaceOrView raw;
  at::Tensor there = packed.narrow(0, at, n), here = t.view({-1}).view(at::kByte);
  if (use == Blocks::Use::read) there.copy_(here);
  else here.copy_(there);
}
}  // namespace

std::int64_t Blocks::bytes() const {
  std::int64_t sum = 0;
  for (const Count c : counts) sum += c;
  return sum;
}

void Blocks::pack(Use use) {
  if (adjacent) return;
  packed_ = at::empty({bytes()}, tensors[0].options().dtype(at::kByte));
  base = static_cast<std::byte*>(packed_.data_ptr());
  Count at = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    displs[i] = at;
    if (use == Use::read) copy_block(packed_, at, tensors[i], use);
    at += counts[i];
  }
  adjacent = true;
}

void Blocks::spread(const std::vector<at::Tensor>& to) const {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (packed_.defined()) copy_block(packed_, displs[i], tensors[i], Use::write);
    if (!tensors[i].is_same(to[i])) {
      at::Tensor target = to[i];
      target.copy_(tensors[i]);
    }
  }
}

}  // namespace libcoll::torch_door
