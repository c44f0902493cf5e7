#include "work.hpp"

#include <algorithm>
#include <utility>

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/ivalue.h>
#include <c10/core/StreamGuard.h>
#include <c10/util/Exception.h>

#include "callbacks.hpp"
#include "lane.hpp"

namespace libcoll::torch_door {
namespace {

c10::intrusive_ptr<c10::ivalue::Future> new_future(std::vector<c10::Device> devices) {
  return c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()), std::move(devices));
}

std::exception_ptr in_words_of_torch(std::exception_ptr error) {
  try {
    try {
      std::rethrow_exception(error);
    } catch (const Error& e) {
      rethrow_for_torch(e);
    }
  } catch (...) {
    return std::current_exception();
  }
}

}  // namespace

void rethrow_for_torch(const Error& e) {
  switch (e.code()) {
    case Errc::invalid_argument:
    case Errc::mismatch: C10_THROW_ERROR(ValueError, e.what());
    case Errc::timeout: C10_THROW_ERROR(DistBackendError, c10::str(e.what(), "; Timed out waiting for it"));  // words that people search logs for
    case Errc::unsupported: C10_THROW_ERROR(NotImplementedError, e.what());
    default: C10_THROW_ERROR(DistBackendError, e.what());
  }
}

CollWork::CollWork(int rank, Task&& task, std::uint64_t sequence, std::chrono::milliseconds timeout, std::shared_ptr<Lane> lane, std::unique_ptr<OnStream> on_stream)
    : Work(rank, task.type, task.title, task.inputs), task_(std::move(task)), outputs_(std::move(task_.outputs)), sequence_(sequence),
      timeout_(timeout), lane_(std::move(lane)), on_stream_(std::move(on_stream)) {
  task_.inputs.clear();  // `issue` holds what has to live
  if (task_.ready) begun_ = std::chrono::steady_clock::now();
}

CollWork::~CollWork() = default;

bool CollWork::isCompleted() {
  const std::lock_guard lock(mutex_);
  return completed_ && !on_its_way_;
}

bool CollWork::is_over_on_host() {
  const std::lock_guard lock(mutex_);
  return completed_;
}

bool CollWork::isSuccess() const {
  const std::lock_guard lock(mutex_);
  return completed_ && !on_its_way_ && !exception_;
}

void CollWork::synchronize() {
  if (!on_stream_) return;
  lane_->wait_until_enqueued(*this);
  const c10::Stream current = current_stream(on_stream_->stream.device());
  if (current != on_stream_->stream) on_stream_->end->block(current);
  // Memory that is given back to the allocator may be used again by what comes later on the stream that it was allocated on.
  if (current == on_stream_->caller) release_tensors();
}

void CollWork::blockCurrentStream() {
  if (on_stream_) synchronize();
  else Work::blockCurrentStream();
}

bool CollWork::wait(std::chrono::milliseconds timeout) {
  const bool enqueued_is_enough = on_stream_ && timeout == kNoTimeout;
  if (enqueued_is_enough) lane_->wait_until_enqueued(*this);
  else if (!isCompleted() && !lane_->wait_for(*this, timeout))
    C10_THROW_ERROR(DistBackendError, c10::str("libcoll: rank ", rank_, ": wait for ", task_.title, " #", sequence_, " timed out after ", timeout.count(), " ms"));
  std::exception_ptr error;
  c10::intrusive_ptr<c10::ivalue::Future> future;
  {
    const std::lock_guard lock(mutex_);
    error = exception_;
    future = future_;
  }
  if (future) future->wait();  // who has it may look at its value now
  if (error) std::rethrow_exception(error);
  synchronize();
  return true;
}

int CollWork::sourceRank() const {
  const std::lock_guard lock(mutex_);
  TORCH_CHECK(completed_, "libcoll: the source of ", task_.title, " is known once it is done");
  return source_;
}

void CollWork::abort() { lane_->abort(c10::str("abort of ", task_.title, " #", sequence_)); }

