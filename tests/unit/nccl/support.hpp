// Ranks as threads on the double: each with a device, a communicator of all, a stream and its memory.
#pragma once

#include <gtest/gtest.h>

#include <barrier>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/gpu_double/gpu_double.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {

using gpu_double::Session;

// Expressions, unlike EXPECT_EQ: usable in branches and loops without braces.
#define EXPECT_CUDA(call) ::libcoll::test::expect_zero(static_cast<int>(call), #call, __FILE__, __LINE__)
#define EXPECT_NCCL(call) EXPECT_CUDA(call)
inline void expect_zero(int code, const char* call, const char* file, int line) {
  if (code != 0) ADD_FAILURE_AT(file, line) << call << " returned " << code;
}

inline gpu_double::Options devices(int n, std::uint64_t seed = 1) {
  gpu_double::Options o;
  o.devices_per_host = n;
  o.seed = seed;
  return o;
}

// One rank. Frees what it allocated and destroys its communicator, unless the body did.
struct GpuRank {
  GpuRank(Session& s, int rank_, int size_, const nccl::UniqueId& id) : session(s), cuda(s.cuda()), nccl(s.nccl()), rank(rank_), size(size_) {
    EXPECT_CUDA(cuda.set_device(rank));
    nccl::Config config;
    EXPECT_NCCL(nccl.comm_init_rank_config(&comm, size, id, rank, &config));
    EXPECT_CUDA(cuda.stream_create_with_flags(&stream, cuda::stream_non_blocking));
  }
  GpuRank(const GpuRank&) = delete;
  GpuRank& operator=(const GpuRank&) = delete;
  ~GpuRank() {
    if (stream) cuda.stream_synchronize(stream), cuda.stream_destroy(stream);
    for (void* p : memory) cuda.free(p);
    if (comm) nccl.comm_destroy(comm);
  }
  void* allocate(std::size_t bytes) {
    void* p = nullptr;
    EXPECT_CUDA(cuda.malloc(&p, bytes));
    if (p) memory.push_back(p);
    return p;
  }
  void upload(void* to, const Bytes& from) {
    EXPECT_CUDA(cuda.memcpy_async(to, from.data(), from.size(), cuda::CopyKind::automatic, stream));
    EXPECT_CUDA(cuda.stream_synchronize(stream));
  }
  Bytes download(const void* from, std::size_t bytes) {
    Bytes out(bytes);
    EXPECT_CUDA(cuda.memcpy_async(out.data(), from, bytes, cuda::CopyKind::automatic, stream));
    EXPECT_CUDA(cuda.stream_synchronize(stream));
    return out;
  }
  template <class T>
  T* put(const std::vector<T>& values) {
    auto* p = static_cast<T*>(allocate(values.size() * sizeof(T)));
    EXPECT_CUDA(cuda.memcpy_async(p, values.data(), values.size() * sizeof(T), cuda::CopyKind::host_to_device, stream));
    EXPECT_CUDA(cuda.stream_synchronize(stream));
    return p;
  }
  template <class T>
  std::vector<T> get(const T* from, std::size_t count) {
    std::vector<T> out(count);
    EXPECT_CUDA(cuda.memcpy_async(out.data(), from, count * sizeof(T), cuda::CopyKind::device_to_host, stream));
    EXPECT_CUDA(cuda.stream_synchronize(stream));
    return out;
  }
  // Once the error of others has come; by polling, as an application does.
  nccl::Code await_error() {
    nccl::Code code = nccl::Code::success;
    while (nccl.comm_get_async_error(comm, &code) == nccl::Code::success && (code == nccl::Code::success || code == nccl::Code::in_progress))
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return code;
  }

  Session& session;
  const cuda::Table& cuda;
  const nccl::Table& nccl;
  int rank, size;
  nccl::Comm comm = nullptr;
  cuda::Stream stream = nullptr;
  std::vector<void*> memory;
};

inline void run_ranks(Session& session, int n, const std::function<void(GpuRank&)>& body) {
  nccl::UniqueId id;
  EXPECT_NCCL(session.nccl().get_unique_id(&id));
  // A body may break the communicator while a slow thread has not returned from making it.
  std::barrier<> made(n);
  std::vector<std::thread> threads;
  for (int r = 0; r < n; ++r)
    threads.emplace_back([&, r] {
      GpuRank rank(session, r, n, id);
      made.arrive_and_wait();
      body(rank);
    });
  for (auto& t : threads) t.join();
}

inline void expect_clean(Session& session) {
  for (const std::string& line : session.finish()) ADD_FAILURE() << line;
}

// One report, and only such, that contains the text; anything else is a failure.
inline void expect_reports(const std::vector<std::string>& reports, const std::string& text) {
  EXPECT_FALSE(reports.empty()) << "nothing reported: " << text;
  for (const std::string& line : reports) EXPECT_NE(line.find(text), std::string::npos) << line << "\n  instead of: " << text;
}

}  // namespace libcoll::test
