#include "libcoll/execution/fiber.hpp"

#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>

#include <utility>

// Sanitizers follow a stack only if they are told of the switch.
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace libcoll::exec {

namespace {
constexpr std::size_t stack_bytes = std::size_t{256} << 10;  // touched as used; user operations run here too
}  // namespace

struct Fiber::Impl {
  boost::context::fiber own;     // while it is suspended
  boost::context::fiber caller;  // while it runs
  std::function<void()> work;
  std::exception_ptr error;
  bool busy = false, quit = false, cancelled = false;
#if defined(__SANITIZE_ADDRESS__)
  void* own_fake = nullptr;
  void* caller_fake = nullptr;
  const void* own_bottom = nullptr;
  const void* caller_bottom = nullptr;
  std::size_t own_size = 0, caller_size = 0;
#endif
#if defined(__SANITIZE_THREAD__)
  void* own_tsan = nullptr;
  void* caller_tsan = nullptr;
#endif

  void enter() {
#if defined(__SANITIZE_THREAD__)
    if (own_tsan == nullptr) own_tsan = __tsan_create_fiber(0);
    caller_tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(own_tsan, 0);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&caller_fake, own_bottom, own_size);
#endif
    own = std::move(own).resume();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(caller_fake, nullptr, nullptr);
#endif
  }

  // The mirror image, on the fiber's stack. `last`: it will not come back.
  void before_leaving([[maybe_unused]] bool last) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(last ? nullptr : &own_fake, caller_bottom, caller_size);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(caller_tsan, 0);
#endif
  }
  void arrived() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(own_fake, &caller_bottom, &caller_size);
#endif
  }
  void leave() {
    before_leaving(false);
    caller = std::move(caller).resume();
    arrived();
  }

  boost::context::fiber loop(boost::context::fiber&& from) {
    caller = std::move(from);
    arrived();
    while (!quit) {
      try {
        work();
      } catch (const Abandoned&) {
      } catch (...) {
        error = std::current_exception();
      }
      work = nullptr;
      busy = cancelled = false;
      if (!quit) leave();
    }
    before_leaving(true);
    return std::move(caller);
  }
};

Fiber::Fiber() : impl_(std::make_unique<Impl>()) {
  Impl* impl = impl_.get();
  boost::context::protected_fixedsize_stack allocator(stack_bytes);
#if defined(__SANITIZE_ADDRESS__)
  boost::context::stack_context stack = allocator.allocate();
  impl->own_size = stack.size;
  impl->own_bottom = static_cast<char*>(stack.sp) - stack.size;
  impl->own = boost::context::fiber(std::allocator_arg, boost::context::preallocated(stack.sp, stack.size, stack), allocator,
                                    [impl](boost::context::fiber&& from) { return impl->loop(std::move(from)); });
#else
  impl->own = boost::context::fiber(std::allocator_arg, allocator, [impl](boost::context::fiber&& from) { return impl->loop(std::move(from)); });
#endif
}

Fiber::~Fiber() {
  impl_->quit = true;
  if (!impl_->busy) impl_->work = [] {};
  while (impl_->own) impl_->enter();
#if defined(__SANITIZE_ADDRESS__)
  // Its frames never returned; whoever gets this address range next must not inherit their red zones.
  __asan_unpoison_memory_region(impl_->own_bottom, impl_->own_size);
#endif
#if defined(__SANITIZE_THREAD__)
  if (impl_->own_tsan != nullptr) __tsan_destroy_fiber(impl_->own_tsan);
#endif
}

void Fiber::start(std::function<void()> work) {
  impl_->work = std::move(work);
  impl_->busy = true;
  impl_->enter();
}

void Fiber::resume() { impl_->enter(); }

void Fiber::cancel() {
  impl_->cancelled = impl_->busy;
  while (impl_->busy) impl_->enter();
}

bool Fiber::busy() const noexcept { return impl_->busy; }
std::exception_ptr Fiber::take_error() { return std::exchange(impl_->error, nullptr); }

void Fiber::suspend(bool anew) {
  waits_ += anew ? 1 : 0;
  const auto ends = [this] { return impl_->quit || impl_->cancelled; };
  if (ends()) throw Abandoned{};
  impl_->leave();
  if (ends()) throw Abandoned{};
}

}  // namespace libcoll::exec
