// Collectives on GPU memory, on the double of CUDA and NCCL: ranks are threads, hosts those of an injected hierarchy.
#include <gtest/gtest.h>

#include <random>

#include "tests/device/device_body.hpp"
#include "tests/device/double_job.hpp"

namespace libcoll::test {

namespace {

DeviceBodyOptions some_cases() { return {.seed = test_seed(), .random_cases = static_cast<int>(150 * test_scale())}; }

class DeviceBody : public testing::TestWithParam<std::vector<int>> {};

TEST_P(DeviceBody, EveryCollective) {
  Job job(GetParam());
  EXPECT_EQ(job.run([&](Comm& c) { run_device_body(c, job.runtime(), some_cases()); }), "");
  job.expect_clean();
}
INSTANTIATE_TEST_SUITE_P(Shapes, DeviceBody,
                         testing::Values(std::vector{1}, std::vector{2}, std::vector{4}, std::vector{8}, std::vector{1, 1}, std::vector{2, 3, 1}, std::vector{4, 2, 4, 1}));

class Islands : public testing::TestWithParam<std::tuple<std::vector<int>, const char*>> {};

TEST_P(Islands, EveryCollective) {
  Job job(std::get<0>(GetParam()));
  job.config().gpu_overlap = std::get<1>(GetParam());
  DeviceBodyOptions o = some_cases();
  o.islands = true;
  EXPECT_EQ(job.run([&](Comm& c) { run_device_body(c, job.runtime(), o); }), "");
  job.expect_clean();
}
INSTANTIATE_TEST_SUITE_P(Shapes, Islands,
                         testing::Combine(testing::Values(std::vector{2, 2}, std::vector{2, 2, 2, 2}, std::vector{4, 4}, std::vector{3, 3, 3}), testing::Values("on", "off")));

// As many ranks as a host has GPUs. Fewer cases: there are two to three ranks for each that the others run with.
TEST(Device, IslandsOfEightOnTwoHosts) {
  Job job({8, 8});
  job.config().gpu_overlap = "on";
  EXPECT_EQ(job.run([&](Comm& c) {
    run_device_body(c, job.runtime(), {.seed = test_seed(), .random_cases = static_cast<int>(60 * test_scale()), .islands = true, .most_count = 1000});
    EXPECT_NE(c.describe().find("islands of 8, 8, islands and rails at once"), std::string::npos) << c.describe();
  }), "");
  job.expect_clean();
}

TEST(Device, UnequalIslandsOnFourHosts) {
  Job job({8, 4, 8, 2});
  EXPECT_EQ(job.run([&](Comm& c) {
    run_device_body(c, job.runtime(), {.seed = test_seed(), .random_cases = static_cast<int>(40 * test_scale()), .most_count = 1000});
    EXPECT_NE(c.describe().find("islands of 8, 4, 8, 2"), std::string::npos) << c.describe();
  }), "");
  job.expect_clean();
}

TEST(Device, DescribesWhatItDoes) {
  Job job({2, 2});
  EXPECT_EQ(job.run([&](Comm& c) {
    EXPECT_NE(c.describe().find("GPUs not used yet"), std::string::npos) << c.describe();
    expect_sum(c, job.runtime());
    EXPECT_NE(c.describe().find("FAKE"), std::string::npos) << c.describe();
    EXPECT_NE(c.describe().find("islands of 2, 2"), std::string::npos) << c.describe();
  }), "");
  job.expect_clean();
}

TEST(Device, ExplainsTheWay) {
  Job job({2, 2});
  EXPECT_EQ(job.run([&](Comm& c) {
    const auto explained = [&](Op op, const CallOptions& o) { return c.explain("allreduce", 1000, DType::i32, op, 0, o); };
    EXPECT_NE(explained(Op::sum, {.memory = Memory::device}).find("decided at the first such call"), std::string::npos);
    expect_sum(c, job.runtime());
    EXPECT_NE(explained(Op::sum, {.memory = Memory::device}).find("on GPU memory: nccl"), std::string::npos) << explained(Op::sum, {.memory = Memory::device});
    EXPECT_NE(explained(Op::sum, {.algorithm = "island/nccl"}).find("on GPU memory: island/nccl (caller"), std::string::npos);
    EXPECT_NE(explained(Op::band, {.memory = Memory::device}).find("staged through host memory (NCCL has no band"), std::string::npos);
    EXPECT_EQ(explained(Op::sum, {}).find("GPU"), std::string::npos);
    EXPECT_THROW(explained(Op::sum, {.algorithm = "island/nccl:chunk=0"}), Error);
  }), "");
  job.expect_clean();
}

TEST(Device, RegisteredBuffers) {
  Job job({2});
  EXPECT_EQ(job.run([&](Comm& c) {
    Number x(job.runtime(), 1), y(job.runtime(), 1);
    std::int64_t here = 0;
    EXPECT_THROW(c.register_buffer(&here, sizeof here), Error);
    EXPECT_THROW(c.register_buffer(x.at(), 0), Error);
    Registration r = c.register_buffer(x.at(), sizeof here), other = c.register_buffer(y.at(), sizeof here);
    EXPECT_TRUE(r.active() && other.active());
    c.allreduce(x.at(), y.at(), 1, DType::i64, Op::sum, {.memory = Memory::device});
    EXPECT_EQ(y.get(), 2);
    other = std::move(r);  // y's ends
    EXPECT_FALSE(r.active());
    Registration last = c.register_buffer(y.at(), sizeof here);
    c.close();
    EXPECT_FALSE(other.active() || last.active());
  }), "");
  job.expect_clean();
}

TEST(Device, OneGpuForAllGoesThroughHostMemory) {
  Job job({3});
  job.one_gpu = true;
  EXPECT_EQ(job.run([&](Comm& c) {
    run_device_body(c, job.runtime(), {.seed = test_seed(), .random_cases = 20});
    EXPECT_NE(c.describe().find("use one GPU"), std::string::npos) << c.describe();
    EXPECT_THROW(expect_sum(c, job.runtime(), {.algorithm = "nccl"}), Error);
    expect_sum(c, job.runtime());
  }), "");
  job.expect_clean();
}

TEST(Device, WithoutNcclThroughHostMemory) {
  Job job({2});
  job.runtime().nccl.reset();
  job.runtime().without_nccl = "none was found";
  EXPECT_EQ(job.run([&](Comm& c) {
    run_device_body(c, job.runtime(), {.seed = test_seed(), .random_cases = 20});
    EXPECT_NE(c.describe().find("none was found"), std::string::npos) << c.describe();
  }), "");
  job.expect_clean();
}

TEST(Device, StreamsAreNotWaitedFor) {
  Job job({2}, {.delay_us = 3000});
  EXPECT_EQ(job.run([&](Comm& c) {
    const cuda::Table& cuda = job.runtime().cuda;
    device::Stream stream(cuda);
    expect_sum(c, job.runtime());  // the GPUs have met
    Number x(job.runtime(), 1);
    c.barrier();
    if (c.rank() == 0) {
      // The other rank has not called yet: this one returns even so.
      for (int i = 0; i < 10; ++i) c.allreduce(in_place, x.at(), 1, DType::i64, Op::sum, {.stream = stream.get()});
      EXPECT_EQ(cuda.stream_query(stream.get()), cuda::Error::not_ready);
      c.barrier({.memory = Memory::host});
    } else {
      c.barrier({.memory = Memory::host});
      for (int i = 0; i < 10; ++i) c.allreduce(in_place, x.at(), 1, DType::i64, Op::sum, {.stream = stream.get()});
    }
    device::require(cuda, cuda.stream_synchronize(stream.get()), "cudaStreamSynchronize");
    EXPECT_EQ(x.get(), 1024);
  }), "");
  job.expect_clean();
}

// Several communicators and streams at once, as an application with several kinds of parallelism has them.
TEST(Device, ThousandRandomSchedules) {
  const int rounds = static_cast<int>(1000 * test_scale());
  Job job({4}, {.delay_us = 20});
  EXPECT_EQ(job.run([&](Comm& world) {
    const cuda::Table& cuda = job.runtime().cuda;
    expect_sum(world, job.runtime());
    Comm other = world.dup(), half = world.split(world.rank() / 2), pair = world.split(world.rank() % 2, -world.rank());
    Comm* comms[] = {&world, &other, &half, &pair};
    device::Stream streams[] = {device::Stream(cuda), device::Stream(cuda), device::Stream(cuda)};
    Number x[] = {Number(job.runtime(), 1), Number(job.runtime(), 1), Number(job.runtime(), 1)};
    std::mt19937_64 random(test_seed());
    for (int round = 0; round < rounds; ++round) {
      std::int64_t want[] = {1, 1, 1};
      for (Number& n : x) n.set(1);
      for (int i = 0; i < 8; ++i) {
        Comm& c = *comms[random() % 4];
        const std::size_t s = random() % 3;
        switch (random() % 3) {
          case 0: c.allreduce(in_place, x[s].at(), 1, DType::i64, Op::sum, {.stream = streams[s].get()}), want[s] *= c.size(); break;
          case 1: c.bcast(x[s].at(), 1, DType::i64, static_cast<int>(random() % 2), {.stream = streams[s].get()}); break;
          default: c.barrier({.stream = streams[s].get()}); break;
        }
      }
      for (std::size_t s = 0; s < 3; ++s) {
        device::require(cuda, cuda.stream_synchronize(streams[s].get()), "cudaStreamSynchronize");
        ASSERT_EQ(x[s].get(), want[s]) << "round " << round << ", " << seed_text();
      }
    }
    for (Comm* c : {&pair, &half, &other}) c->close();
  }), "");
  job.expect_clean();
}

}  // namespace

}  // namespace libcoll::test
