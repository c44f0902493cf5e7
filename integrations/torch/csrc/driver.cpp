#include "driver.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iterator>
#include <utility>

#include <c10/util/Logging.h>

#include "callbacks.hpp"
#include "lane.hpp"
#include "on_stream.hpp"

namespace libcoll::torch_door {
namespace {
std::atomic<bool> forked{false};
using namespace std::chrono_literals;
constexpr auto shortest_look = 1ms, longest_look = 1000ms;  // at communicators that others have not left yet
}  // namespace

Driver& Driver::instance() {
  static auto* driver = new Driver;
  return *driver;
}

Driver::Driver() { pthread_atfork(nullptr, nullptr, [] { forked.store(true); }); }

bool Driver::in_child_of_fork() { return forked.load(std::memory_order_relaxed); }

void Driver::enroll(const std::shared_ptr<Lane>& lane) {
  if (in_child_of_fork() || lane->enrolled.exchange(true)) return;
  const std::lock_guard lock(mutex_);
  if (quit_) return;
  lanes_.push_back(lane);
  if (!std::exchange(running_, true)) thread_ = std::thread([this] { body(); });
  bell_.notify_one();
}

void Driver::retire(Comm&& comm, std::optional<c10::Device> device) {
  const bool inherited = in_child_of_fork();  // its mutex may be locked for ever
  std::unique_lock lock(mutex_, std::defer_lock);
  if (!inherited) lock.lock();
  // At the very end, or in a child: the process goes, and its memory with it.
  if (inherited || quit_) {
    new Comm(std::move(comm));
    return;
  }
  retired_.push_back({std::move(comm), device});
  if (!std::exchange(running_, true)) thread_ = std::thread([this] { body(); });
  bell_.notify_one();
}

void Driver::ring() {
  const std::lock_guard lock(mutex_);
  bell_.notify_one();
}

std::size_t Driver::retired() {
  const std::lock_guard lock(mutex_);
  return retired_.size() + closing_;
}

void Driver::stop() {
  if (in_child_of_fork()) return;
  std::unique_lock lock(mutex_);
  quit_ = true;
  bell_.notify_one();
  lock.unlock();
  if (thread_.joinable()) thread_.join();
  Callbacks::instance().stop();
}

// Without the lock meanwhile: it waits for no rank, but with a GPU for that.
bool Driver::close_retired(std::unique_lock<std::mutex>& lock) {
  std::vector<Retired> closing = std::exchange(retired_, {});
  closing_ = closing.size();
  lock.unlock();
  bool any = false;
  std::erase_if(closing, [&any](Retired& r) {
    bool gone = true;
    try {
      on_device(r.device, [&] { gone = r.comm.try_close(); });
    } catch (const std::exception& e) {
      LOG(WARNING) << "libcoll: a group did not close in order: " << e.what();
    }
    any |= gone;
    return gone;
  });
  lock.lock();
  closing_ = 0;
  std::move(closing.begin(), closing.end(), std::back_inserter(retired_));
  return any;
}

void Driver::body() {
  pthread_setname_np(pthread_self(), "libcoll_torch");
  Pause pause(0);
  auto look = std::chrono::milliseconds(shortest_look);
  std::vector<std::shared_ptr<Lane>> now;
  std::unique_lock lock(mutex_);
  while (!quit_) {
    if (!retired_.empty()) look = close_retired(lock) ? shortest_look : std::min<std::chrono::milliseconds>(2 * look, longest_look);
    if (lanes_.empty()) {
      pause = Pause(0);
      if (retired_.empty()) bell_.wait(lock);
      else bell_.wait_for(lock, look);
      continue;
    }
    now = lanes_;
    lock.unlock();
    bool progressed = false, all_waited_for = true;
    for (const auto& lane : now) {
      if (lane->has_waiters()) continue;  // they move it on, and ring when they leave
      all_waited_for = false;
      // What arrives in streams was not waited for here; looking for the next need not be quick.
      const bool only_streams = lane->has_only_streams();
      progressed |= lane->drive() && !only_streams;
    }
    if (!all_waited_for) pause.rest(progressed);
    lock.lock();
    if (all_waited_for && !quit_) bell_.wait_for(lock, 1ms);
    std::erase_if(lanes_, [&now](std::shared_ptr<Lane>& lane) {
      if (!lane->empty()) return false;
      lane->enrolled.store(false);
      // Something may have come in between, and not have enrolled it.
      if (!lane->empty() && !lane->enrolled.exchange(true)) return false;
      now.push_back(std::move(lane));
      return true;
    });
    lock.unlock();
    now.clear();  // may be the last to hold a lane, which then comes to retire()
    lock.lock();
  }
}

}  // namespace libcoll::torch_door
