// Callbacks: threads that mark futures, and so run what users chained to them. What moves operations on never does: a callback may
// wait for another future, as DDP's PowerSGD hook does, and somebody has to bring that about meanwhile.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>

namespace libcoll::torch_door {

class Callbacks {
 public:
  static Callbacks& instance();  // never destroyed
  // Runs it soon, in the order of the posts as long as no callback waits: there is always a thread that is not inside of one.
  void post(std::function<void()> job);
  // From now on post() runs jobs itself. Waits, for a while, for those that were posted.
  void stop();

 private:
  void body();

  std::mutex mutex_;
  std::condition_variable work_, over_;
  std::deque<std::function<void()>> jobs_;
  std::size_t idle_ = 0, threads_ = 0;
  bool quit_ = false;
};

}  // namespace libcoll::torch_door
