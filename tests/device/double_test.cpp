// Collectives on GPU memory, on the double of CUDA and NCCL: ranks are threads, hosts those of an injected hierarchy.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "tests/device/device_body.hpp"
#include "tests/support/gpu_double/gpu_double.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {

namespace {

using gpu_double::Session;

// A world of so many ranks on each host, each with a GPU of its own, while this lives.
class Job {
 public:
  explicit Job(std::vector<int> ranks_of_hosts, gpu_double::Options o = {}) : hosts_(std::move(ranks_of_hosts)), session_(with_devices(o)) {
    runtime_ = {.cuda = session_.cuda(), .nccl = session_.nccl(), .without_nccl = {}};
    device::replace_runtime(&runtime_);
    launch_.ranks = std::accumulate(hosts_.begin(), hosts_.end(), 0);
    launch_.config.gpu = "on";
    if (hosts_.size() > 1) write_hierarchy();
  }
  ~Job() {
    device::replace_runtime(nullptr);
    if (!file_.empty()) std::filesystem::remove(file_);
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  Config& config() { return launch_.config; }
  Session& session() { return session_; }
  const device::Runtime& runtime() const { return runtime_; }
  device::Runtime& runtime() { return runtime_; }
  // Each rank's thread is on its host and its GPU.
  std::string run(const Body& body) {
    return run_threads(launch_, [&](Comm& c) { body(c); });
  }
  // Before its world is made: from_callback runs on the rank's thread.
  void settle(int rank) {
    int host = 0, at = rank;
    while (at >= hosts_[static_cast<std::size_t>(host)]) at -= hosts_[static_cast<std::size_t>(host++)];
    session_.enter_host(host);
    runtime_.cuda.set_device(at);
  }
  std::string on_devices(const Body& body) {
    return run([&](Comm& c) {
      settle(c.rank());
      body(c);
    });
  }
  void expect_clean() {
    for (const std::string& line : session_.finish()) ADD_FAILURE() << line;
  }

 private:
  gpu_double::Options with_devices(gpu_double::Options o) const {
    o.hosts = static_cast<int>(hosts_.size());
    o.devices_per_host = 8;
    o.seed = test_seed();
    return o;
  }
  void write_hierarchy() {
    static std::atomic<int> next{0};
    file_ = std::filesystem::temp_directory_path() / ("libcoll-double-" + std::to_string(getpid()) + "-" + std::to_string(next++) + ".json");
    std::ofstream out(file_);
    out << R"({"libcoll_hierarchy":1,"size":)" << launch_.ranks << R"(,"levels":[{"level":"host","groups":[)";
    for (std::size_t h = 0, r = 0; h < hosts_.size(); ++h) {
      out << (h == 0 ? "" : ",") << R"({"ranks":[)";
      for (int i = 0; i < hosts_[h]; ++i) out << (i == 0 ? "" : ",") << r++;
      out << "]}";
    }
    out << "]}]}";
    launch_.config.hierarchy_file = file_;
  }

  std::vector<int> hosts_;
  Session session_;
  device::Runtime runtime_;
  Launch launch_;
  std::string file_;
};

DeviceBodyOptions some_cases() { return {.seed = test_seed(), .random_cases = static_cast<int>(150 * test_scale())}; }

class DeviceBody : public testing::TestWithParam<std::vector<int>> {};

TEST_P(DeviceBody, EveryCollective) {
  Job job(GetParam());
  EXPECT_EQ(job.on_devices([&](Comm& c) { run_device_body(c, job.runtime(), some_cases()); }), "");
  job.expect_clean();
}

INSTANTIATE_TEST_SUITE_P(Shapes, DeviceBody, testing::Values(std::vector{1}, std::vector{2}, std::vector{4}, std::vector{1, 1}, std::vector{2, 2}, std::vector{2, 3, 1}));

}  // namespace

}  // namespace libcoll::test
