// Graphs and several streams, on the double.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/device/device_body.hpp"
#include "tests/device/device_numbers.hpp"
#include "tests/device/double_job.hpp"

namespace libcoll::test {

namespace {

class DeviceStreams : public testing::TestWithParam<std::vector<int>> {};

TEST_P(DeviceStreams, Graphs) {
  Job job(GetParam());
  EXPECT_EQ(job.run([&](Comm& c) { run_device_graphs(c, job.runtime(), test_seed()); }), "");
  job.expect_clean();
}

TEST_P(DeviceStreams, SeveralOnTwoCommunicators) {
  Job job(GetParam());
  EXPECT_EQ(job.run([&](Comm& c) { run_device_streams(c, job.runtime(), test_seed(), static_cast<int>(100 * test_scale())); }), "");
  job.expect_clean();
}
INSTANTIATE_TEST_SUITE_P(Shapes, DeviceStreams, testing::Values(std::vector{1}, std::vector{2}, std::vector{4}, std::vector{2, 2}));

TEST(DeviceGraphs, AreRefusedThroughHostMemory) {
  Job job({3});
  job.one_gpu = true;
  EXPECT_EQ(job.run([&](Comm& c) {
    run_device_graphs(c, job.runtime(), test_seed());
    run_device_streams(c, job.runtime(), test_seed(), 5);
  }), "");
  job.expect_clean();
}

TEST(DeviceGraphs, AreRefusedWithoutNccl) {
  Job job({2});
  job.runtime().nccl.reset();
  job.runtime().without_nccl = "none was found";
  EXPECT_EQ(job.run([&](Comm& c) { run_device_graphs(c, job.runtime(), test_seed()); }), "");
  job.expect_clean();
}

// What a barrier on a stream says: work behind it here comes after work before it there, also through host memory.
void expect_barrier_on_stream(Job& job) {
  std::atomic<bool> done{false};
  EXPECT_EQ(job.run([&](Comm& c) {
    const cuda::Table& cuda = job.runtime().cuda;
    device::Stream stream(cuda);
    c.barrier({.memory = Memory::device});  // the GPUs have met
    if (c.rank() == 0) {
      const auto slow = [](void* flag) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        static_cast<std::atomic<bool>*>(flag)->store(true);
      };
      device::require(cuda, cuda.launch_host_function(stream.get(), slow, &done), "cudaLaunchHostFunc");
    }
    c.barrier({.stream = stream.get()});
    device::require(cuda, cuda.stream_synchronize(stream.get()), "cudaStreamSynchronize");
    EXPECT_TRUE(done.load()) << "rank " << c.rank();
  }), "");
  job.expect_clean();
}

TEST(DeviceBarrier, IsBehindItsStream) {
  Job job({2});
  expect_barrier_on_stream(job);
}

TEST(DeviceBarrier, IsBehindItsStreamThroughHostMemory) {
  Job job({2});
  job.runtime().nccl.reset();
  expect_barrier_on_stream(job);
}

TEST(DeviceBarrier, IsRefusedUnderCaptureThroughHostMemory) {
  Job job({2});
  job.runtime().nccl.reset();
  EXPECT_EQ(job.run([&](Comm& c) {
    device::Stream stream(job.runtime().cuda);
    c.barrier({.memory = Memory::device});
    Capture capture(job.runtime().cuda, stream.get());
    EXPECT_THROW(c.barrier({.stream = stream.get()}), Error);
    capture.end();
  }), "");
  job.expect_clean();
}

}  // namespace

}  // namespace libcoll::test
