#include "lane.hpp"

#include <sched.h>

#include <algorithm>
#include <iterator>
#include <thread>
#include <utility>

#include <c10/util/Exception.h>

#include "driver.hpp"

namespace libcoll::torch_door {
namespace {

// `other`: of what is no error of libcoll.
Errc code_of(const std::exception_ptr& error, Errc other) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    return e.code();
  } catch (...) {
    return other;
  }
}

}  // namespace

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
  if (membership_.own) Driver::instance().retire(std::move(membership_.own), membership_.universe->gpu());
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
  if (work->is_streamed()) {
    wait_until_enqueued(*work);
    return;
  }
  if (wait) {
    wait_for(*work, {});
    return;
  }
  drive();  // most often it starts here and now
  if (!empty()) Driver::instance().enroll(shared_from_this());
}

bool Lane::wait_for(CollWork& work, std::chrono::milliseconds limit) {
  return wait_until([&work] { return work.isCompleted(); }, limit);
}

void Lane::wait_until_enqueued(CollWork& work) {
  if (!work.is_over_on_host()) wait_until([&work] { return work.is_over_on_host(); }, {});
}

template <class Over>
bool Lane::wait_until(const Over& over, std::chrono::milliseconds limit) {
  require_own();
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  waiters_.fetch_add(1, std::memory_order_relaxed);
  // Near cores answer in 50 ns: a few polls are cheap where each rank has a CPU of its own.
  constexpr int polls = 200;
  Pause pause(membership_.universe->crowded ? 0 : polls);
  bool done = true;
  while (!over()) {
    pause.rest(drive());
    if (limit.count() > 0 && Clock::now() - begin > limit) {
      done = over();
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
  Ended ended;
  bool progressed = false;
  {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return false;
    progressed = round(ended);
  }
  finish(ended);
  return progressed;
}

void Lane::finish(Ended& ended) {
  for (const WorkPtr& w : ended.over) {
    w->complete();
    if (w->is_on_its_way()) {
      const std::lock_guard lock(mutex_);
      on_their_way_.push_back(w);
      streaming_.fetch_add(1, std::memory_order_relaxed);
    } else {
      unfinished_.fetch_sub(1, std::memory_order_acq_rel);
    }
  }
  for (const WorkPtr& w : ended.arrived) {
    w->leave_stream();
    w->release_tensors();
    streaming_.fetch_sub(1, std::memory_order_relaxed);
    unfinished_.fetch_sub(1, std::memory_order_acq_rel);
  }
}

// Those that wait for a GPU hold up none but those behind them to the same receiver. With inbox_mutex_, as the next.
WorkPtr Lane::take_message() {
  const auto goes = [&](auto at) {
    if (!aborted_ && !(*at)->can_start()) return false;
    const std::int64_t channel = (*at)->task_.channel;
    return channel < 0 || std::none_of(message_inbox_.begin(), at, [channel](const WorkPtr& w) { return w->task_.channel == channel; });
  };
  for (auto at = message_inbox_.begin(); at != message_inbox_.end(); ++at) {
    if (!goes(at)) continue;
    WorkPtr taken = std::move(*at);
    message_inbox_.erase(at);
    return taken;
  }
  return {};
}

WorkPtr Lane::take_collective() {
  if (inbox_.empty() || running_.size() >= most_running) return {};
  const CollWork& first = *inbox_.front();
  const bool over = aborted_ || streams_failed_;
  if (first.task_.after_all && !over && (!running_.empty() || !on_their_way_.empty())) return {};
  // A call on a stream may wait for peers, which may wait for a message that has not begun.
  if (first.is_streamed() && !message_inbox_.empty()) return {};
  if (!first.can_start() && !(over && !first.is_streamed())) return {};
  WorkPtr taken = std::move(inbox_.front());
  inbox_.pop_front();
  return taken;
}

bool Lane::start_what_can(std::vector<WorkPtr>& over) {
  bool started = false;
  while (true) {
    WorkPtr next;
    {
      const std::lock_guard lock(inbox_mutex_);
      next = take_message();
      if (!next) next = take_collective();
      if (!next) return started;
    }
    next->start(comm(), {.memory = membership_.universe->has_gpus ? Memory::host : Memory::automatic});
    started = true;
    if (next->is_streamed()) membership_.universe->gpu_in_use = next->on_stream_->stream.device_index();
    if (next->is_streamed()) over.push_back(std::move(next));
    else (next->task_.message ? messages_ : running_).push_back(std::move(next));
  }
}

bool Lane::round(Ended& ended) {
  if (abort_wanted_.load(std::memory_order_acquire)) {
    const std::lock_guard lock(inbox_mutex_);
    if (abort_wanted_.exchange(false)) {
      aborted_ = true;
      comm().abort(abort_why_);
    }
  }
  const bool started = start_what_can(ended.over);
  const auto take_out = [&ended](WorkPtr& w) {
    if (!w->move_on()) return false;
    ended.over.push_back(std::move(w));
    return true;
  };
  std::erase_if(running_, take_out);
  std::erase_if(messages_, take_out);
  if (!on_their_way_.empty()) look_at_streams(ended.arrived);
  note_failures(ended.over);
  const std::uint64_t before = moves_;
  if (!running_.empty()) moves_ = running_.front()->moves();
  return started || !ended.over.empty() || !ended.arrived.empty() || moves_ != before;
}

void Lane::look_at_streams(std::vector<WorkPtr>& arrived) {
  std::exception_ptr failure;
  std::erase_if(on_their_way_, [&](WorkPtr& w) {
    try {
      if (!w->has_arrived()) return false;
    } catch (...) {  // the device has failed, and does nothing any more
      w->fail_on_stream();
      failure = std::current_exception();
    }
    arrived.push_back(std::move(w));
    return true;
  });
  if (streams_failed_) return;
  try {
    if (failure) {
      comm().abort(c10::str("a GPU of rank ", comm().rank(), " failed"));
      std::rethrow_exception(failure);
    }
    check_streams(!arrived.empty());
  } catch (...) {
    // The group is over: nothing will have a result.
    streams_failed_ = true;
    Errc none = Errc::ok;
    failure_.compare_exchange_strong(none, code_of(std::current_exception(), Errc::system));
    for (const WorkPtr& w : arrived) w->fail_on_stream();
    for (const WorkPtr& w : on_their_way_) w->fail_on_stream();
  }
}

// Streams go on behind what NCCL gave up, so that having arrived means little by itself.
void Lane::check_streams(bool any_arrived) {
  using namespace std::chrono_literals;
  const auto now = std::chrono::steady_clock::now();
  if (any_arrived) {
    last_arrival_ = now;
    comm().check_streams(false);
  }
  if (on_their_way_.empty()) return;
  const CollWork& first = *on_their_way_.front();
  const auto waited = now - std::max(first.begun_, last_arrival_);
  if (waited > first.timeout_) {
    const std::string why = c10::str(first.task_.title, " #", first.sequence_, ", enqueued and the oldest that is, did not end in ", first.timeout_.count(), " ms");
    comm().abort(why);
    throw Error(Errc::timeout, c10::str("libcoll: rank ", comm().rank(), " of ", comm().size(), ": ", why));
  }
  // Peers that have done their part may have gone, so the system is asked only where something takes long.
  if (now - last_check_ < 10ms) return;
  last_check_ = now;
  comm().check_streams(waited > 1s);
}

void Lane::note_failures(const std::vector<WorkPtr>& over) {
  for (const WorkPtr& w : over) {
    const Errc code = w->error_ ? code_of(w->error_, Errc::ok) : Errc::ok;
    const bool harmless = code == Errc::ok || code == Errc::invalid_argument || code == Errc::mismatch || code == Errc::unsupported;
    const bool goes_on = w->task_.message ? code != Errc::peer_lost && code != Errc::closed : harmless;
    Errc none = Errc::ok;
    if (!goes_on) failure_.compare_exchange_strong(none, code);
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
