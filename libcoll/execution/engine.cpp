#include "libcoll/execution/engine.hpp"

#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include "libcoll/execution/queue.hpp"

namespace libcoll::exec {

Engine::Engine(xport::shm::Host& host, std::unique_ptr<xport::Messenger> messenger, const Waiting& waiting)
    : host_(host), messenger_(std::move(messenger)), waiting_(waiting) {
  // Waits inside shared-memory operations look after the rest, too.
  host_.set_background({[](void* e) { static_cast<Engine*>(e)->progress(); }, this});
}

Engine::~Engine() {
  quit_.store(true);
  wake_thread();
  if (thread_.joinable()) thread_.join();
  host_.set_background({});
}

template <class T>
void Engine::enter(std::vector<T*>& list, T* one) {
  {
    const std::lock_guard lock(mutex_);
    list.push_back(one);
    active_count_.fetch_add(1, std::memory_order_relaxed);
    host_.set_background_active(true);
  }
  wake_thread();
}

template <class T>
void Engine::leave(std::vector<T*>& list, T* one) {
  const std::lock_guard lock(mutex_);
  std::erase(list, one);
  active_count_.fetch_sub(1, std::memory_order_relaxed);
  host_.set_background_active(busy());
}

void Engine::enter(Queue* q) { enter(active_, q); }
void Engine::leave(Queue* q) { leave(active_, q); }
void Engine::enter(Mover* m) { enter(movers_, m); }
void Engine::leave(Mover* m) { leave(movers_, m); }

// A queue that is being moved on by another thread is left to it; so is the whole list.
bool Engine::progress(const Queue* except) {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return false;
  bool any = messenger_ != nullptr && messenger_->progress();
  for (Queue* q : active_)
    if (q != except) any |= q->progress();
  for (Mover* m : movers_) any |= m->progress();
  return any;
}

void Engine::start_thread() {
  if (!thread_.joinable()) thread_ = std::thread([this] { thread_body(); });
}

void Engine::wake_thread() {
  bell_.fetch_add(1, std::memory_order_release);
  bell_.notify_one();
}

void Engine::thread_body() {
  while (!quit_.load()) {
    const std::uint32_t bell = bell_.load(std::memory_order_acquire);
    Idler idler(*this);
    while (busy() && !quit_.load()) idler.rest(progress(), false);
    if (!quit_.load()) bell_.wait(bell);
  }
}

double Idler::waited_s() const { return rounds_ == 0 ? 0 : std::chrono::duration<double>(Clock::now() - start_).count(); }

void Idler::rest(bool progressed, bool network_only) {
  slept_ = false;
  if (progressed) {
    rounds_ = 0;
    return;
  }
  if (rounds_++ == 0) start_ = Clock::now();
  if (rounds_ <= engine_.waiting().spins) {
    xport::shm::pause();
    return;
  }
  const xport::shm::Host::Hook hook = engine_.host().hook;
  if (hook.function) hook.function(hook.context);
  const int yields = rounds_ - engine_.waiting().spins;
  if (yields <= engine_.host().most_yields() && waited_s() * 1e6 < engine_.waiting().yield_us) {
    sched_yield();
    return;
  }
  slept_ = true;
  xport::Messenger* messenger = engine_.messenger();
  constexpr int network_ms = 10, otherwise_us = 100;
  if (network_only && messenger != nullptr && messenger->event_fd() >= 0 && hook.function == nullptr) {
    if (!messenger->arm()) return;
    pollfd p{messenger->event_fd(), POLLIN, 0};
    poll(&p, 1, network_ms);
  } else {
    usleep(otherwise_us);
  }
}

}  // namespace libcoll::exec
