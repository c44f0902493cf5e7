#include "libcoll/execution/queue.hpp"

#include <fmt/format.h>

#include <sched.h>

#include <algorithm>

#include "libcoll/error.hpp"

namespace libcoll::exec {

using Stage = Operation::Stage;

void Operation::set(const Plan& p, const Args& a, int ranks) {
  if (p.number != plan.number) {
    plan = p;
    program = p.program != nullptr ? p.program->shared_from_this() : nullptr;
  }
  args = a;
  const bool plain = a.custom == nullptr && a.timeout_s == 0 && a.send_counts == nullptr && a.recv_counts == nullptr;
  again = plain && p.post != nullptr ? p.number : 0;
  if (a.custom != nullptr) {
    custom = *a.custom;
    args.custom = &custom;
  }
  const Count** from[] = {&args.send_counts, &args.send_displs, &args.recv_counts, &args.recv_displs};
  for (std::size_t i = 0; i < 4; ++i) {
    if (*from[i] == nullptr) continue;
    tables[i].assign(*from[i], *from[i] + ranks);
    *from[i] = tables[i].data();
  }
}

Queue::Queue(Engine& engine, Gate& gate, std::vector<xport::shm::Group*> groups, std::uint64_t communicator, std::vector<int> members, int rank)
    : engine_(engine), group_(*groups.front()), gate_(gate), groups_(std::move(groups)), communicator_(communicator), members_(std::move(members)), rank_(rank) {}

void Queue::disown() {
  shut_down();
  disowned_ = true;
  if (held_ == 0) delete this;
}

void Queue::shut_down() {
  if (std::exchange(closed_, true)) return;
  join();
  shut();
  if (registered_) engine_.leave(this);
  registered_ = false;
  for (Operation* op : pending_) {
    if (op->run) op->run->cancel(engine_.messenger());
    op->error = std::make_exception_ptr(Error(Errc::closed, "libcoll: the communicator was closed before the operation ended"));
    op->stage.store(Stage::done, std::memory_order_release);
  }
  pending_.clear();
  fiber_.reset();  // its work ends now
  for (const auto& op : all_) op->run.reset(), op->program.reset();
  blocking_.run.reset(), blocking_.program.reset();
}

std::unique_lock<std::mutex> Queue::lock_if_shared() {
  return registered_ ? std::unique_lock(mutex_) : std::unique_lock(mutex_, std::defer_lock);
}

Operation* Queue::take() {
  const auto lock = lock_if_shared();
  if (free_ == nullptr) free_ = all_.emplace_back(std::make_unique<Operation>(*this)).get();
  ++held_;
  return std::exchange(free_, free_->next_free);
}

void Queue::release(Operation& op) {
  --held_;
  if (disowned_) {
    if (held_ == 0) delete this;
    return;
  }
  const auto lock = lock_if_shared();
  if (op.over()) recycle(op);
  else op.detached = true;
}

void Queue::recycle(Operation& op) {
  op.detached = false;
  op.error = nullptr;
  op.stage.store(Stage::idle, std::memory_order_relaxed);
  op.next_free = std::exchange(free_, &op);
}

// Others look at what is pending.
void Queue::join() {
  if (alone_ == nullptr) return;
  alone_->looks = 0;
  pending_.push_back(std::exchange(alone_, nullptr));
}

Fiber& Queue::fiber() {
  if (!fiber_) fiber_ = std::make_unique<Fiber>();
  return *fiber_;
}

void Queue::start_slowly(Operation& op) {
  if (closed_) throw Error(Errc::closed, "libcoll: the communicator was closed");
  require_usable();
  if (open_ && op.plan.post != nullptr && group_.slot_free()) return post_alone(op);
  join();
  op.looks = 0;
  {
    const std::lock_guard lock(mutex_);
    if (op.program != nullptr) begin(op);
    else op.stage.store(Stage::queued, std::memory_order_relaxed);
    pending_.push_back(&op);
    advance();
  }
  if (registered_) return;
  shut();
  registered_ = true;
  engine_.enter(this);
}

void Queue::begin(Operation& op) {
  if (op.program->idle.empty()) {
    op.run = std::make_unique<Run>(*op.program);
  } else {
    op.run = std::move(op.program->idle.back());
    op.program->idle.pop_back();
  }
  // What the messenger knows of operations long ago would come true again once their numbers wrap around.
  if (abandoned_ && sequence_ % (1u << 20) == 0) abandon_messages(first_live() - 1);
  op.run->start(op.args, communicator_, ++sequence_);
  op.stage.store(Stage::schedule, std::memory_order_relaxed);
}

void Queue::end(Operation& op, std::exception_ptr error) {
  if (op.run && error != nullptr) {
    skips_.push_back(op.run->sequence());
    if (op.run->native_running()) fiber_->cancel();
    const std::uint32_t sequence = op.run->sequence();
    op.run->cancel(engine_.messenger());
    op.run.reset();
    abandon_messages(sequence);
  } else if (op.run) {
    op.program->idle.push_back(std::move(op.run));
  }
  op.error = std::move(error);
  op.stage.store(Stage::done, std::memory_order_release);
}

// A round of the waiting loop takes longer than a poll: while only a message can move the call on, several in a row.
bool Queue::listen(const Run& run) {
  // Where ranks share the CPU it also goes to one that can do nothing but wait for this rank, and comes back: that takes
  // longer than a message does.
  const bool shared = engine_.host().oversubscribed();
  const int most = shared ? 32 : 16;
  // Not so before the first native step: then the others have given nothing yet, and can do nothing but wait for this rank.
  const bool patient = run.waits_for_network_only() && !run.native_ready() && !(shared && run.natives_begun() && group_.cpu_is_wanted());
  for (int polls = patient ? most : 1; polls > 0; --polls)
    if (engine_.messenger()->progress()) return true;
  return false;
}

// `natives_free`: no operation before this one has native steps left; so for those behind it afterwards.
bool Queue::advance(Operation& op, bool& natives_free) {
  const std::uint64_t waits = fiber_ ? fiber_->waits() : 0;
  try {
    switch (op.stage.load(std::memory_order_relaxed)) {
      case Stage::queued:
        if (!natives_free) return false;
        if (op.plan.post != nullptr && group_.slot_free()) {
          op.posted = op.plan.post(group_, op.args, op.plan);
          op.stage.store(Stage::posted, std::memory_order_relaxed);
          natives_free = false;
          return true;
        }
        op.stage.store(Stage::fiber, std::memory_order_relaxed);
        fiber().start([this, &op] { run_suspendable(group_, *fiber_, [&] { op.plan.run(group_, op.args, op.plan); }); });
        break;
      case Stage::posted:
        natives_free = false;
        // In the fiber: it waits after all if a peer called something else. And after so many looks in vain:
        // waiting properly finds out who died or is late.
        if (!xport::shm::can_complete(group_, op.posted, op.plan) && ++op.looks < patience) return false;
        op.stage.store(Stage::fiber, std::memory_order_relaxed);
        fiber().start([this, &op] { run_suspendable(group_, *fiber_, [&] { op.plan.complete(group_, op.posted, op.args, op.plan); }); });
        break;
      case Stage::fiber:
        fiber_->resume();
        break;
      case Stage::schedule: {
        // A blocking call that is alone looks after the messenger only while it waits for it or listens, and
        // else runs its native steps on its own stack (wait_until_done).
        const bool alone = &op == &blocking_ && !engine_.busy();
        const bool listens = op.run->has_transfers() || (op.run->native_running() && engine_.messenger() != nullptr);
        bool any = alone && listens && !op.run->can_go_on() && listen(*op.run);
        any |= op.run->advance(engine_.messenger(), natives_free && (!alone || !op.run->may_block()) ? &fiber() : nullptr);
        if (any) op.looks = 0;
        natives_free = natives_free && !op.run->natives_left();
        if (op.run->finished()) end(op, nullptr);
        return any;
      }
      default: return false;
    }
    natives_free = false;
    if (fiber_->busy()) return fiber_->waits() != waits;
    const std::exception_ptr error = fiber_->take_error();
    end(op, error);
    if (error != nullptr && group_.broken()) end_rest(error);
    natives_free = true;
  } catch (...) {
    fail(op, std::current_exception());
  }
  return true;
}

bool Queue::advance() {
  bool any = heed_notices(), natives_free = true;
  for (Operation* op : pending_) any |= advance(*op, natives_free);
  std::erase_if(pending_, [this](Operation* op) {
    const bool done = op->done();
    if (done && op->detached) recycle(*op);
    return done;
  });
  if (!skips_.empty()) skip_natives();
  if (any) moves_.fetch_add(1, std::memory_order_relaxed);
  return any;
}

bool Queue::progress() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  return lock && advance();
}

