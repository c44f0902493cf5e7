#include "arena.hpp"

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <c10/util/safe_numerics.h>

#include "driver.hpp"
#include "lane.hpp"

namespace libcoll::torch_door {
namespace {

void free_buffer(void* context) {
  auto* buffer = static_cast<Buffer*>(context);
  // A child of fork does not give back what is its parent's.
  if (!Driver::in_child_of_fork()) delete buffer;
}

// Throws libcoll's Error, for lack of room too.
std::unique_ptr<Buffer> allocate(Lane& lane, std::size_t bytes) {
  return std::make_unique<Buffer>(lane.with_comm([bytes](Comm& c) { return c.allocate(bytes); }));
}

// Kernels of torch allocate and free scratch memory by its address alone (raw_allocate: gelu's). So all that comes from here has one
// deleter, which finds out by the address whose it is: what lies outside of all buffers served so far, without a lock.
class ArenaAllocator final : public c10::Allocator {
 public:
  static ArenaAllocator& instance() {
    static auto* allocator = new ArenaAllocator;
    return *allocator;
  }

  at::DataPtr allocate(std::size_t bytes) override {
    if (bytes >= at_least_.load(std::memory_order_relaxed) && !Driver::in_child_of_fork())
      if (void* data = from_arena(bytes)) return {data, data, &release, at::Device(at::kCPU)};
    at::DataPtr p = before_->allocate(bytes);
    if (raw_deleter() == nullptr) return p;
    void* data = p.release_context();
    return {data, data, &release, at::Device(at::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return by_address_ ? &release : nullptr; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }

  void serve(std::shared_ptr<Lane> lane, std::size_t at_least) {
    const std::lock_guard lock(mutex_);  // released before the lane given up, which `lane` then holds
    if (before_ == nullptr) {
      if (lane == nullptr) return;
      before_ = c10::GetCPUAllocator();
      by_address_ = before_->raw_deleter() != nullptr;
      // A child of fork frees what it inherited: no other thread may be at the table then.
      pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); }, [] { instance().mutex_.unlock(); });
      constexpr std::uint8_t above_all = 255;
      c10::SetCPUAllocator(this, above_all);
    }
    at_least_.store(lane ? at_least : ~std::size_t{0});
    lane_.swap(lane);
  }

 private:
  void* from_arena(std::size_t bytes) {
    std::shared_ptr<Lane> lane;
    {
      const std::lock_guard lock(mutex_);
      lane = lane_;
    }
    if (!lane || !by_address_) return nullptr;
    if (lane->closed()) {
      serve(nullptr, 0);  // the group may go
      return nullptr;
    }
    std::unique_ptr<Buffer> buffer;
    try {
      buffer = torch_door::allocate(*lane, bytes);
    } catch (const Error&) {
      return nullptr;
    }
    const auto data = reinterpret_cast<std::uintptr_t>(buffer->data());
    const std::lock_guard lock(mutex_);
    if (data < lowest_.load(std::memory_order_relaxed)) lowest_.store(data, std::memory_order_relaxed);
    if (data > highest_.load(std::memory_order_relaxed)) highest_.store(data, std::memory_order_relaxed);
    return served_.emplace(data, std::move(buffer)).first->second->data();
  }

  // Whoever frees has the address from whoever allocated, and with it, that the bounds hold it.
  static void release(void* data) {
    ArenaAllocator& self = instance();
    const auto address = reinterpret_cast<std::uintptr_t>(data);
    if (address >= self.lowest_.load(std::memory_order_relaxed) && address <= self.highest_.load(std::memory_order_relaxed)) {
      std::unique_lock lock(self.mutex_);
      if (auto found = self.served_.extract(address)) {
        lock.unlock();
        free_buffer(found.mapped().release());
        return;
      }
    }
    self.before_->raw_deallocate(data);
  }

  c10::Allocator* before_ = nullptr;
  bool by_address_ = false;  // as the allocator before can do it, too; else it serves everything
  std::atomic<std::size_t> at_least_{~std::size_t{0}};
  std::atomic<std::uintptr_t> lowest_{~std::uintptr_t{0}}, highest_{0};
  std::mutex mutex_;  // of these
  std::shared_ptr<Lane> lane_;
  std::unordered_map<std::uintptr_t, std::unique_ptr<Buffer>> served_;
};

}  // namespace

at::Tensor arena_tensor(Lane& lane, at::IntArrayRef sizes, const at::TensorOptions& options) {
  std::uint64_t bytes = options.dtype().itemsize();
  for (const std::int64_t n : sizes) {
    TORCH_CHECK_VALUE(n >= 0, "libcoll: empty: a size is ", n);
    TORCH_CHECK_VALUE(!c10::mul_overflows(bytes, static_cast<std::uint64_t>(n), &bytes), "libcoll: empty: sizes ", sizes, " are too large");
  }
  if (bytes == 0) return at::empty(sizes, options);
  Buffer* buffer = nullptr;
  try {
    buffer = allocate(lane, bytes).release();
  } catch (const Error& e) {
    rethrow_for_torch(e);
  }
  return at::from_blob(buffer->data(), sizes, [buffer](void*) { free_buffer(buffer); }, options.requires_grad(std::nullopt)).set_requires_grad(options.requires_grad());
}

void serve_allocations(std::shared_ptr<Lane> lane, std::size_t at_least) {
  ArenaAllocator::instance().serve(std::move(lane), at_least);
}

}  // namespace libcoll::torch_door
