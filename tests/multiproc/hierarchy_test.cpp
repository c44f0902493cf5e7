// One machine that a file parts into several hosts: ranks of different "hosts" meet over the network alone.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/multiproc/body.hpp"
#include "tests/multiproc/calls.hpp"
#include "tests/multiproc/messages.hpp"
#include "tests/multiproc/subcomms.hpp"
#include "tests/multiproc/traffic.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {
namespace {

class File {
 public:
  // Rank r is on host r / ranks, or r % hosts if `dealt`.
  File(int hosts, int ranks, bool dealt) {
    std::string groups;
    for (int h = 0; h < hosts; ++h) {
      groups += h == 0 ? R"({"ranks": [)" : R"(, {"ranks": [)";
      for (int k = 0; k < ranks; ++k) groups += (k == 0 ? "" : ", ") + std::to_string(dealt ? k * hosts + h : h * ranks + k);
      groups += "]}";
    }
    std::ofstream(path_) << R"({"libcoll_hierarchy": 1, "size": )" << hosts * ranks << R"(, "levels": [{"level": "host", "groups": [)" << groups << "]}]}";
  }
  ~File() { std::filesystem::remove(path_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_ = std::filesystem::temp_directory_path() / ("libcoll_hierarchy_" + std::to_string(getpid()) + ".json");
};

Launch launch_on(const File& file, int ranks) {
  Launch l{.ranks = ranks, .watchdog_s = 200};
  l.config.hierarchy_file = file.path();
  l.config.arena_bytes = 64u << 20;
  return l;
}

void smoke(Comm& c) {
  if (c.topology().host_count() < 1) throw std::runtime_error("no hosts");
  for (std::uint64_t i = 0; i < 3; ++i) run_smoke(c, test_seed() + i);
  check_random_splits(c, test_seed(), 3);
  expect_usable(c);
}

TEST(Injected, FourHostsOfFourForkedRanks) {
  for (const bool dealt : {false, true}) {
    const File file(4, 4, dealt);
    EXPECT_EQ(run_forked(launch_on(file, 16), smoke), "") << (dealt ? "dealt round" : "in blocks");
  }
}

TEST(Injected, Messages) {
  const auto messages = [](Comm& c) { check_messages(c, {.most_bytes = 2u << 20, .many = 1000, .network = true, .seed = test_seed()}); };
  for (const int ranks : {1, 2}) {
    const File file(2, ranks, ranks == 2);
    EXPECT_EQ(run_forked(launch_on(file, 2 * ranks), messages), "") << ranks << " ranks a host";
    EXPECT_EQ(run_threads(launch_on(file, 2 * ranks), messages), "") << ranks << " ranks a host, threads";
  }
}

void count(Comm& c) {
  std::string all;
  for (const std::string& line : check_traffic(c)) all += line + "\n";
  if (c.rank() == 0 && !all.empty()) throw std::runtime_error(all);
}

TEST(Injected, TrafficOfFourHostsOfFour) {
  const File file(4, 4, true);
  EXPECT_EQ(run_threads(launch_on(file, 16), count), "");
}

TEST(Injected, TrafficOfEightHostsOfEight) {
  const File file(8, 8, false);
  EXPECT_EQ(run_forked(launch_on(file, 64), count), "");
}

}  // namespace
}  // namespace libcoll::test
