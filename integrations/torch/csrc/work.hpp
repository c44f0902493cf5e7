// CollWork: one operation of a group, as torch sees it. Lane starts it and moves it on; any thread may wait for it.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <torch/csrc/distributed/c10d/Work.hpp>

#include "libcoll/comm.hpp"

namespace libcoll::torch_door {

class Lane;

// What an operation has under way.
struct Requests {
  std::vector<Request> calls;
  std::vector<Message> messages;
  void push_back(Request&& r) { calls.push_back(std::move(r)); }
  void push_back(Message&& m) { messages.push_back(std::move(m)); }
};

// What an operation is made of. Tensors that `issue` and `conclude` hold live until the operation is over.
struct Task {
  c10d::OpType type = c10d::OpType::UNKNOWN;
  const char* title = nullptr;           // of the profiler's event, "libcoll:all_reduce"
  std::vector<at::Tensor> inputs{};        // for the profiler
  std::vector<at::Tensor> outputs{};       // what result() and the future give
  std::chrono::milliseconds timeout{0};  // 0: the group's
  bool after_all = false;                // begins once every collective before it is done
  bool message = false;                  // knows no order with collectives
  // Starts what there is to start; it never waits for a peer.
  std::function<void(Comm&, Requests&, const CallOptions&)> issue{};
  // Once it is done, if set: puts results where the caller wants them.
  std::function<void()> conclude{};
};

class CollWork : public c10d::Work {
 public:
  CollWork(int rank, Task&&, std::uint64_t sequence, std::chrono::milliseconds timeout, std::shared_ptr<Lane>);
  ~CollWork() override;

  bool isCompleted() override;
  bool isSuccess() const override;
  std::vector<at::Tensor> result() override { return outputs_; }
  void synchronize() override {}
  // Moves the group on meanwhile. After `timeout` it throws, and the operation goes on.
  bool wait(std::chrono::milliseconds timeout = kNoTimeout) override;
  // Ends all that is under way in the group.
  void abort() override;
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override;
  int sourceRank() const override;
  std::uint64_t getSequencenumber() const override { return sequence_; }
  float getDuration() const override;

 private:
  friend class Lane;
  // -- By whoever holds the lane.
  void start(Comm&);
  bool move_on();   // true: over; then once, without the lane:
  std::uint64_t moves() const;
  void complete();
  void note_error() noexcept;
  // One look at something under way: whether it is over.
  template <class T>
  bool look_at(T& started);

  Task task_;
  std::vector<at::Tensor> outputs_;
  Requests requests_;
  std::exception_ptr error_;
  const std::uint64_t sequence_;
  const std::chrono::milliseconds timeout_;
  const std::shared_ptr<Lane> lane_;
  int source_ = -1;       // of a receive that is done
  std::chrono::steady_clock::time_point begun_{}, ended_{};
  c10::intrusive_ptr<c10::ivalue::Future> future_;  // made when somebody asks; guarded by mutex_
};

// Several as one: the end of a coalesced batch.
class BatchWork : public c10d::Work {
 public:
  BatchWork(int rank, std::vector<c10::intrusive_ptr<c10d::Work>> parts);
  bool isCompleted() override;
  bool isSuccess() const override;
  std::exception_ptr exception() const override;
  std::vector<at::Tensor> result() override;
  void synchronize() override {}
  bool wait(std::chrono::milliseconds timeout = kNoTimeout) override;
  void abort() override;
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override;

 private:
  const std::vector<c10::intrusive_ptr<c10d::Work>> parts_;
};

// What c10d's callers catch, for what libcoll threw: ValueError for arguments, DistBackendError for the rest.
[[noreturn]] void rethrow_for_torch(const Error&);

}  // namespace libcoll::torch_door
