#include "libcoll/execution/queue.hpp"

#include <fmt/format.h>

#include <sched.h>

#include <algorithm>

#include "libcoll/error.hpp"

namespace libcoll::exec {

using Stage = Operation::Stage;

void Operation::set(const Plan& p, const Args& a, int ranks) {
  plan = p;
  args = a;
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
  program = p.program != nullptr ? p.program->shared_from_this() : nullptr;
}

Queue::Queue(Engine& engine, xport::shm::Group& group, std::uint64_t communicator, std::vector<int> members, int rank)
    : engine_(engine), group_(group), communicator_(communicator), members_(std::move(members)), rank_(rank) {
  on_change = [](bool) {};
}

Queue::~Queue() { shut_down(); }

void Queue::shut_down() {
  if (std::exchange(closed_, true)) return;
  on_change = [](bool) {};
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
  if (free_.empty()) {
    all_.push_back(std::make_unique<Operation>());
    free_.push_back(all_.back().get());
  }
  Operation* op = free_.back();
  free_.pop_back();
  op->detached = false;
  op->stage.store(Stage::idle, std::memory_order_relaxed);  // done, if nobody waited for it
  return op;
}

void Queue::release(Operation* op) {
  const auto lock = lock_if_shared();
  const Stage stage = op->stage.load(std::memory_order_acquire);
  if (stage == Stage::done || stage == Stage::idle) free_.push_back(op);
  else op->detached = true;
}

Fiber& Queue::fiber() {
  if (!fiber_) fiber_ = std::make_unique<Fiber>();
  return *fiber_;
}

const std::string& Queue::broken() {
  if (closed_) return broken_;
  const auto lock = lock_if_shared();
  return group_.broken() ? group_.broken_reason() : broken_;
}

void Queue::start(Operation& op) {
  if (closed_) throw Error(Errc::closed, "libcoll: the communicator was closed");
  if (const std::string& why = broken(); !why.empty()) throw Error(Errc::closed, fmt::format("libcoll: the communicator is broken since: {}", why));
  op.error = nullptr;
  op.looks = 0;
  // An operation of one hop that nothing precedes is complete for the peers once it is posted: nobody
  // has to move it on, and no lock is needed until the owner asks for it.
  const bool alone = !registered_ && pending_.empty();
  if (alone && op.plan.post != nullptr && group_.has_free_slot()) {
    op.posted = op.plan.post(group_, op.args, op.plan);
    op.stage.store(Stage::posted, std::memory_order_relaxed);
    pending_.push_back(&op);
    return on_change(false);
  }
  {
    const std::lock_guard lock(mutex_);
    if (op.program != nullptr) begin(op);
    else op.stage.store(Stage::queued, std::memory_order_relaxed);
    pending_.push_back(&op);
    advance();
  }
  if (registered_) return;
  on_change(false);
  registered_ = true;
  engine_.enter(this);
}

void Queue::begin(Operation& op) {
  if (op.program->idle.empty()) {
    op.run = std::make_unique<Run>(op.program);
  } else {
    op.run = std::move(op.program->idle.back());
    op.program->idle.pop_back();
  }
  op.run->start(op.args, communicator_, ++sequence_);
  op.stage.store(Stage::schedule, std::memory_order_relaxed);
}

void Queue::end(Operation& op, std::exception_ptr error) {
  if (op.run && error != nullptr) {
    if (op.run->native_running()) fiber_->cancel();
    op.run->cancel(engine_.messenger());
    op.run.reset();
  } else if (op.run) {
    op.program->idle.push_back(std::move(op.run));
  }
  op.error = std::move(error);
  if (op.detached) free_.push_back(&op);
  op.stage.store(Stage::done, std::memory_order_release);
}

// What was started before a peer was lost ends with the same error; later calls are refused.
void Queue::end_rest(const std::exception_ptr& error) {
  for (Operation* op : pending_)
    if (!op->done()) end(*op, error);
}

namespace {
constexpr unsigned patience = 64;  // looks in vain before the reason is looked for
}

// `natives_free`: no operation before this one has native steps left; so for those behind it afterwards.
bool Queue::advance(Operation& op, bool& natives_free) {
  try {
    switch (op.stage.load(std::memory_order_relaxed)) {
      case Stage::queued:
        if (!natives_free) return false;
        if (op.plan.post != nullptr && group_.has_free_slot()) {
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
        const bool any = op.run->advance(engine_.messenger(), fiber(), natives_free);
        if (any) op.looks = 0;
        natives_free = natives_free && !op.run->natives_left();
        if (op.run->finished()) end(op, nullptr);
        return any;
      }
      default: return false;
    }
    natives_free = false;
    if (fiber_->busy()) return false;
    const std::exception_ptr error = fiber_->take_error();
    end(op, error);
    if (error != nullptr && group_.broken()) end_rest(error);
    natives_free = true;
  } catch (...) {
    fail(op, std::current_exception());
  }
  return true;
}

namespace {
// What a notice says in its upper bits; below them a rank.
constexpr std::uint32_t gave_up = 1u << 30, lost = 2u << 30, rank_bits = (1u << 30) - 1;
}  // namespace

void Queue::tell_others(std::uint32_t sequence, std::uint32_t word) {
  if (engine_.messenger() == nullptr) return;
  for (std::size_t r = 0; r < members_.size(); ++r)
    if (static_cast<int>(r) != rank_) engine_.messenger()->notify(members_[r], {communicator_, sequence, word, -1});
}

void Queue::refuse_next() {
  ++sequence_;
  tell_others(sequence_, gave_up | static_cast<std::uint32_t>(rank_));
}

void Queue::break_down(int culprit, const std::string& why) {
  if (!broken_.empty()) return;
  broken_ = why;
  group_.break_off(culprit, why);
}

// An operation that ended badly here has ended for all: nobody must wait for this rank's part in it.
void Queue::fail(Operation& op, std::exception_ptr error) {
  if (op.program != nullptr && op.run != nullptr) {
    const std::uint32_t sequence = op.run->sequence();
    try {
      std::rethrow_exception(error);
    } catch (const Error& e) {
      if (e.code() == Errc::mismatch) {
        tell_others(sequence, gave_up | static_cast<std::uint32_t>(rank_));
      } else {
        tell_others(sequence, lost | static_cast<std::uint32_t>(std::max(0, e.peer())));
        break_down(std::max(0, e.peer()), e.what());
      }
    } catch (...) {
      tell_others(sequence, gave_up | static_cast<std::uint32_t>(rank_));  // a user's operation threw
    }
  }
  end(op, error);
  if (!broken_.empty()) end_rest(error);
}

bool Queue::heed_notices() {
  xport::Messenger* messenger = engine_.messenger();
  if (messenger == nullptr) return false;
  for (xport::Notice n; messenger->take_notice(communicator_, n);) notices_.push_back(n);
  bool any = false;
  for (const xport::Notice& n : notices_) {
    const auto whom = static_cast<int>(n.word & rank_bits);
    const bool broke = (n.word & ~rank_bits) == lost;
    for (Operation* op : pending_) {
      if (op->run == nullptr || op->done() || (!broke && op->run->sequence() != n.sequence)) continue;
      any = true;
      if (broke) break_down(whom, fmt::format("{}: rank {} was lost (another rank says)", op->run->describe(), whom));
      end(*op, std::make_exception_ptr(broke ? Error(Errc::peer_lost, broken_, whom)
                                             : Error(Errc::mismatch, fmt::format("{}: rank {} gave it up: its arguments are invalid or differ from others'", op->run->describe(), whom), whom)));
    }
    if (broke) break_down(whom, fmt::format("libcoll: rank {} of {}: rank {} was lost (another rank says)", rank_, members_.size(), whom));
  }
  std::erase_if(notices_, [&](const xport::Notice& n) { return static_cast<std::int32_t>(n.sequence - sequence_) <= 0; });
  return any;
}

// A lost peer may be one that this rank would only have waited for through others.
bool Queue::look_for_lost() {
  if (engine_.messenger() == nullptr) return false;
  std::string why;
  const int peer = engine_.messenger()->lost_peer(&why);
  const auto at = std::find(members_.begin(), members_.end(), peer);
  if (peer < 0 || at == members_.end()) return false;
  const auto r = static_cast<int>(at - members_.begin());
  for (Operation* op : pending_)
    if (op->run != nullptr && !op->done()) fail(*op, std::make_exception_ptr(Error(Errc::peer_lost, fmt::format("{}: lost rank {}: {}", op->run->describe(), r, why), r)));
  return true;
}

bool Queue::advance() {
  bool any = heed_notices(), natives_free = true;
  for (Operation* op : pending_) any |= advance(*op, natives_free);
  std::erase_if(pending_, [](const Operation* op) { return op->done(); });
  return any;
}

bool Queue::progress() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  return lock && advance();
}

