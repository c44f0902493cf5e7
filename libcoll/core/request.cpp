#include "libcoll/request.hpp"

#include <exception>

#include "libcoll/core/log.hpp"
#include "libcoll/error.hpp"
#include "libcoll/execution/queue.hpp"

namespace libcoll {

Request::Request(std::shared_ptr<exec::Queue> queue, exec::Operation* operation) noexcept : queue_(std::move(queue)), operation_(operation) {}
Request::Request(Request&& other) noexcept : queue_(std::move(other.queue_)), operation_(std::exchange(other.operation_, nullptr)) {}

Request& Request::operator=(Request&& other) noexcept {
  let_go();
  queue_ = std::move(other.queue_);
  operation_ = std::exchange(other.operation_, nullptr);
  return *this;
}

Request::~Request() { let_go(); }

void Request::let_go() noexcept {
  if (operation_ != nullptr) queue_->release(std::exchange(operation_, nullptr));
  queue_.reset();
}

namespace {
// Gives the operation back also when it threw.
struct Release {
  Request& request;
  ~Release() { request = Request(); }
};
}  // namespace

bool Request::test() {
  if (operation_ == nullptr) return true;
  try {
    if (!queue_->test(*operation_)) return false;
  } catch (...) {
    let_go();
    throw;
  }
  let_go();
  return true;
}

void Request::wait() {
  if (operation_ == nullptr) return;
  const Release release{*this};
  queue_->wait(*operation_);
}

void wait_all(std::span<Request> requests) {
  std::exception_ptr first;
  for (Request& r : requests) {
    try {
      r.wait();
    } catch (...) {
      if (first == nullptr) first = std::current_exception();
    }
  }
  if (first != nullptr) std::rethrow_exception(first);
}

bool test_all(std::span<Request> requests) {
  bool all = true;
  for (Request& r : requests) all &= r.test();
  return all;
}

std::size_t test_any(std::span<Request> requests) {
  for (std::size_t i = 0; i < requests.size(); ++i)
    if (requests[i] && requests[i].test()) return i;
  return requests.size();
}

std::size_t wait_any(std::span<Request> requests) {
  bool any = false;
  for (const Request& r : requests) any |= static_cast<bool>(r);
  if (!any) return requests.size();
  while (true) {
    const std::size_t i = test_any(requests);
    if (i != requests.size()) return i;
    exec::Queue::rest();
  }
}

Persistent::Persistent(std::shared_ptr<exec::Queue> queue, exec::Operation* operation) noexcept : queue_(std::move(queue)), operation_(operation) {}
Persistent::Persistent(Persistent&& other) noexcept : queue_(std::move(other.queue_)), operation_(std::exchange(other.operation_, nullptr)) {}

Persistent& Persistent::operator=(Persistent&& other) noexcept {
  let_go();
  queue_ = std::move(other.queue_);
  operation_ = std::exchange(other.operation_, nullptr);
  return *this;
}

Persistent::~Persistent() { let_go(); }

void Persistent::let_go() noexcept {
  if (operation_ == nullptr) return;
  const auto stage = operation_->stage.load();
  if (stage != exec::Operation::Stage::idle && stage != exec::Operation::Stage::done)
    detail::log().warn("a persistent {} was destroyed before it was done", name_of(operation_->plan.call.coll));
  queue_->release(std::exchange(operation_, nullptr));
}

void Persistent::start() {
  if (operation_ == nullptr) throw Error(Errc::closed, "libcoll: this Persistent is empty");
  const auto stage = operation_->stage.load(std::memory_order_acquire);
  if (stage != exec::Operation::Stage::idle) throw Error(Errc::invalid_argument, "libcoll: start: the last start has not been waited for");
  queue_->start(*operation_);
}

bool Persistent::test() { return operation_ == nullptr || queue_->test(*operation_); }
void Persistent::wait() {
  if (operation_ != nullptr) queue_->wait(*operation_);
}

}  // namespace libcoll
