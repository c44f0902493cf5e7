#include "lane.hpp"

#include <sched.h>

#include <algorithm>
#include <iterator>
#include <thread>
#include <utility>

#include <c10/util/Exception.h>

#include "driver.hpp"

namespace libcoll::torch_door {

void Pause::rest(bool progressed) {
  constexpr auto yielding = std::chrono::milliseconds(2);
  constexpr auto shortest = std::chrono::microseconds(20);
  constexpr int longest = 20;  // times the shortest
  if (progressed) {
    rounds_ = 0;
    naps_ = 0;
    return;
  }
  if (rounds_ < polls_) {
    ++rounds_;
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  if (rounds_ == polls_) since_ = now, ++rounds_;
  if (now - since_ < yielding) {
    sched_yield();
    return;
  }
  naps_ = std::min(naps_ + 1, longest);
  std::this_thread::sleep_for(shortest * naps_);
}

Lane::Lane(Membership m) : membership_(std::move(m)) {
  Driver::instance();  // from now on a child of fork is known for one
}

Lane::~Lane() {
  if (membership_.own) Driver::instance().retire(std::move(membership_.own));
}

void Lane::require_own() {
  if (Driver::in_child_of_fork())
    C10_THROW_ERROR(DistBackendError, "libcoll: this process was forked from one that uses libcoll, and has no groups: start workers with spawn");
}

void Lane::submit(const WorkPtr& work, bool wait) {
  require_own();
  if (closed()) C10_THROW_ERROR(DistBackendError, c10::str("libcoll: ", work->task_.title, ": this group was shut down"));
  unfinished_.fetch_add(1, std::memory_order_acq_rel);
  {
    const std::lock_guard lock(inbox_mutex_);
    (work->task_.message ? message_inbox_ : inbox_).push_back(work);
  }
  if (wait) {
    wait_for(*work, {});
    return;
  }
  drive();  // most often it starts here and now
  if (!empty()) Driver::instance().enroll(shared_from_this());
}

bool Lane::wait_for(CollWork& work, std::chrono::milliseconds limit) {
  require_own();
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  waiters_.fetch_add(1, std::memory_order_relaxed);
  // Near cores answer in 50 ns: a few polls are cheap where each rank has a CPU of its own.
  constexpr int polls = 200;
  Pause pause(membership_.universe->crowded ? 0 : polls);
  bool done = true;
  while (!work.isCompleted()) {
    pause.rest(drive());
    if (limit.count() > 0 && Clock::now() - begin > limit) {
      done = work.isCompleted();
      break;
    }
  }
  waiters_.fetch_sub(1, std::memory_order_relaxed);
  if (!empty()) {
    if (enrolled.load(std::memory_order_relaxed)) Driver::instance().ring();
    else Driver::instance().enroll(shared_from_this());
  }
  return done;
}

bool Lane::drive() {
  std::vector<WorkPtr> over;
  bool progressed = false;
  {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return false;
    progressed = round(over);
  }
  finish(over);
  return progressed;
}

void Lane::finish(std::vector<WorkPtr>& over) {
  for (const WorkPtr& w : over) {
    w->complete();
    unfinished_.fetch_sub(1, std::memory_order_acq_rel);
  }
}

bool Lane::start_what_can() {
  bool started = false;
  while (true) {
    WorkPtr next;
    {
      const std::lock_guard lock(inbox_mutex_);
      const bool message = !message_inbox_.empty();
      if (!message && (running_.size() >= most_running || inbox_.empty() || (inbox_.front()->task_.after_all && !running_.empty()))) return started;
      auto& from = message ? message_inbox_ : inbox_;
      next = std::move(from.front());
      from.pop_front();
    }
    next->start(comm());
    (next->task_.message ? messages_ : running_).push_back(std::move(next));
    started = true;
  }
}

bool Lane::round(std::vector<WorkPtr>& over) {
  if (abort_wanted_.load(std::memory_order_acquire)) {
    const std::lock_guard lock(inbox_mutex_);
    if (abort_wanted_.exchange(false)) comm().abort(abort_why_);
  }
  const bool started = start_what_can();
  const auto take_out = [&over](WorkPtr& w) {
    if (!w->move_on()) return false;
    over.push_back(std::move(w));
    return true;
  };
  std::erase_if(running_, take_out);
  std::erase_if(messages_, take_out);
  note_failures(over);
  const std::uint64_t before = moves_;
  if (!running_.empty()) moves_ = running_.front()->moves();
  return started || !over.empty() || moves_ != before;
}

void Lane::note_failures(const std::vector<WorkPtr>& over) {
  for (const WorkPtr& w : over) {
    if (!w->error_) continue;
    try {
      std::rethrow_exception(w->error_);
    } catch (const Error& e) {
      const bool harmless = e.code() == Errc::invalid_argument || e.code() == Errc::mismatch || e.code() == Errc::unsupported;
      const bool goes_on = w->task_.message ? e.code() != Errc::peer_lost && e.code() != Errc::closed : harmless;
      Errc none = Errc::ok;
      if (!goes_on) failure_.compare_exchange_strong(none, e.code());
    } catch (...) {
    }
  }
}

void Lane::abort(const std::string& why) {
  require_own();
  {
    const std::lock_guard lock(inbox_mutex_);
    abort_why_ = why;
    abort_wanted_.store(true, std::memory_order_release);
  }
  // Rounds of other threads are short.
  while (abort_wanted_.load(std::memory_order_acquire))
    if (!drive()) sched_yield();
  if (!empty()) Driver::instance().enroll(shared_from_this());
}

}  // namespace libcoll::torch_door