// By the owner: nobody else has to look after an empty queue.
void Queue::settle() {
  if (closed_) return;
  {
    const auto lock = lock_if_shared();
    advance();
    if (!pending_.empty()) return;
  }
  if (registered_) engine_.leave(this);
  registered_ = false;
  on_change(true);
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

// Of a schedule that its owner only tests: a peer may be lost or late here, too. (Native steps watch for themselves.)
void Queue::watch(Operation& op) {
  const auto lock = lock_if_shared();
  if (op.run == nullptr || op.done() || ++op.looks % patience != 0 || look_for_lost()) return;
  constexpr double longest_pause_s = 0.1;
  const auto now = std::chrono::steady_clock::now();
  op.watched_s = op.looks == patience ? 0 : op.watched_s + std::min(longest_pause_s, std::chrono::duration<double>(now - op.last_look).count());
  op.last_look = now;
  if (op.watched_s > limit_s(op)) fail(op, std::make_exception_ptr(Error(Errc::timeout, op.run->stuck(limit_s(op)), op.run->first_missing())));
}

bool Queue::test(Operation& op) {
  if (op.stage.load(std::memory_order_acquire) == Stage::idle) return true;
  if (!op.done()) engine_.progress(this);
  settle();
  if (!op.done()) {
    watch(op);
    if (engine_.host().oversubscribed()) rest();  // the peer may need this CPU
  }
  if (!op.done()) return false;
  collect(op);
  return true;
}

void Queue::rest() { sched_yield(); }

void Queue::wait(Operation& op) {
  const Stage stage = op.stage.load(std::memory_order_acquire);
  if (stage == Stage::idle) return;
  // The usual case: one operation of one hop, and nothing else in the world to look after.
  if (stage == Stage::posted && !registered_ && !engine_.busy()) {
    pending_.clear();
    try {
      op.plan.complete(group_, op.posted, op.args, op.plan);
    } catch (...) {
      op.error = std::current_exception();
    }
    on_change(true);
    return collect(op);
  }
  if (!op.done()) wait_until_done(op);
  settle();
  collect(op);
}

void Queue::wait_until_done(Operation& op) {
  Idler idler(engine_);
  unsigned idle_rounds = 0;
  while (!op.done()) {
    bool any = engine_.progress(this), network_only = false;
    const auto lock = lock_if_shared();
    any |= advance();
    if (op.done()) return;
    if (!any && ++idle_rounds % 256 == 0 && look_for_lost()) continue;
    if (op.run && idler.waited_s() > limit_s(op)) fail(op, std::make_exception_ptr(Error(Errc::timeout, op.run->stuck(limit_s(op)), op.run->first_missing())));
    network_only = std::all_of(pending_.begin(), pending_.end(), [](const Operation* p) {
      return p->stage.load(std::memory_order_relaxed) == Stage::schedule && p->run->waits_for_network_only();
    });
    if (lock) mutex_.unlock();
    idler.rest(any, network_only);
    if (lock) mutex_.lock();
  }
}

void Queue::run(const Plan& plan, const Args& args) {
  blocking_.set(plan, args, plan.program->schedule.size);
  start(blocking_);
  wait(blocking_);
}

void Queue::drain() {
  while (true) {
    Operation* last = nullptr;
    {
      const auto lock = lock_if_shared();
      if (!pending_.empty()) last = pending_.back();
    }
    if (last == nullptr) break;
    wait_until_done(*last);
  }
  settle();
}

}  // namespace libcoll::exec
