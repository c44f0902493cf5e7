// Graphs and several streams, on the double.
#include <gtest/gtest.h>

#include "tests/device/device_body.hpp"
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

}  // namespace

}  // namespace libcoll::test