float CollWork::getDuration() const {
  const std::lock_guard lock(mutex_);
  TORCH_CHECK(completed_ && !on_its_way_, "libcoll: the duration of ", task_.title, " #", sequence_, " is known once it is done");
  return std::chrono::duration<float, std::milli>(ended_ - begun_).count();
}

c10::intrusive_ptr<c10::ivalue::Future> CollWork::getFuture() {
  const std::lock_guard lock(mutex_);
  if (future_) return future_;  // complete() marks it, or has
  auto made = new_future(on_stream_ ? std::vector{on_stream_->stream.device()} : std::vector<c10::Device>{});
  if (!completed_) return future_ = made;
  if (exception_) made->setError(exception_);
  else mark(*made);             // nobody has a callback on it yet
  return made;
}

// On the operation's stream: who looks at the value, and callbacks, are behind what is there.
void CollWork::mark(c10::ivalue::Future& future) const {
  c10::OptionalStreamGuard guard;
  if (on_stream_) guard.reset_stream(on_stream_->stream);
  future.markCompleted(c10::IValue(outputs_));
}

void CollWork::note_error() noexcept {
  if (!error_) error_ = std::current_exception();
}

bool CollWork::can_start() const {
  return (!is_streamed() || on_stream_->thread == std::this_thread::get_id()) && (!task_.ready || task_.ready->query() || is_overdue());
}

bool CollWork::is_overdue() const { return std::chrono::steady_clock::now() - begun_ > timeout_; }

void CollWork::start(Comm& comm, CallOptions options) {
  const bool too_late = task_.ready && !task_.ready->query() && is_overdue();
  begun_ = std::chrono::steady_clock::now();
  options.timeout_s = static_cast<double>(timeout_.count()) / 1000;
  c10::OptionalStreamGuard guard;
  if (is_streamed()) {
    guard.reset_stream(on_stream_->stream);
    options.memory = Memory::device;
    options.stream = on_stream_->stream.native_handle();
  }
  try {
    if (too_late)
      throw Error(Errc::timeout, c10::str("libcoll: rank ", comm.rank(), " of ", comm.size(), ": ", task_.title, ": what is before it on its GPU did not end in ", timeout_.count(), " ms"));
    Starter starter(comm, requests_, options);
    task_.issue(starter);
    if (is_streamed()) conclude();
  } catch (...) {
    note_error();
  }
  if (!is_streamed()) return;
  try {
    // Also behind the first of several calls, where a later one failed: the stream still uses the tensors.
    on_stream_->end->record(on_stream_->stream);
    on_its_way_ = !on_stream_->captured;
  } catch (...) {
    note_error();
  }
}

void CollWork::conclude() {
  if (!task_.conclude) return;
  // Results are written as a kernel writes them: on any thread, whatever modes the caller's is in.
  const at::AutoDispatchBelowADInplaceOrView raw;
  task_.conclude();
}

// What they are may be tensors that the caller waits to have for itself.
void CollWork::release_tensors() {
  decltype(task_.issue) issue;
  decltype(task_.stage) stage;
  decltype(task_.conclude) conclusion;
  std::unique_lock lock(mutex_, std::defer_lock);
  if (on_stream_) lock.lock();  // a waiter and the lane may both do it
  issue.swap(task_.issue);
  stage.swap(task_.stage);
  conclusion.swap(task_.conclude);
}

template <class T>
bool CollWork::look_at(T& started) {
  try {
    return !started || started.test();
  } catch (...) {
    note_error();
    return true;
  }
}

bool CollWork::move_on() {
  bool over = true;
  for (Request& r : requests_.calls) over &= look_at(r);
  for (Message& m : requests_.messages) {
    over &= look_at(m);
    source_ = m.source();
  }
  return over;
}

std::uint64_t CollWork::moves() const {
  for (const Request& r : requests_.calls)
    if (r) return r.moves();
  return 0;
}

