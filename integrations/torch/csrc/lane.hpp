// Lane: the operations of one group, collectives in the order of their submission, and its communicator.
// Whoever waits moves the lane on; while nobody does, the driver's thread. Locks are held for one round, never while
// user code (callbacks of futures) runs.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "universe.hpp"
#include "work.hpp"

namespace libcoll::torch_door {

using WorkPtr = c10::intrusive_ptr<CollWork>;

class Lane : public std::enable_shared_from_this<Lane> {
 public:
  explicit Lane(Membership);
  ~Lane();  // hands the communicator to the driver

  // Takes the operation; collectives begin in this order, messages at once. With `wait` returns when it is over. One that is work of
  // a stream is enqueued when this returns, by this thread.
  void submit(const WorkPtr&, bool wait);
  // False after `limit` (0: none).
  bool wait_for(CollWork&, std::chrono::milliseconds limit);
  // Of work on a stream: until all of it is in the stream.
  void wait_until_enqueued(CollWork&);
  // One round, unless another thread is at it. True if anything happened.
  bool drive();
  // Nothing is left to do but to see what streams have done.
  bool has_only_streams() const { return unfinished() == streaming_.load(std::memory_order_relaxed); }
  bool has_waiters() const { return waiters_.load(std::memory_order_relaxed) != 0; }
  bool empty() const { return unfinished_.load(std::memory_order_acquire) == 0; }
  std::size_t unfinished() const { return unfinished_.load(std::memory_order_acquire); }
  void abort(const std::string& why);
  // Nothing is taken any more; what was taken goes on.
  void close() { closed_.store(true); }
  bool closed() const { return closed_.load(); }
  // What broke it: the first operation that ended with anything but an error of its arguments.
  Errc failure() const { return failure_.load(); }
  // Runs f(Comm&) with the lane held: nobody else uses the communicator.
  template <class F>
  auto with_comm(F&& f) {
    require_own();
    const std::lock_guard lock(mutex_);
    return f(comm());
  }
  // Throws in a child of fork: everything here is its parent's.
  static void require_own();
  std::atomic<bool> enrolled{false};  // the driver has it in its list

 private:
  friend class CollWork;
  static constexpr std::size_t most_running = 32;  // started at once; the rest of a long row waits here
  Comm& comm() { return membership_.own ? membership_.own : membership_.universe->comm; }
  // What a round has ended: on the host, and on streams.
  struct Ended {
    std::vector<WorkPtr> over, arrived;
  };
  bool round(Ended&);
  bool start_what_can(std::vector<WorkPtr>& over);
  WorkPtr take_message();
  WorkPtr take_collective();
  void look_at_streams(std::vector<WorkPtr>& arrived);
  void check_streams(bool any_arrived);
  void note_failures(const std::vector<WorkPtr>& over);
  void finish(Ended&);
  template <class Over>
  bool wait_until(const Over& over, std::chrono::milliseconds limit);

  Membership membership_;
  std::atomic<std::size_t> unfinished_{0};
  std::atomic<std::size_t> streaming_{0};  // of those, on their way in streams
  std::atomic<int> waiters_{0};
  std::atomic<bool> closed_{false};
  std::atomic<bool> abort_wanted_{false};
  std::atomic<Errc> failure_{Errc::ok};
  std::mutex inbox_mutex_;          // of these, after mutex_
  std::deque<WorkPtr> inbox_, message_inbox_;
  std::string abort_why_;
  std::mutex mutex_;                // of the communicator and these
  std::deque<WorkPtr> running_, messages_;
  std::deque<WorkPtr> on_their_way_;  // in streams
  bool streams_failed_ = false, aborted_ = false;
  std::chrono::steady_clock::time_point last_arrival_{}, last_check_{};
  std::uint64_t moves_ = 0;         // of those that run, as of the last round
};

// How a loop in which nothing happens passes its time: polls, yields, then sleeps a little longer each time.
class Pause {
 public:
  explicit Pause(int polls) : polls_(polls) {}
  void rest(bool progressed);

 private:
  int polls_, rounds_ = 0, naps_ = 0;
  std::chrono::steady_clock::time_point since_{};
};

}  // namespace libcoll::torch_door
