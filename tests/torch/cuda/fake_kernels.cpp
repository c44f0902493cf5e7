// The operators of ATen that the backend and its tests call on CUDA tensors.
#include <ATen/EmptyTensor.h>
#include <ATen/ExpandUtils.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include "fake_cuda.hpp"

namespace libcoll::test::fake_cuda {

at::Tensor as_seen_by_kernels(const at::Tensor& t) {
  return at::from_blob(t.data_ptr(), t.sizes(), t.strides(), [](void*) {}, at::TensorOptions(t.scalar_type()));
}

namespace {

// In the order of the stream that is current at the allocation, also when given back.
class Allocator final : public c10::Allocator {
 public:
  static Allocator& instance() {
    static auto* a = new Allocator;
    return *a;
  }
  at::DataPtr allocate(std::size_t bytes) override {
    int device = 0;
    require(table().get_device(&device), "cudaGetDevice");
    const at::Device where(at::kCUDA, static_cast<c10::DeviceIndex>(device));
    if (bytes == 0) return {nullptr, where};
    auto block = std::make_unique<Block>(Block{nullptr, current_stream(device)});
    require(table().malloc_async(&block->data, bytes, handle_of(block->stream)), "cudaMallocAsync");
    void* data = block->data;
    return {data, block.release(), &release, where};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void*, const void*, std::size_t) const override { TORCH_CHECK(false, "not on this device"); }

 private:
  struct Block {
    void* data;
    c10::Stream stream;
  };
  static void release(void* context) {
    const std::unique_ptr<Block> block(static_cast<Block*>(context));
    const c10::DeviceGuard guard(block->stream.device());
    table().free_async(block->data, handle_of(block->stream));
  }
};

constexpr c10::DispatchKeySet keys(c10::DispatchKey::CUDA);

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  const c10::OptionalDeviceGuard guard(device && device->has_index() ? device : std::nullopt);
  return at::detail::empty_generic(size, &Allocator::instance(), keys, type.value_or(at::kFloat), format);
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> type, std::optional<at::Layout>, std::optional<at::Device> device,
                         std::optional<bool>) {
  const c10::OptionalDeviceGuard guard(device && device->has_index() ? device : std::nullopt);
  return at::detail::empty_strided_generic(size, stride, &Allocator::instance(), keys, type.value_or(at::kFloat));
}

at::Tensor& copy(at::Tensor& to, const at::Tensor& from, bool non_blocking) {
  if (to.numel() == 0) return to;
  const at::Tensor& on = to.is_cpu() ? from : to;
  // Torch keeps pinned memory until a copy has read or written it.
  const auto seen = [](const at::Tensor& t) { return t.is_cpu() ? t : as_seen_by_kernels(t); };
  launch(on, [to = seen(to), from = seen(from)] { at::Tensor(to).copy_(from); });
  if (!non_blocking && (to.is_cpu() || from.is_cpu())) synchronize(on.device().index());
  return to;
}

at::Tensor mul(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor out = at::empty(at::infer_size(a.sizes(), b.sizes()), a.options().dtype(at::result_type(a, b)));
  const auto operand = [](const at::Tensor& t) { return t.is_cpu() ? t.clone() : as_seen_by_kernels(t); };  // numbers are arguments of kernels
  launch(out, [out = as_seen_by_kernels(out), a = operand(a), b = operand(b)] { at::Tensor(out).copy_(a.mul(b)); });
  return out;
}

at::Tensor cat(const at::ITensorListRef& tensors, std::int64_t dim) {
  std::vector<at::Tensor> seen;
  std::vector<std::int64_t> sizes;
  for (const at::Tensor& t : tensors) {
    seen.push_back(as_seen_by_kernels(t));
    if (sizes.empty()) sizes = t.sizes().vec();
    else sizes[static_cast<std::size_t>(dim)] += t.size(dim);
  }
  const at::Tensor& first = *tensors.begin();
  const at::Tensor out = at::empty(sizes, first.options());
  launch(out, [out = as_seen_by_kernels(out), seen, dim] { at::Tensor(out).copy_(at::cat(seen, dim)); });
  return out;
}

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  m.impl("view", TORCH_FN(at::native::view));
  m.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  m.impl("copy_", copy);
  m.impl("mul.Tensor", mul);
  m.impl("cat", cat);
}

}  // namespace
}  // namespace libcoll::test::fake_cuda
