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

#include "on_stream.hpp"
#include "starter.hpp"

namespace libcoll::torch_door {

class Lane;

// What an operation is made of. Tensors that `issue` and `conclude` hold live until the operation is over, on its stream, too.
struct Task {
  c10d::OpType type = c10d::OpType::UNKNOWN;
  const char* title = nullptr;           // of the profiler's event, "libcoll:all_reduce"
  std::vector<at::Tensor> inputs{};        // for the profiler
  std::vector<at::Tensor> outputs{};       // what result() and the future give
  std::chrono::milliseconds timeout{0};  // 0: the group's
  bool after_all = false;                // begins once every collective before it is done
  bool message = false;                  // knows no order with collectives
  std::int64_t channel = -1;             // of a send, its receiver and tag: equal ones begin in their order
  // Of messages on GPU memory: enqueues the copy into host memory that comes before the message.
  std::function<void()> stage{};
  std::shared_ptr<c10::Event> ready{};   // it begins once this has happened, if set
  // Starts what there is to start; in host memory it never waits for a peer.
  std::function<void(Starter&)> issue{};
  // Once it is done, if set: puts results where the caller wants them. On a stream, as part of its work.
  std::function<void()> conclude{};
};

class CollWork : public c10d::Work {
 public:
  // `on_stream`: of a task whose tensors are on a GPU.
  CollWork(int rank, Task&&, std::uint64_t sequence, std::chrono::milliseconds timeout, std::shared_ptr<Lane>, std::unique_ptr<OnStream> on_stream);
  ~CollWork() override;

  bool isCompleted() override;
  bool isSuccess() const override;
  std::vector<at::Tensor> result() override { return outputs_; }
  // On a stream: what comes to the current stream from now on comes after it.
  void synchronize() override;
  // Moves the group on meanwhile. After `timeout` it throws, and the operation goes on. On a stream: synchronize(), and only with a
  // timeout does the host wait, too.
  bool wait(std::chrono::milliseconds timeout = kNoTimeout) override;
  void blockCurrentStream() override;
  // Ends all that is under way in the group.
  void abort() override;
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override;
  int sourceRank() const override;
  std::uint64_t getSequencenumber() const override { return sequence_; }
  float getDuration() const override;

 private:
  friend class Lane;
  // Its calls are work on a stream. Messages on GPU memory are not: they pass through host memory, and only copies are on their stream.
  bool is_streamed() const { return on_stream_ != nullptr && !task_.message; }
  bool is_over_on_host();
  bool is_on_its_way() const { return on_its_way_; }
  // -- By whoever holds the lane.
  bool can_start() const;
  bool is_overdue() const;
  void start(Comm&, CallOptions);
  bool move_on();   // true: over; then once, without the lane:
  std::uint64_t moves() const;
  void complete();
  // -- Of what is on its way in a stream.
  bool has_arrived();
  void leave_stream();
  void fail_on_stream();  // with the current exception; the stream may still use the tensors
  void conclude();
  void release_tensors();
  void mark(c10::ivalue::Future&) const;
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
  const std::unique_ptr<OnStream> on_stream_;
  bool on_its_way_ = false;  // enqueued; guarded by mutex_ once it is over on the host
  int source_ = -1;       // of a receive that is done
  std::chrono::steady_clock::time_point begun_{}, ended_{};  // begun_: submitted, until it is started, where it waits for `ready`
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
  void synchronize() override;
  void blockCurrentStream() override;
  bool wait(std::chrono::milliseconds timeout = kNoTimeout) override;
  void abort() override;
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override;

 private:
  const std::vector<c10::intrusive_ptr<c10d::Work>> parts_;
};

// What c10d's callers catch, for what libcoll threw: ValueError for arguments, DistBackendError for the rest.
[[noreturn]] void rethrow_for_torch(const Error&);

}  // namespace libcoll::torch_door
