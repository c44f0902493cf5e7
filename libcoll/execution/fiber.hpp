// Fiber: runs one piece of blocking code so that it can be left at any wait and resumed later, on any
// thread. What makes the shared-memory kernels non-blocking without a second version of them: their
// waits suspend instead of spinning. Boost.Context switches stacks without a system call.
#pragma once

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
  bool busy() const noexcept;
  // What the last work threw, once: rethrow it or keep it.
  std::exception_ptr take_error();

  // Inside work: back to start() or resume().
  void suspend();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Runs blocking work of a group of ranks in the fiber: its waits suspend.
template <class Group, class Work>
void run_suspendable(Group& group, Fiber& fiber, Work work) {
  group.set_suspender({[](void* f) { static_cast<Fiber*>(f)->suspend(); }, &fiber});
  struct Restore {
    Group& g;
    ~Restore() { g.set_suspender({}); }
  } const restore{group};
  work();
}

}  // namespace libcoll::exec
