// Fiber: runs one piece of blocking code so that it can be left at any wait and resumed later, on any
// thread. What makes the shared-memory kernels non-blocking without a second version of them: their
// waits suspend instead of spinning. Boost.Context switches stacks without a system call.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>

namespace libcoll::exec {

class Fiber {
 public:
  Fiber();
  // Work that is suspended ends now: its next suspend() throws Abandoned.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  struct Abandoned {};

  // Runs `work` until it ends or suspends. One at a time: not while busy().
  void start(std::function<void()> work);
  // Goes on with suspended work.
  void resume();
  // Ends suspended work: its suspend() throws Abandoned.
  void cancel();
  bool busy() const noexcept;
  // What the last work threw, once: rethrow it or keep it.
  std::exception_ptr take_error();

  // Inside work: back to start() or resume(). `anew`: for something that was not waited for before.
  void suspend(bool anew = true);
  // How often work was suspended anew: if that changes, work has moved.
  std::uint64_t waits() const noexcept { return waits_; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::uint64_t waits_ = 0;
};

// Runs blocking work of a group of ranks in the fiber: its waits suspend.
template <class Group, class Work>
void run_suspendable(Group& group, Fiber& fiber, Work work) {
  group.set_suspender({[](void* f, bool anew) { static_cast<Fiber*>(f)->suspend(anew); }, &fiber});
  struct Restore {
    Group& g;
    ~Restore() { g.set_suspender({}); }
  } const restore{group};
  work();
}

}  // namespace libcoll::exec
