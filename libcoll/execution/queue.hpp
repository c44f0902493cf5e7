// Queue: the started collectives of one communicator, in program order. They begin as early as they can
// and native steps run in order; whichever is waited for, all are moved on.
// Used by the thread that owns the communicator and, while it holds operations that need moving on, by
// whoever calls Engine::progress (waits on other communicators, the progress thread).
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "libcoll/execution/engine.hpp"
#include "libcoll/execution/run.hpp"

namespace libcoll::exec {

class Queue;

// One started collective: of a Request (from the queue's pool) or of a Persistent (started many times).
struct Operation {
  enum class Stage : std::uint8_t { idle, queued, posted, fiber, schedule, done };
  std::atomic<Stage> stage{Stage::idle};
  Plan plan;                                // a copy: the cache may forget it meanwhile
  Args args;                                // tables and custom point to the copies below
  std::shared_ptr<Program> program;         // where the plan is a schedule
  std::unique_ptr<Run> run;
  std::uint64_t posted = 0;                 // sequence in the group
  std::exception_ptr error;
  CustomOp custom;
  std::vector<Count> tables[4];
  bool detached = false;                    // nobody will wait for it
  unsigned looks = 0;                       // since something last happened to it
  double watched_s = 0;                     // that these looks took, long pauses of the caller left out
  std::chrono::steady_clock::time_point last_look{};

  void set(const Plan&, const Args&, int ranks);
  bool done() const { return stage.load(std::memory_order_acquire) == Stage::done; }
};

class Queue {
 public:
  // `members`: ranks of the world, by rank of the communicator; `rank` is this one.
  // `groups`: all that native steps run in; the first is that of the members on this host.
  Queue(Engine& engine, std::vector<xport::shm::Group*> groups, std::uint64_t communicator, std::vector<int> members, int rank);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  // An operation for a Request; `release` gives it back.
  Operation* take();
  void release(Operation*);  // one that still runs goes on without an owner

  // Starts it: never waits for a peer. It must be idle or done.
  void start(Operation&);
  // Between two rounds of a caller that looks at several operations by turns.
  static void rest();
  bool test(Operation&);  // moves things on; throws what the operation threw, once
  void wait(Operation&);
  // Blocking: start and wait.
  void run(const Plan&, const Args&);
  // The communicator goes: whatever still runs ends with an Error. Afterwards operations can only be
  // waited for and given back: neither group nor engine are looked at again.
  void shut_down();
  // Why no operation can start any more, or nothing.
  const std::string& broken();
  // Throws if so: the first time what broke it, unless an operation has thrown that already, then Errc::closed.
  void require_usable();
  // Waits for everything that was started.
  void drain();
  // Called by the owner's thread when the first operation starts and after the last has ended.
  std::function<void(bool idle)> on_change;
  // Moves on what it can unless another thread is doing so. True if anything happened.
  bool progress();
  // Skips the next schedule, whose arguments this rank refuses, and tells the others.
  void refuse_next();
  std::uint32_t sequence() const { return sequence_; }

 private:
  static constexpr unsigned patience = 64;  // looks in vain before the reason is looked for
  bool advance();  // with the lock, or unregistered
  bool advance(Operation&, bool& natives_free);
  void begin(Operation&);
  void end(Operation&, std::exception_ptr);
  void end_rest(const std::exception_ptr&);
  void settle();
  void fail(Operation&, std::exception_ptr);
  bool heed_notices();
  bool run_native_here(Operation&);
  bool concerned();
  void tell_others(std::uint32_t sequence, std::uint32_t what, int whom);
  void skip_natives();
  std::uint32_t first_live() const;
  void abandon_messages(std::uint32_t sequence);
  void break_down(int culprit, const std::string& why);
  bool look_for_lost();
  void watch(Operation&);
  double limit_s(const Operation&) const;
  void collect(Operation&);
  void wait_until_done(Operation&);
  Fiber& fiber();
  // Only other threads' progress needs the lock, and they come only while the queue is registered.
  std::unique_lock<std::mutex> lock_if_shared();

  Engine& engine_;
  const std::vector<xport::shm::Group*> groups_;
  xport::shm::Group& group_;           // of this host
  const std::uint64_t communicator_;
  std::uint32_t sequence_ = 0;
  bool abandoned_ = false;             // the messenger was told of an operation
  std::mutex mutex_;
  std::vector<Operation*> pending_;    // in program order
  bool registered_ = false;            // with the engine: others may move it on. Changed by the owner only
  std::unique_ptr<Fiber> fiber_;
  bool closed_ = false;
  std::string broken_;                 // with the lock
  std::exception_ptr untold_;          // what broke it while no operation was under way
  std::vector<int> members_;
  const int rank_;
  std::vector<std::uint32_t> skips_;    // schedules that ended badly, while earlier ones run native steps
  std::vector<xport::Notice> notices_;  // of operations that have not started here
  std::vector<std::unique_ptr<Operation>> all_;
  std::vector<Operation*> free_;
  Operation blocking_;
};

}  // namespace libcoll::exec
