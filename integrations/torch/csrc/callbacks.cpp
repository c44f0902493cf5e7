#include "callbacks.hpp"

#include <pthread.h>

#include <chrono>
#include <exception>
#include <thread>
#include <utility>

#include <c10/util/Logging.h>

namespace libcoll::torch_door {
namespace {

using namespace std::chrono_literals;
constexpr auto patience = 2s;  // of an idle thread, and of stop() with one that does not come back

void run(const std::function<void()>& job) {
  try {
    job();
  } catch (const std::exception& e) {
    LOG(ERROR) << "libcoll: a callback of a future threw: " << e.what();
  }
}

}  // namespace

Callbacks& Callbacks::instance() {
  static auto* callbacks = new Callbacks;
  return *callbacks;
}

void Callbacks::post(std::function<void()> job) {
  std::unique_lock lock(mutex_);
  if (quit_) {
    lock.unlock();
    return run(job);
  }
  jobs_.push_back(std::move(job));
  if (idle_ >= jobs_.size()) {
    work_.notify_one();
  } else {
    ++threads_;
    std::thread([this] { body(); }).detach();
  }
}

void Callbacks::body() {
  pthread_setname_np(pthread_self(), "libcoll_done");
  std::unique_lock lock(mutex_);
  while (true) {
    if (jobs_.empty()) {
      ++idle_;
      const bool more = work_.wait_for(lock, patience, [this] { return !jobs_.empty() || quit_; });
      --idle_;
      if (!more || (quit_ && jobs_.empty())) break;
      continue;
    }
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    run(job);
    job = nullptr;
    lock.lock();
  }
  --threads_;
  over_.notify_all();
}

void Callbacks::stop() {
  std::unique_lock lock(mutex_);
  quit_ = true;
  work_.notify_all();
  over_.wait_for(lock, patience, [this] { return threads_ == 0; });
}

}  // namespace libcoll::torch_door
