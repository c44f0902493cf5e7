// Communicator: one NCCL communicator, never blocking inside NCCL: what takes long is polled, so that the caller can look
// after the rest of the library meanwhile and give up. One thread at a time; abort() too, since nothing else waits inside.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "transports/nccl/nccl_table.hpp"

namespace libcoll::device {

// Called between two looks at something that is not ready. Throws in order to give up.
using Between = std::function<void()>;

class Communicator {
 public:
  // Collective over its `size` ranks, on each one's current device. Throws Error{system}; what `between` throws aborts it.
  Communicator(const nccl::Table&, int size, int index, const nccl::UniqueId&, const Between&);
  // Collective over the parent. Ordered by key, then by the parent's order. Null for a negative color.
  static std::unique_ptr<Communicator> split(Communicator& parent, int color, int key, const Between&);
  ~Communicator();  // aborts what was not finalized
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  nccl::Comm get() const { return comm_; }
  // After every call: waits while it is in progress, throws Error{system} naming the call if it failed.
  void settle(nccl::Code, const char* call, const Between&);
  // What has happened to it behind our back (a network, a peer), or nothing. Never waits.
  std::string trouble() const;
  // Collective: everything enqueued has ended once it is true. Never waits: to be called again while it is false.
  bool try_finalize();
  // Ends what is under way here; peers hear of it from NCCL or have to be told.
  void abort() noexcept;

 private:
  explicit Communicator(const nccl::Table& table) : table_(table) {}
  const nccl::Table& table_;
  nccl::Comm comm_ = nullptr;
  bool finalizing_ = false;
};

}  // namespace libcoll::device
