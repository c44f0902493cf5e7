// Queue: the started collectives of one communicator, in program order. They begin as early as they can
// and native steps run in order; whichever is waited for, all are moved on.
// Used by the thread that owns the communicator and, while it holds operations that need moving on, by
// whoever calls Engine::progress (waits on other communicators, the progress thread).
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "libcoll/execution/engine.hpp"
#include "libcoll/execution/run.hpp"

namespace libcoll::exec {

// What blocking calls look at before anything else: `now` is `idle` while nothing that was started is under
// way, else `busy`.
struct Gate {
  const void* idle = nullptr;
  const void* busy = nullptr;
  const void* now = idle;
};

// One started collective: of a Request (from the queue's pool) or of a Persistent (started many times).
struct Operation {
  enum class Stage : std::uint8_t { idle, queued, posted, fiber, schedule, done };
  Queue& queue;
  std::atomic<Stage> stage{Stage::idle};    // idle: `error` is null
  std::uint64_t posted = 0;                 // sequence in the group
  Operation* next_free = nullptr;           // in the queue's pool
  std::uint32_t again = 0;                  // the plan's number if it is of one hop, with no arguments but two buffers
  Plan plan;                                // a copy: the cache may forget it meanwhile
  Args args;                                // tables and custom point to the copies below
  std::shared_ptr<Program> program;         // where the plan is a schedule
  std::unique_ptr<Run> run;
  std::exception_ptr error;
  CustomOp custom;
  std::vector<Count> tables[4];
  bool detached = false;                    // nobody will wait for it
  unsigned looks = 0;                       // since something last happened to it
  double watched_s = 0;                     // that these looks took, long pauses of the caller left out
  std::chrono::steady_clock::time_point last_look{};

  explicit Operation(Queue& q) : queue(q) {}
  void set(const Plan&, const Args&, int ranks);
  bool done() const { return stage.load(std::memory_order_acquire) == Stage::done; }
  // Done, or even in the pool again because nobody waited for it.
  bool over() const {
    const Stage s = stage.load(std::memory_order_acquire);
    return s == Stage::done || s == Stage::idle;
  }
};

class Queue {
 public:
  // `members`: ranks of the world, by rank of the communicator; `rank` is this one.
  // `groups`: all that native steps run in; the first is that of the members on this host.
  // `gate`: changed when the first operation starts and after the last has ended.
  Queue(Engine& engine, Gate& gate, std::vector<xport::shm::Group*> groups, std::uint64_t communicator, std::vector<int> members, int rank);
  // By its communicator: shuts it down. It goes with the last operation that somebody holds.
  struct Disown {
    void operator()(Queue* q) const { q->disown(); }
  };
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  // An operation for a Request or a Persistent, idle; `release` gives it back.
  Operation* take();
  void release(Operation&);  // one that still runs goes on without an owner

  // Starts it: never waits for a peer. It must be idle.
  void start(Operation& op) {
    if (!open_ || op.plan.post == nullptr || !group_.slot_known_free()) [[unlikely]] return start_slowly(op);
    post_alone(op);
  }
  // Takes, sets and starts one that had this plan before, if that is all there is to do; else null.
  Operation* start_again(const Plan& plan, const void* send, void* recv) {
    Operation* op = free_;
    if (!open_ || op == nullptr || op->again != plan.number || !group_.slot_known_free()) [[unlikely]] return nullptr;
    free_ = op->next_free;
    ++held_;
    op->args.send = send;
    op->args.recv = recv;
    post_alone(*op);
    return op;
  }
  // Between two rounds of a caller that looks at several operations by turns.
  static void rest();
  // Waits, and gives it back even if it throws.
  void finish(Operation& op) {
    if (alone_ != &op || engine_.busy()) [[unlikely]] return finish_slowly(op);
    // Nobody takes it before complete is done with it.
    --held_;
    op.next_free = std::exchange(free_, &op);
    complete_alone(op);
  }
  bool test(Operation&);  // moves things on; throws what the operation threw, once
  void wait(Operation& op) {
    if (alone_ == &op && !engine_.busy()) [[likely]] return complete_alone(op);
    wait_slowly(op);
  }
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
  // Moves on what it can unless another thread is doing so. True if anything happened.
  bool progress();
  // From now on nothing can start any more, and the other members are told: this rank cannot go on, for a reason that lies
  // outside of the queue.
  void break_off(const std::string& why);
  // After this rank has told the others something that it may not come back for: stays a moment, while a connection that is
  // being made for that needs its help.
  void push_out();
  // A member, never this rank, that is known to be lost or to have given up; -1: none. Asks the system only if told to.
  int find_lost(std::string& why, bool ask_system);
  // Skips the next schedule, whose arguments this rank refuses, and tells the others.
  void refuse_next();
  // See Group: a member that has refused the operation after this rank's last one, and what became of one that this rank
  // refused. Neither waits.
  int find_refusal();
  xport::shm::Group::Refusal last_refusal();
  std::uint32_t sequence() const { return sequence_; }
  // Grows whenever something that was started has moved; any thread may ask.
  std::uint64_t moves() const { return moves_.load(std::memory_order_relaxed); }

