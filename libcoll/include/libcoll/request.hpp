// Request and Persistent: collectives that were started, and that can be started over and over.
// A communicator and its requests belong to one thread at a time, together. Progress happens inside the library's calls
// (test, wait and every collective of the world), or in a thread (LIBCOLL_PROGRESS_THREAD).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "libcoll/types.hpp"

namespace libcoll {

namespace exec { struct Operation; }

// One started collective. Movable. Destroying a request that is under way leaves the collective to
// itself: its buffers must stay until all of the communicator's requests are done, and its errors are lost.
class LIBCOLL_API Request {
 public:
  Request() noexcept = default;  // done
  explicit Request(exec::Operation* operation) noexcept : operation_(operation) {}
  Request(Request&& other) noexcept : operation_(std::exchange(other.operation_, nullptr)) {}
  Request& operator=(Request&& other) noexcept {
    Request old(std::move(*this));
    operation_ = std::exchange(other.operation_, nullptr);
    return *this;
  }
  ~Request() {
    if (operation_ != nullptr) let_go();
  }

  // Whether it is done; moves things on. Throws, once, the Error that the collective ended with.
  bool test();
  void wait();
  // For those who look at many things by turns and sleep in between: grows whenever something that was started on the
  // communicator has moved in a test or wait, so that more may be to do. 0 once it is done.
  std::uint64_t moves() const noexcept;
  explicit operator bool() const noexcept { return operation_ != nullptr; }  // not waited for yet

 protected:
  void let_go() noexcept;
  exec::Operation* operation_ = nullptr;  // what it needs of its communicator lives as long
};

// Waits for all, then throws the first Error if there was one.
LIBCOLL_API void wait_all(std::span<Request>);
// Whether all are done.
LIBCOLL_API bool test_all(std::span<Request>);
// Waits until one of those not waited for yet is done and returns its index; requests.size() if there is none.
LIBCOLL_API std::size_t wait_any(std::span<Request>);
// The same without waiting; requests.size() if none is done.
LIBCOLL_API std::size_t test_any(std::span<Request>);

// A collective with its arguments settled. Movable; must not be destroyed between start and its end.
class LIBCOLL_API Persistent {
 public:
  Persistent() noexcept = default;
  explicit Persistent(exec::Operation* operation) noexcept : operation_(operation) {}
  Persistent(Persistent&& other) noexcept : operation_(std::exchange(other.operation_, nullptr)) {}
  Persistent& operator=(Persistent&& other) noexcept {
    Persistent old(std::move(*this));
    operation_ = std::exchange(other.operation_, nullptr);
    return *this;
  }
  ~Persistent() {
    if (operation_ != nullptr) let_go();
  }

  // Starts it on what the buffers hold now. The last start must be done.
  void start();
  bool test();  // true if it is done, or was not started
  void wait();

 private:
  void let_go() noexcept;
  exec::Operation* operation_ = nullptr;
};

}  // namespace libcoll
