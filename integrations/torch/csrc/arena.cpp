#include "arena.hpp"

#include <atomic>
#include <mutex>
#include <utility>

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

#include "driver.hpp"
#include "lane.hpp"

namespace libcoll::torch_door {
namespace {

void free_buffer(void* context) {
  auto* buffer = static_cast<Buffer*>(context);
  // A child of fork does not give back what is its parent's.
  if (!Driver::in_child_of_fork()) delete buffer;
}

// Null if there is no room.
at::DataPtr allocate(Lane& lane, std::size_t bytes) {
  try {
    auto buffer = std::make_unique<Buffer>(lane.with_comm([bytes](Comm& c) { return c.allocate(bytes); }));
    void* data = buffer->data();
    return {data, buffer.release(), &free_buffer, at::Device(at::kCPU)};
  } catch (const Error&) {
    return {};
  }
}

class ArenaAllocator final : public c10::Allocator {
 public:
  at::DataPtr allocate(std::size_t bytes) override {
    if (bytes >= at_least_.load(std::memory_order_relaxed)) {
      std::shared_ptr<Lane> lane;
      {
        const std::lock_guard lock(mutex_);
        lane = lane_;
      }
      if (lane && !lane->closed() && !Driver::in_child_of_fork())
        if (at::DataPtr p = torch_door::allocate(*lane, bytes)) return p;
    }
    return before_->allocate(bytes);
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }
  void serve(std::shared_ptr<Lane> lane, std::size_t at_least) {
    const std::lock_guard lock(mutex_);
    if (before_ == nullptr) {
      before_ = c10::GetCPUAllocator();
      constexpr std::uint8_t above_all = 255;
      c10::SetCPUAllocator(this, above_all);
    }
    at_least_.store(lane ? at_least : ~std::size_t{0});
    lane_ = std::move(lane);
  }

 private:
  c10::Allocator* before_ = nullptr;
  std::atomic<std::size_t> at_least_{~std::size_t{0}};
  std::mutex mutex_;
  std::shared_ptr<Lane> lane_;
};

}  // namespace

at::Tensor arena_tensor(Lane& lane, at::IntArrayRef sizes, const at::TensorOptions& options) {
  const auto elements = c10::multiply_integers(sizes);
  const std::size_t bytes = static_cast<std::size_t>(elements) * options.dtype().itemsize();
  if (bytes == 0) return at::empty(sizes, options);
  at::DataPtr data = allocate(lane, bytes);
  TORCH_CHECK(data, "libcoll: there is no room for ", bytes, " bytes in the arena (LIBCOLL_ARENA_BYTES)");
  void* at = data.get();
  auto holder = std::make_shared<at::DataPtr>(std::move(data));
  return at::from_blob(at, sizes, [holder](void*) mutable { holder.reset(); }, options.requires_grad(std::nullopt)).set_requires_grad(options.requires_grad());
}

void serve_allocations(std::shared_ptr<Lane> lane, std::size_t at_least) {
  static auto* allocator = new ArenaAllocator;
  allocator->serve(std::move(lane), at_least);
}

}  // namespace libcoll::torch_door
