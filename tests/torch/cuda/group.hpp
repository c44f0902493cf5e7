// Groups of ranks that are threads of this process, each with a GPU of the double.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <functional>
#include <string>

#include "backend.hpp"
#include "fake_cuda.hpp"

namespace libcoll::test {

using torch_door::ProcessGroupLibcoll;
using Tensors = std::vector<at::Tensor>;
using Work = c10::intrusive_ptr<c10d::Work>;

struct Rank {
  int rank, size;
  at::Device gpu;
  c10::intrusive_ptr<ProcessGroupLibcoll> group;
  c10::intrusive_ptr<c10d::Store> store;
  std::function<void()> meet;  // all ranks, apart from the group
};

// The bodies of all ranks, on the streams that a process begins with or, every other time, on others. Returns "" or a line per rank that
// threw; what the double reports fails the test.
std::string run_ranks(int size, const std::function<void(Rank&)>& body, std::chrono::milliseconds timeout = std::chrono::seconds(60));

// Small whole numbers, which every type holds, so that sums are exact; strided: every other element of a tensor twice as large.
at::Tensor numbers(const Rank&, at::Device, std::int64_t count, at::ScalarType, std::int64_t salt, bool strided = false);
at::Tensor blank(at::Device, at::IntArrayRef sizes, at::ScalarType, bool strided = false);

// Kernels that come after it on the current stream of a GPU wait until it is opened.
class Gate {
 public:
  explicit Gate(at::Device);
  void open();

 private:
  std::shared_ptr<std::atomic<bool>> open_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace libcoll::test
