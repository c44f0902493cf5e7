#include "work.hpp"

#include <algorithm>
#include <utility>

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/ivalue.h>
#include <c10/util/Exception.h>

#include "callbacks.hpp"
#include "lane.hpp"

namespace libcoll::torch_door {
namespace {

c10::intrusive_ptr<c10::ivalue::Future> new_future() {
  return c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()));
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

CollWork::CollWork(int rank, Task&& task, std::uint64_t sequence, std::chrono::milliseconds timeout, std::shared_ptr<Lane> lane)
    : Work(rank, task.type, task.title, task.inputs), task_(std::move(task)), outputs_(std::move(task_.outputs)), sequence_(sequence),
      timeout_(timeout), lane_(std::move(lane)) {
  task_.inputs.clear();  // `issue` holds what has to live
}

CollWork::~CollWork() = default;

bool CollWork::isCompleted() {
  const std::lock_guard lock(mutex_);
  return completed_;
}

bool CollWork::isSuccess() const {
  const std::lock_guard lock(mutex_);
  return completed_ && !exception_;
}

bool CollWork::wait(std::chrono::milliseconds timeout) {
  if (!isCompleted() && !lane_->wait_for(*this, timeout))
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
  TORCH_CHECK(completed_, "libcoll: the duration of ", task_.title, " #", sequence_, " is known once it is done");
  return std::chrono::duration<float, std::milli>(ended_ - begun_).count();
}

c10::intrusive_ptr<c10::ivalue::Future> CollWork::getFuture() {
  const std::lock_guard lock(mutex_);
  if (future_) return future_;  // complete() marks it, or has
  if (!completed_) return future_ = new_future();
  auto late = new_future();     // nobody has a callback on it yet
  if (exception_) late->setError(exception_);
  else late->markCompleted(c10::IValue(outputs_));
  return late;
}

void CollWork::note_error() noexcept {
  if (!error_) error_ = std::current_exception();
}

void CollWork::start(Comm& comm) {
  begun_ = std::chrono::steady_clock::now();
  try {
    task_.issue(comm, requests_, {.timeout_s = static_cast<double>(timeout_.count()) / 1000});
  } catch (...) {
    note_error();
  }
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
  if (!error_ && task_.conclude) {
    try {
      // Results are written as a kernel writes them: on any thread, whatever modes the caller's is in.
      const at::AutoDispatchBelowADInplaceOrView raw;
      task_.conclude();
    } catch (...) {
      note_error();
    }
  }
  if (error_) {  // in torch's words
    try {
      try {
        std::rethrow_exception(error_);
      } catch (const Error& e) {
        rethrow_for_torch(e);
      }
    } catch (...) {
      error_ = std::current_exception();
    }
  }
  // What it holds may be tensors that the caller waits to have for itself.
  task_.issue = nullptr;
  task_.conclude = nullptr;
  ended_ = std::chrono::steady_clock::now();
  finish(error_);
  c10::intrusive_ptr<c10::ivalue::Future> future;
  {
    const std::lock_guard lock(mutex_);
    future = future_;
  }
  if (!future) return;
  Callbacks::instance().post([future, error = error_, outputs = outputs_] {
    if (error) future->setError(error);
    else future->markCompleted(c10::IValue(outputs));
  });
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

void BatchWork::abort() {
  for (const auto& p : parts_) p->abort();
}

c10::intrusive_ptr<c10::ivalue::Future> BatchWork::getFuture() {
  auto future = new_future();
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
      future->markCompleted(c10::IValue(self->result()));
    });
  return future;
}

}  // namespace libcoll::torch_door
