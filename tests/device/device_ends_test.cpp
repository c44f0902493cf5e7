// Which device is current, and the ends of communicators whose work is still on streams, on the double.
#include <gtest/gtest.h>

#include <barrier>
#include <thread>

#include "tests/device/double_job.hpp"

namespace libcoll::test {

namespace {

int current_device(const cuda::Table& cuda) {
  int d = -1;
  cuda.get_device(&d);
  return d;
}

TEST(DeviceEnds, TheCurrentDeviceStays) {
  Job job({2});
  EXPECT_EQ(job.run([&](Comm& world) {
    const cuda::Table& cuda = job.runtime().cuda;
    const int at_home = world.rank(), there = world.rank() + 4;
    {
      Comm c = world.dup();
      cuda.set_device(there);
      Number x(job.runtime(), c.rank() + 1);
      cuda.set_device(at_home);
      Number wrong(job.runtime(), 1);
      for (const char* algorithm : {"staged", "nccl"}) {
        x.set(c.rank() + 1);
        c.allreduce(in_place, x.at(), 1, DType::i64, Op::sum, {.algorithm = algorithm});
        EXPECT_EQ(x.get(), sum_to(c.size()));
        EXPECT_EQ(current_device(cuda), at_home);
        EXPECT_EQ(end_of([&] { c.allreduce(in_place, wrong.at(), 1, DType::i64, Op::sum, {.algorithm = algorithm}); }), Errc::invalid_argument);
        EXPECT_EQ(current_device(cuda), at_home);
      }
      // A child takes its NCCL communicator from its parent's, and with it the device.
      Comm child = c.dup();
      EXPECT_EQ(end_of([&] { child.allreduce(in_place, wrong.at(), 1, DType::i64, Op::sum); }), Errc::invalid_argument);
      x.set(1);
      child.allreduce(in_place, x.at(), 1, DType::i64, Op::sum);
      EXPECT_EQ(x.get(), 2);
      child.close();
      EXPECT_EQ(current_device(cuda), at_home);
      c.close();
      EXPECT_EQ(current_device(cuda), at_home);
    }
    expect_sum(world, job.runtime());
  }), "");
  job.expect_clean();
}

TEST(DeviceEnds, ADeviceIsOfOneCommunicatorFromItsFirstStagedCallOn) {
  Job job({2});
  EXPECT_EQ(job.run([&](Comm& c) {
    const cuda::Table& cuda = job.runtime().cuda;
    cuda.set_device(c.rank() + 4);
    Number x(job.runtime(), c.rank() + 1);
    cuda.set_device(c.rank());
    c.allreduce(in_place, x.at(), 1, DType::i64, Op::sum, {.memory = Memory::mixed});
    EXPECT_EQ(x.get(), sum_to(c.size()));
    EXPECT_EQ(end_of([&] { expect_sum(c, job.runtime()); }), Errc::invalid_argument);
    x.set(1);
    c.allreduce(in_place, x.at(), 1, DType::i64, Op::sum);
    EXPECT_EQ(x.get(), 2);
    // Without a buffer, too.
    c.barrier({.memory = Memory::device});
  }), "");
  job.expect_clean();
}

class EndsWithWorkOnAStream : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Ways, EndsWithWorkOnAStream, testing::Values("nccl", "staged"));

TEST_P(EndsWithWorkOnAStream, Closed) {
  Job job({2}, {.delay_us = 3000});
  EXPECT_EQ(job.run([&](Comm& world) {
    const cuda::Table& cuda = job.runtime().cuda;
    device::Stream stream(cuda);
    Number x(job.runtime(), 1);
    for (const bool met : {false, true})
      for (int i = 0; i < 5; ++i) {
        if (met) expect_sum(world, job.runtime());
        Comm c = world.dup();
        x.set(1);
        for (int k = 0; k < 3; ++k) c.allreduce(in_place, x.at(), 1, DType::i64, Op::sum, {.algorithm = GetParam(), .stream = stream.get()});
        c.close();
        device::require(cuda, cuda.stream_synchronize(stream.get()), "cudaStreamSynchronize");
        EXPECT_EQ(x.get(), 8);
      }
  }), "");
  job.expect_clean();
}

// Staged: what is left in pinned memory is still read. (Through NCCL that is an abort.)
TEST(DeviceEnds, DestroyedWithStagedWorkOnAStream) {
  Job job({2}, {.delay_us = 3000});
  EXPECT_EQ(job.run([&](Comm& world) {
    const cuda::Table& cuda = job.runtime().cuda;
    device::Stream stream(cuda);
    Number x(job.runtime(), 1);
    for (int i = 0; i < 5; ++i) {
      x.set(1);
      {
        Comm c = world.dup();
        c.allreduce(in_place, x.at(), 1, DType::i64, Op::sum, {.algorithm = "staged", .stream = stream.get()});
      }
      device::require(cuda, cuda.stream_synchronize(stream.get()), "cudaStreamSynchronize");
      EXPECT_EQ(x.get(), 2);
    }
  }), "");
  job.expect_clean();
}

// Pinned memory is one for all streams: the second call must not overwrite what a copy of the first still reads.
TEST(DeviceEnds, StagedCallsOnTwoStreams) {
  Job job({2}, {.delay_us = 2000});
  EXPECT_EQ(job.run([&](Comm& c) {
    const cuda::Table& cuda = job.runtime().cuda;
    device::Stream streams[] = {device::Stream(cuda), device::Stream(cuda)};
    Number x[] = {Number(job.runtime(), 1), Number(job.runtime(), 1)};
    for (int i = 0; i < 20; ++i)
      for (std::size_t s = 0; s < 2; ++s) {
        if (i % 10 == 0) x[s].set(static_cast<std::int64_t>(s) + 1);
        c.allreduce(in_place, x[s].at(), 1, DType::i64, Op::sum, {.algorithm = "staged", .stream = streams[s].get()});
        if (i % 10 != 9) continue;
        cuda.stream_synchronize(streams[s].get());
        EXPECT_EQ(x[s].get(), 1024 * (static_cast<std::int64_t>(s) + 1));
      }
  }), "");
  job.expect_clean();
}

struct Gate {
  std::atomic<bool> open{false};
  static void wait(void* gate) { static_cast<Gate*>(gate)->open.wait(false); }
  void release() {
    open.store(true);
    open.notify_all();
  }
};

// Nobody is in a call: who only waits for the stream finds out by looking.
TEST(DeviceEnds, CheckedStreamsTellOfAnError) {
  Job job({2});
  EXPECT_EQ(job.run([&](Comm& world) {
    const cuda::Table& cuda = job.runtime().cuda;
    Comm c = world.dup();
    c.check_streams(true);
    expect_sum(c, job.runtime());
    c.check_streams(true);
    job.meet();
    Gate gate;
    Number x(job.runtime(), 1);
    device::Stream stream(cuda);
    if (c.rank() == 0) device::require(cuda, cuda.launch_host_function(stream.get(), Gate::wait, &gate), "cudaLaunchHostFunc");
    c.allreduce(in_place, x.at(), 1, DType::i64, Op::sum, {.stream = stream.get()});
    c.check_streams(true);
    job.meet();
    if (c.rank() == 1) {
      EXPECT_TRUE(job.session().inject_error_at(0, 1, nccl::Code::system_error, "a cable was pulled"));
    }
    EXPECT_TRUE(wait_until(10, [&] { return end_of([&] { c.check_streams(false); }).has_value(); }));
    EXPECT_EQ(end_of([&] { c.barrier(); }), Errc::closed);
    gate.release();
    device::require(cuda, cuda.stream_synchronize(stream.get()), "cudaStreamSynchronize");
    c.close();
  }), "");
  job.expect_clean();
}

TEST_P(EndsWithWorkOnAStream, TryCloseNeverWaits) {
  Job job({2});
  std::barrier<> looked(2);
  EXPECT_EQ(job.run([&](Comm& world) {
    const cuda::Table& cuda = job.runtime().cuda;
    Gate gate;
    Number x(job.runtime(), 1);
    device::Stream stream(cuda);
    Comm c = world.dup();
    if (std::string(GetParam()) == "nccl") {
      expect_sum(c, job.runtime());
      device::require(cuda, cuda.launch_host_function(stream.get(), Gate::wait, &gate), "cudaLaunchHostFunc");
    }
    // Staged, the way there waits for the stream: only what comes back can be late.
    c.bcast(x.at(), 1, DType::i64, 1, {.algorithm = GetParam(), .stream = stream.get()});
    if (std::string(GetParam()) == "staged") gate.release();
    for (int i = 0; i < 3; ++i) {
      const bool closed = !c || c.try_close();
      if (!gate.open.load()) {
        EXPECT_FALSE(closed);
      }
      looked.arrive_and_wait();
    }
    gate.release();
    while (c && !c.try_close()) std::this_thread::yield();
    device::require(cuda, cuda.stream_synchronize(stream.get()), "cudaStreamSynchronize");
  }), "");
  job.expect_clean();
}

TEST(DeviceEnds, ParentsAndChildrenEndInAnyOrder) {
  Job job({2, 2});
  EXPECT_EQ(job.run([&](Comm& world) {
    Comm unused = world.dup();
    expect_sum(world, job.runtime());
    Comm child = world.split(world.rank() == 0 ? -1 : 0), idle = world.dup();
    Comm grandchild = child ? child.dup() : Comm();
    Comm of_unused = unused.dup();
    world.close();
    if (child) {
      expect_sum(grandchild, job.runtime());
      expect_sum(child, job.runtime());
      child.close();
      expect_sum(grandchild, job.runtime());
      grandchild.close();
    }
    expect_sum(of_unused, job.runtime());
    unused.close();
    of_unused.close();
    idle.close();
  }), "");
  job.expect_clean();
}

// More programs than are kept, forgotten while streams still run them. Root and others keep different ones (in place).
TEST(DeviceEnds, ForgottenProgramsRunToTheirEnd) {
  Job job({2, 2});
  job.config().gpu_overlap = "on";
  constexpr Count most = 600;
  EXPECT_EQ(job.run([&](Comm& c) {
    const cuda::Table& cuda = job.runtime().cuda;
    device::Stream stream(cuda);
    const std::vector<std::int64_t> ones(most, 1);
    std::vector<std::int64_t> sums(most, 0);
    const device::Memory operands(cuda, most * 8), results(cuda, most * 8);
    device::require(cuda, cuda.memcpy_async(operands.data(), ones.data(), most * 8, cuda::CopyKind::host_to_device, stream.get()), "cudaMemcpyAsync");
    device::require(cuda, cuda.memcpy_async(results.data(), ones.data(), most * 8, cuda::CopyKind::host_to_device, stream.get()), "cudaMemcpyAsync");
    for (Count n = most; n > 0; --n) {
      const bool in_place_here = c.rank() == 0 && n % 3 == 0;
      c.reduce(in_place_here ? in_place : operands.data(), results.data(), n, DType::i64, Op::sum, 0, {.algorithm = n % 2 != 0 ? "island/nccl:chunk=512" : "nccl", .stream = stream.get()});
      if (n % 3 == 1 && n != 1) device::require(cuda, cuda.memcpy_async(results.data(), ones.data(), most * 8, cuda::CopyKind::host_to_device, stream.get()), "cudaMemcpyAsync");
    }
    device::require(cuda, cuda.memcpy_async(sums.data(), results.data(), most * 8, cuda::CopyKind::device_to_host, stream.get()), "cudaMemcpyAsync");
    device::require(cuda, cuda.stream_synchronize(stream.get()), "cudaStreamSynchronize");
    for (std::size_t i = 0; i < 3 && c.rank() == 0; ++i) EXPECT_EQ(sums[i], 4);
  }), "");
  job.expect_clean();
}

}  // namespace

}  // namespace libcoll::test