 private:
  static constexpr unsigned patience = 64;  // looks in vain before the reason is looked for
  ~Queue() = default;
  void disown();
  void finish_slowly(Operation&);
  void recycle(Operation&);
  void start_slowly(Operation&);
  void wait_slowly(Operation&);
  // The usual case: one operation of one hop that nothing precedes. Once posted it is complete for the peers:
  // nobody has to move it on, and its owner alone knows of it until something else is asked for (join).
  void post_alone(Operation& op) {
    op.posted = op.plan.post(group_, op.args, op.plan);
    op.stage.store(Operation::Stage::posted, std::memory_order_relaxed);
    alone_ = &op;
    shut();
  }
  // What it throws goes to the caller at once: the operation is over.
  void complete_alone(Operation& op) {
    alone_ = nullptr;
    open();
    op.stage.store(Operation::Stage::idle, std::memory_order_relaxed);
    op.plan.complete(group_, op.posted, op.args, op.plan);
  }
  void join();
  void open() {
    open_ = true;
    gate_.now = gate_.idle;
  }
  void shut() {
    open_ = false;
    gate_.now = gate_.busy;
  }
  bool advance();  // with the lock, or unregistered
  bool advance(Operation&, bool& natives_free);
  void begin(Operation&);
  void end(Operation&, std::exception_ptr);
  void end_rest(const std::exception_ptr&);
  void settle();
  void fail(Operation&, std::exception_ptr);
  bool heed_notices();
  bool run_native_here(Operation&);
  bool listen(const Run&);
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

  // -- Of the owner's thread alone.
  Engine& engine_;
  xport::shm::Group& group_;           // of this host
  Gate& gate_;
  bool open_ = true;                   // neither closed nor registered, and nothing is under way
  bool registered_ = false;            // with the engine: others may move it on
  bool closed_ = false, disowned_ = false;
  Operation* alone_ = nullptr;         // under way, but not pending
  int held_ = 0;                       // operations that a Request or Persistent has
  Operation* free_ = nullptr;          // with the lock while registered
  // -- With the lock while registered.
  const std::vector<xport::shm::Group*> groups_;
  const std::uint64_t communicator_;
  std::uint32_t sequence_ = 0;
  std::atomic<std::uint64_t> moves_{0};
  bool abandoned_ = false;             // the messenger was told of an operation
  std::mutex mutex_;
  std::vector<Operation*> pending_;    // in program order
  std::unique_ptr<Fiber> fiber_;
  std::string broken_;
  int culprit_ = -1;                   // of that
  std::exception_ptr untold_;          // what broke it while no operation was under way
  std::vector<int> members_;
  const int rank_;
  std::vector<std::uint32_t> skips_;    // schedules that ended badly, while earlier ones run native steps
  std::vector<xport::Notice> notices_;  // of operations that have not started here
  std::uint32_t refused_ = 0;           // the last that this rank refused, and which members have
  std::vector<char> also_refused_;
  std::vector<std::unique_ptr<Operation>> all_;
  Operation blocking_{*this};
};

}  // namespace libcoll::exec
