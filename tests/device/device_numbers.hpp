// Numbers in the memory of the current GPU, and a stream's capture.
#pragma once

#include <cstdint>
#include <vector>

#include "transports/nccl/device.hpp"
#include "transports/nccl/runtime.hpp"

namespace libcoll::test {

using Numbers = std::vector<std::int64_t>;

// set and get return once the numbers are there. One thread at a time.
class DeviceNumbers {
 public:
  DeviceNumbers(const device::Runtime& r, std::size_t n) : cuda_(r.cuda), size_(n), memory_(r.cuda, n * sizeof(std::int64_t)), stream_(r.cuda) {}
  void* at() const { return memory_.data(); }
  std::size_t size() const { return size_; }
  void set(const Numbers& to) { move(memory_.data(), to.data(), cuda::CopyKind::host_to_device); }
  Numbers get() const {
    Numbers out(size_);
    move(out.data(), memory_.data(), cuda::CopyKind::device_to_host);
    return out;
  }

 private:
  void move(void* to, const void* from, cuda::CopyKind kind) const {
    device::require(cuda_, cuda_.memcpy_async(to, from, size_ * sizeof(std::int64_t), kind, stream_.get()), "cudaMemcpyAsync");
    device::require(cuda_, cuda_.stream_synchronize(stream_.get()), "cudaStreamSynchronize");
  }
  const cuda::Table& cuda_;
  std::size_t size_;
  device::Memory memory_;
  device::Stream stream_;
};

// What is enqueued on the stream while this lives is recorded; end() makes it a graph, which this owns from then on.
class Capture {
 public:
  Capture(const cuda::Table& cuda, cuda::Stream stream) : cuda_(cuda), stream_(stream) {
    device::require(cuda_, cuda_.stream_begin_capture(stream_, cuda::CaptureMode::thread_local_only), "cudaStreamBeginCapture");
  }
  ~Capture() {
    if (!ended_) cuda_.stream_end_capture(stream_, &graph_);
    if (exec_ != nullptr) cuda_.graph_exec_destroy(exec_);
    if (graph_ != nullptr) cuda_.graph_destroy(graph_);
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  void end() {
    ended_ = true;
    device::require(cuda_, cuda_.stream_end_capture(stream_, &graph_), "cudaStreamEndCapture");
    device::require(cuda_, cuda_.graph_instantiate(&exec_, graph_, 0), "cudaGraphInstantiateWithFlags");
  }
  void launch() { device::require(cuda_, cuda_.graph_launch(exec_, stream_), "cudaGraphLaunch"); }

 private:
  const cuda::Table& cuda_;
  const cuda::Stream stream_;
  cuda::Graph graph_ = nullptr;
  cuda::GraphExec exec_ = nullptr;
  bool ended_ = false;
};

}  // namespace libcoll::test