// By the owner: nobody else has to look after an empty queue.
void Queue::settle() {
  if (closed_) return;
  join();
  {
    const auto lock = lock_if_shared();
    advance();
    if (!pending_.empty()) return;
  }
  if (registered_) engine_.leave(this);
  registered_ = false;
  open();
}

// What the operation threw goes to whoever asked for it, once. With the lock: another thread that has just
// ended it must have taken it off the list before it looks idle.
void Queue::collect(Operation& op) {
  {
    const auto lock = lock_if_shared();
    op.stage.store(Stage::idle, std::memory_order_relaxed);
  }
  if (op.error != nullptr) std::rethrow_exception(std::exchange(op.error, nullptr));
}

double Queue::limit_s(const Operation& op) const { return op.args.timeout_s > 0 ? op.args.timeout_s : engine_.waiting().timeout_s; }

bool Queue::test(Operation& op) {
  if (op.stage.load(std::memory_order_acquire) == Stage::idle) return true;
  if (!op.done()) engine_.progress(this);
  settle();
  if (!op.done()) {
    watch(op);
    if (op.done()) settle();  // no longer pending
    else if (engine_.host().oversubscribed()) rest();  // the peer may need this CPU
  }
  if (!op.done()) return false;
  collect(op);
  return true;
}

void Queue::rest() { sched_yield(); }

