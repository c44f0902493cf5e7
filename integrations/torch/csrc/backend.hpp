// ProcessGroupLibcoll: the c10d Backend. It checks arguments and turns each call into a Task for the group's Lane.
// Any thread may call it; the calls of a group have to come in the same order on all of its ranks.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "lane.hpp"
#include "on_stream.hpp"
#include "types.hpp"

namespace libcoll::torch_door {

inline constexpr const char* backend_name = "libcoll";

class ProcessGroupLibcoll : public c10d::Backend {
 public:
  using Tensors = std::vector<at::Tensor>;
  using TensorLists = std::vector<std::vector<at::Tensor>>;
  using Ptr = c10::intrusive_ptr<c10d::Work>;

  // Collective over the group's ranks, who meet through the store. Throws DistBackendError naming who did not come.
  ProcessGroupLibcoll(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size, c10::intrusive_ptr<Options> options);
  ~ProcessGroupLibcoll() override;

  const std::string getBackendName() const override { return backend_name; }
  c10::intrusive_ptr<Options> getBackendOptions() override { return options_; }

  Ptr broadcast(Tensors&, const c10d::BroadcastOptions& = {}) override;
  Ptr allreduce(Tensors&, const c10d::AllreduceOptions& = {}) override;
  Ptr allreduce_sparse(Tensors&, const c10d::AllreduceOptions& = {}) override;
  Ptr allreduce_coalesced(Tensors&, const c10d::AllreduceCoalescedOptions& = {}) override;
  Ptr reduce(Tensors&, const c10d::ReduceOptions& = {}) override;
  Ptr allgather(TensorLists&, Tensors&, const c10d::AllgatherOptions& = {}) override;
  Ptr _allgather_base(at::Tensor&, at::Tensor&, const c10d::AllgatherOptions& = {}) override;
  Ptr allgather_coalesced(TensorLists&, Tensors&, const c10d::AllgatherOptions& = {}) override;
  Ptr allgather_into_tensor_coalesced(Tensors&, Tensors&, const c10d::AllgatherOptions& = {}) override;
  Ptr gather(TensorLists&, Tensors&, const c10d::GatherOptions& = {}) override;
  Ptr scatter(Tensors&, TensorLists&, const c10d::ScatterOptions& = {}) override;
  Ptr reduce_scatter(Tensors&, TensorLists&, const c10d::ReduceScatterOptions& = {}) override;
  Ptr _reduce_scatter_base(at::Tensor&, at::Tensor&, const c10d::ReduceScatterOptions& = {}) override;
  Ptr reduce_scatter_tensor_coalesced(Tensors&, Tensors&, const c10d::ReduceScatterOptions& = {}) override;
  Ptr alltoall_base(at::Tensor&, at::Tensor&, std::vector<std::int64_t>&, std::vector<std::int64_t>&, const c10d::AllToAllOptions& = {}) override;
  Ptr alltoall(Tensors&, Tensors&, const c10d::AllToAllOptions& = {}) override;
  Ptr barrier(const c10d::BarrierOptions& = {}) override;

  Ptr send(Tensors&, int dest, int tag) override;
  Ptr recv(Tensors&, int source, int tag) override;
  Ptr recvAnysource(Tensors&, int tag) override;
  // Rank 0 waits for all others and throws, on itself and them, naming the first that does not come in time (or all of those).
  void monitoredBarrier(const c10d::BarrierOptions&, bool wait_all_ranks = false) override;

  bool supportsCoalescing() const override { return true; }
  void startCoalescing() override;
  Ptr endCoalescing() override;

  void setSequenceNumberForGroup() override {}  // counted from 0 on all ranks
  std::uint64_t getSequenceNumberForGroup() override { return sequence_.load(); }

  bool supportsSplitting() const override { return true; }
  c10::intrusive_ptr<Backend> split(const c10::intrusive_ptr<c10d::Store>&, const std::vector<int>& ranks, const c10::intrusive_ptr<Options>&) override;

  void setTimeout(std::chrono::milliseconds timeout) override;
  // Ranks meet on their GPUs here, rather than at their first call with GPU memory. Collective.
  void eagerConnectSingleDevice(at::Device) override;

  void abort() override;
  void shutdown() override;
  c10d::ErrorType getError() override;
  void enableCollectivesTiming() override {}  // Work::getDuration always knows

  bool supportsTensorAlloc(c10::DeviceIndex) override { return true; }
  at::Tensor allocateTensor(long size, at::TensorOptions options = {}) override;

  Lane& lane() { return *lane_; }

 private:
  Ptr submit(Task&&, bool async);
  std::unique_ptr<OnStream> prepare_stream(Task&, c10::Device, bool aside);
  Ptr send_message(const at::Tensor&, int dest, int tag, std::chrono::milliseconds timeout);
  Ptr receive_message(const at::Tensor&, int source, int tag, std::chrono::milliseconds timeout);
  void require_root(const char* collective, std::int64_t root) const;
  void require_one(const char* collective, const char* argument, std::size_t given) const;
  Task reduce_scatter_task(const char* title, const at::Tensor& out, const at::Tensor& in, const c10d::ReduceOp&) const;
  void add_allgather_list(Task&, const Tensors& outs, const at::Tensor& in) const;
  void add_allgather(Task&, const at::Tensor& out, const at::Tensor& in) const;

  const c10::intrusive_ptr<Options> options_;
  std::atomic<std::chrono::milliseconds> timeout_;
  std::shared_ptr<Lane> lane_;
  std::atomic<std::uint64_t> sequence_{0};
  SideStreams side_streams_;
  std::mutex mutex_;  // of the batch
  std::optional<std::vector<Ptr>> batch_;
  std::thread::id batch_owner_;                 // other threads' calls are no part of it
  std::atomic<int> monitored_barriers_{0};
};

}  // namespace libcoll::torch_door
