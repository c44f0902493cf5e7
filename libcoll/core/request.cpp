#include "libcoll/request.hpp"

#include <exception>

#include "libcoll/core/log.hpp"
#include "libcoll/error.hpp"
#include "libcoll/execution/queue.hpp"

namespace libcoll {

void Request::let_go() noexcept {
  exec::Operation& op = *std::exchange(operation_, nullptr);
  op.queue.release(op);
}

bool Request::test() {
  if (operation_ == nullptr) return true;
  try {
    if (!operation_->queue.test(*operation_)) return false;
  } catch (...) {
    let_go();
    throw;
  }
  let_go();
  return true;
}

std::uint64_t Request::moves() const noexcept { return operation_ == nullptr ? 0 : operation_->queue.moves(); }

void Request::wait() {
  if (operation_ == nullptr) return;
  exec::Operation& op = *std::exchange(operation_, nullptr);
  op.queue.finish(op);
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

void Persistent::let_go() noexcept {
  const auto stage = operation_->stage.load();
  if (stage != exec::Operation::Stage::idle && stage != exec::Operation::Stage::done)
    detail::log().warn("a persistent {} was destroyed before it was done", name_of(operation_->plan.call.coll));
  exec::Operation& op = *std::exchange(operation_, nullptr);
  op.queue.release(op);
}

namespace {
[[noreturn, gnu::cold, gnu::noinline]] void cannot_start(const exec::Operation* op) {
  if (op == nullptr) throw Error(Errc::closed, "libcoll: this Persistent is empty");
  throw Error(Errc::invalid_argument, "libcoll: start: the last start has not been waited for");
}
}  // namespace

void Persistent::start() {
  if (operation_ == nullptr || operation_->stage.load(std::memory_order_relaxed) != exec::Operation::Stage::idle) [[unlikely]] cannot_start(operation_);
  operation_->queue.start(*operation_);
}

bool Persistent::test() { return operation_ == nullptr || operation_->queue.test(*operation_); }
void Persistent::wait() {
  if (operation_ != nullptr) operation_->queue.wait(*operation_);
}

}  // namespace libcoll