void Queue::wait_slowly(Operation& op) {
  const Stage stage = op.stage.load(std::memory_order_acquire);
  if (stage == Stage::idle) return;
  join();
  if (stage == Stage::posted && !registered_ && !engine_.busy()) {  // it was alone, and tested
    pending_.clear();
    return complete_alone(op);
  }
  if (!op.done()) wait_until_done(op);
  settle();
  collect(op);
}

void Queue::finish_slowly(Operation& op) {
  const struct Holder {
    Operation& op;
    ~Holder() { op.queue.release(op); }
  } holder{op};
  wait(op);
}

// Runs the next native step of a blocking call that has nothing else to do. While it waits, it listens.
bool Queue::run_native_here(Operation& op) {
  struct Interrupted {};
  const xport::shm::Group::Hook listen{[](void* q) {
                                         auto& self = *static_cast<Queue*>(q);
                                         if (self.engine_.messenger() == nullptr) return;
                                         self.engine_.messenger()->progress();
                                         if (self.concerned()) throw Interrupted{};
                                       },
                                       this};
  try {
    return op.run->run_native_blocking(listen);
  } catch (const Interrupted&) {
    heed_notices();
  } catch (...) {
    fail(op, std::current_exception());
  }
  return true;
}

void Queue::wait_until_done(Operation& op) {
  Idler idler(engine_);
  unsigned idle_rounds = 0;
  while (!op.over()) {
    const auto lock = lock_if_shared();
    bool any = advance(), network_only = false;
    if (op.over()) return;
    if (&op != &blocking_ || engine_.busy()) any |= engine_.progress(this);
    else any |= run_native_here(op);
    if (op.over()) return;
    if (!any && (++idle_rounds % 64 == 0 || idler.slept())) {
      if (look_for_lost()) continue;
      // Waits inside native steps have the same limit, and know for whom they wait.
      if (op.run && op.run->first_missing() >= 0 && idler.waited_s() > limit_s(op))
        fail(op, std::make_exception_ptr(Error(Errc::timeout, op.run->stuck(limit_s(op)), op.run->first_missing())));
    }
    network_only = std::all_of(pending_.begin(), pending_.end(), [](const Operation* p) {
      return p->stage.load(std::memory_order_relaxed) == Stage::schedule && p->run->waits_for_network_only();
    });
    if (lock) mutex_.unlock();
    idler.rest(any, network_only);
    if (lock) mutex_.lock();
  }
}

// The caller has nothing else under way, here or anywhere: nobody else needs to look at this operation, and
// its native steps may wait in their own way (they sleep on a futex where the fiber could only poll).
void Queue::run(const Plan& plan, const Args& args) {
  require_usable();
  Operation& op = blocking_;
  op.set(plan, args, plan.program->schedule.size);
  op.error = nullptr;
  begin(op);
  pending_.push_back(&op);
  try {
    wait_until_done(op);
  } catch (...) {
    fail(op, std::current_exception());
  }
  pending_.clear();
  collect(op);
}

void Queue::drain() {
  join();
  while (true) {
    Operation* last = nullptr;
    {
      const auto lock = lock_if_shared();
      advance();
      if (!pending_.empty()) last = pending_.back();
    }
    if (last == nullptr) break;
    wait_until_done(*last);
  }
  settle();
}

}  // namespace libcoll::exec
