// A world on the double of CUDA and NCCL: ranks are threads, hosts those of an injected hierarchy.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <thread>
#include <optional>

#include "tests/support/gpu_double/gpu_double.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/values.hpp"
#include "tests/unit/topology/made_hosts.hpp"
#include "transports/nccl/device.hpp"
#include "transports/nccl/runtime.hpp"

namespace libcoll::test {

using gpu_double::Session;

// A file that goes with its owner.
class File {
 public:
  explicit File(const std::string& text) {
    static std::atomic<int> next{0};
    path_ = std::filesystem::temp_directory_path() / ("libcoll-double-" + std::to_string(getpid()) + "-" + std::to_string(next++));
    std::ofstream(path_) << text;
  }
  ~File() { std::filesystem::remove(path_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline constexpr int gpus_of_a_host = 8;

// The double's GPUs at one NVSwitch, a NIC each.
inline std::string machine_text() {
  topo::MadeHost h = topo::make_switched_host(gpus_of_a_host, gpus_of_a_host, 18);
  for (int i = 0; i < gpus_of_a_host; ++i) h.machine.nodes[static_cast<std::size_t>(h.gpus[static_cast<std::size_t>(i)])].bus_id = fmt::format("0000:{:02x}:00.0", i + 1);
  return topo::to_json(h.machine);
}

inline std::string hierarchy_text(const std::vector<int>& ranks_of_hosts) {
  std::string groups;
  for (int first = 0; const int n : ranks_of_hosts) {
    std::string ranks;
    for (int i = 0; i < n; ++i) ranks += fmt::format("{}{}", i == 0 ? "" : ",", first + i);
    first += n;
    groups += fmt::format("{}{{\"ranks\":[{}]}}", groups.empty() ? "" : ",", ranks);
  }
  return fmt::format("{{\"libcoll_hierarchy\":1,\"size\":{},\"levels\":[{{\"level\":\"host\",\"groups\":[{}]}}]}}", std::accumulate(ranks_of_hosts.begin(), ranks_of_hosts.end(), 0), groups);
}

// A world of so many ranks on each host, each with a GPU of its own, while this lives.
class Job {
 public:
  explicit Job(std::vector<int> ranks_of_hosts, gpu_double::Options o = {}) : hosts_(std::move(ranks_of_hosts)), session_(with_devices(o)), hierarchy_(hierarchy_text(hosts_)), machine_(machine_text()) {
    runtime_ = {.cuda = session_.cuda(), .nccl = session_.nccl(), .without_nccl = {}};
    device::replace_runtime(&runtime_);
    launch_.ranks = std::accumulate(hosts_.begin(), hosts_.end(), 0);
    launch_.config.gpu = "on";
    launch_.config.topology_file = machine_.path();
    if (hosts_.size() > 1) launch_.config.hierarchy_file = hierarchy_.path();
  }
  ~Job() { device::replace_runtime(nullptr); }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  Config& config() { return launch_.config; }
  Session& session() { return session_; }
  device::Runtime& runtime() { return runtime_; }
  // Host and GPU of a rank.
  std::pair<int, int> seat(int rank) const {
    int host = 0;
    while (rank >= hosts_[static_cast<std::size_t>(host)]) rank -= hosts_[static_cast<std::size_t>(host++)];
    return {host, one_gpu ? 0 : rank};
  }
  bool one_host() const { return hosts_.size() == 1; }
  bool one_gpu = false;  // for all ranks of a host

  // The bodies of all ranks, each on its thread, host and GPU.
  std::string run(const Body& body) {
    return run_threads(launch_, [&](Comm& c) {
      session_.enter_host(seat(c.rank()).first);
      runtime_.cuda.set_device(seat(c.rank()).second);
      body(c);
    });
  }
  // All ranks, apart from the library: what one of them does next must not meet the others in what they did before.
  void meet() { together_.arrive_and_wait(); }
  void expect_clean() {
    for (const std::string& line : session_.finish()) ADD_FAILURE() << line;
  }

 private:
  gpu_double::Options with_devices(gpu_double::Options o) const {
    o.hosts = static_cast<int>(hosts_.size());
    o.devices_per_host = gpus_of_a_host;
    o.seed = test_seed();
    return o;
  }

  std::vector<int> hosts_;
  std::barrier<> together_{std::accumulate(hosts_.begin(), hosts_.end(), 0)};
  Session session_;
  File hierarchy_, machine_;
  device::Runtime runtime_;
  Launch launch_;
};

// A number in the memory of the current GPU.
class Number {
 public:
  Number(const device::Runtime& r, std::int64_t value) : cuda_(r.cuda), memory_(r.cuda, sizeof value) { set(value); }
  void set(std::int64_t value) { move(memory_.data(), &value, cuda::CopyKind::host_to_device); }
  std::int64_t get() const {
    std::int64_t value = 0;
    move(&value, memory_.data(), cuda::CopyKind::device_to_host);
    return value;
  }
  void* at() { return memory_.data(); }

 private:
  void move(void* to, const void* from, cuda::CopyKind kind) const {
    device::Stream stream(cuda_);
    device::require(cuda_, cuda_.memcpy_async(to, from, sizeof(std::int64_t), kind, stream.get()), "cudaMemcpyAsync");
    device::require(cuda_, cuda_.stream_synchronize(stream.get()), "cudaStreamSynchronize");
  }
  const cuda::Table& cuda_;
  device::Memory memory_;
};

inline std::int64_t sum_to(int n) { return std::int64_t{n} * (n + 1) / 2; }

inline void expect_sum(Comm& c, const device::Runtime& r, const CallOptions& o = {}) {
  Number x(r, c.rank() + 1), y(r, -1);
  c.allreduce(x.at(), y.at(), 1, DType::i64, Op::sum, o);
  if (o.stream.given) r.cuda.stream_synchronize(static_cast<cuda::Stream>(o.stream.handle));
  EXPECT_EQ(y.get(), sum_to(c.size()));
}

// How a call ended: nothing if well. No call may end by waiting for too long.
inline std::optional<Errc> end_of(const std::function<void()>& call) {
  try {
    call();
    return {};
  } catch (const Error& e) {
    EXPECT_NE(e.code(), Errc::timeout) << e.what();
    return e.code();
  }
}

}  // namespace libcoll::test