void CollWork::complete() {
  requests_ = {};
  if (!error_ && !is_streamed()) {
    try {
      c10::OptionalStreamGuard guard;
      if (on_stream_) guard.reset_stream(on_stream_->stream);
      conclude();
      if (on_stream_) {
        on_stream_->end->record(on_stream_->stream);
        on_its_way_ = task_.conclude != nullptr;
      }
    } catch (...) {
      note_error();
    }
  }
  if (error_) error_ = in_words_of_torch(error_);
  // On the caller's own stream, its allocator knows when memory may be used again.
  const bool aside = on_stream_ && on_stream_->stream != on_stream_->caller;
  if (!aside || !(on_its_way_ || on_stream_->captured)) release_tensors();
  ended_ = std::chrono::steady_clock::now();
  finish(error_);
  c10::intrusive_ptr<c10::ivalue::Future> future;
  {
    const std::lock_guard lock(mutex_);
    future = future_;
  }
  if (!future) return;
  Callbacks::instance().post([future, self = c10::intrusive_ptr<CollWork>::reclaim_copy(this)] {
    if (self->error_) future->setError(self->error_);
    else self->mark(*future);
  });
}

bool CollWork::has_arrived() { return on_stream_->end->query(); }

void CollWork::fail_on_stream() {
  note_error();
  leave_stream();
}

void CollWork::leave_stream() {
  const std::lock_guard lock(mutex_);
  if (!on_its_way_) return;
  if (error_ && !exception_) exception_ = in_words_of_torch(error_);
  on_its_way_ = false;
  ended_ = std::chrono::steady_clock::now();
}

BatchWork::BatchWork(int rank, std::vector<c10::intrusive_ptr<c10d::Work>> parts)
    : Work(rank, c10d::OpType::COALESCED), parts_(std::move(parts)) {}

bool BatchWork::isCompleted() {
  for (const auto& p : parts_)
    if (!p->isCompleted()) return false;
  return true;
}

bool BatchWork::isSuccess() const { return !exception() && const_cast<BatchWork*>(this)->isCompleted(); }

std::exception_ptr BatchWork::exception() const {
  for (const auto& p : parts_)
    if (auto e = p->exception()) return e;
  return nullptr;
}

std::vector<at::Tensor> BatchWork::result() {
  std::vector<at::Tensor> all;
  for (const auto& p : parts_)
    for (auto& t : p->result()) all.push_back(t);
  return all;
}

bool BatchWork::wait(std::chrono::milliseconds timeout) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + timeout;
  for (const auto& p : parts_) {
    if (timeout == kNoTimeout) p->wait();
    else p->wait(std::max(std::chrono::milliseconds(1), std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now())));
  }
  return true;
}

void BatchWork::synchronize() {
  for (const auto& p : parts_) p->synchronize();
}

void BatchWork::blockCurrentStream() {
  for (const auto& p : parts_) p->blockCurrentStream();
}

void BatchWork::abort() {
  for (const auto& p : parts_) p->abort();
}

c10::intrusive_ptr<c10::ivalue::Future> BatchWork::getFuture() {
  std::vector<c10::Device> devices;
  for (const auto& p : parts_) {
    const auto of_part = p->getFuture();
    devices.insert(devices.end(), of_part->devices().begin(), of_part->devices().end());
  }
  auto future = new_future(std::move(devices));
  if (parts_.empty()) {
    future->markCompleted(c10::IValue(std::vector<at::Tensor>{}));
    return future;
  }
  auto left = std::make_shared<std::atomic<std::size_t>>(parts_.size());
  const c10::intrusive_ptr<BatchWork> self = c10::intrusive_ptr<BatchWork>::reclaim_copy(this);
  for (const auto& p : parts_)
    p->getFuture()->addCallback([left, future, self](c10::ivalue::Future&) {
      if (left->fetch_sub(1) != 1) return;
      for (const auto& part : self->parts_)
        if (part->getFuture()->hasError()) return future->setError(part->getFuture()->exception_ptr());
      self->synchronize();
      future->markCompleted(c10::IValue(self->result()));
    });
  return future;
}

}  // namespace libcoll::torch_door
