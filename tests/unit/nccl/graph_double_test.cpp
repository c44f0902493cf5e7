// The double's stream capture: what is recorded, what may be done meanwhile, replay, collectives in graphs.
#include "tests/unit/nccl/support.hpp"

namespace libcoll::test {
namespace {

using cuda::CaptureMode;
using cuda::CaptureStatus;
using cuda::Error;

struct GraphDouble : ::testing::Test {
  GraphDouble() {
    EXPECT_CUDA(cuda.stream_create_with_flags(&a, cuda::stream_non_blocking));
    EXPECT_CUDA(cuda.stream_create_with_flags(&b, cuda::stream_non_blocking));
    EXPECT_CUDA(cuda.event_create_with_flags(&fork, 0));
    EXPECT_CUDA(cuda.event_create_with_flags(&join, 0));
    void* p = nullptr;
    EXPECT_CUDA(cuda.malloc(&p, 64));
    memory = static_cast<unsigned char*>(p);
    EXPECT_CUDA(cuda.memset_async(memory, 0, 64, a));
    EXPECT_CUDA(cuda.stream_synchronize(a));
  }
  ~GraphDouble() override {
    EXPECT_CUDA(cuda.free(memory));
    EXPECT_CUDA(cuda.event_destroy(fork));
    EXPECT_CUDA(cuda.event_destroy(join));
    EXPECT_CUDA(cuda.stream_destroy(a));
    EXPECT_CUDA(cuda.stream_destroy(b));
    expect_clean(session);
  }
  CaptureStatus status(cuda::Stream s) {
    CaptureStatus out = CaptureStatus::none;
    EXPECT_CUDA(cuda.stream_is_capturing(s, &out));
    return out;
  }
  void expect_end(Error expected) {
    cuda::Graph g = nullptr;
    EXPECT_EQ(cuda.stream_end_capture(a, &g), expected);
    EXPECT_EQ(g, nullptr);
    EXPECT_EQ(status(a), CaptureStatus::none);
    EXPECT_EQ(status(b), CaptureStatus::none);
  }
  int read(std::size_t i) {
    unsigned char v = 0;
    EXPECT_CUDA(cuda.memcpy_async(&v, memory + i, 1, cuda::CopyKind::device_to_host, a));
    EXPECT_CUDA(cuda.stream_synchronize(a));
    return v;
  }
  Session session;
  const cuda::Table& cuda = session.cuda();
  cuda::Stream a = nullptr, b = nullptr;
  cuda::Event fork = nullptr, join = nullptr;
  unsigned char* memory = nullptr;
};

TEST_F(GraphDouble, CaptureRunsNothingAndReplaysWork) {
  EXPECT_CUDA(cuda.stream_begin_capture(a, CaptureMode::global));
  EXPECT_EQ(status(a), CaptureStatus::active);
  EXPECT_CUDA(cuda.memset_async(memory, 1, 1, a));
  EXPECT_CUDA(cuda.event_record(fork, a));
  EXPECT_CUDA(cuda.stream_wait_event(b, fork, 0));
  EXPECT_EQ(status(b), CaptureStatus::active);
  EXPECT_CUDA(cuda.memcpy_async(memory + 1, memory, 1, cuda::CopyKind::device_to_device, b));
  EXPECT_CUDA(cuda.event_record(join, b));
  EXPECT_CUDA(cuda.stream_wait_event(a, join, 0));
  EXPECT_CUDA(cuda.memcpy_async(memory + 2, memory + 1, 1, cuda::CopyKind::device_to_device, a));
  cuda::Graph graph = nullptr;
  EXPECT_CUDA(cuda.stream_end_capture(a, &graph));
  cuda::GraphExec exec = nullptr;
  EXPECT_CUDA(cuda.graph_instantiate(&exec, graph, 0));
  EXPECT_CUDA(cuda.graph_destroy(graph));
  EXPECT_EQ(read(0) + read(1) + read(2), 0);
  for (int round = 0; round < 3; ++round) {
    EXPECT_CUDA(cuda.graph_launch(exec, b));
    EXPECT_CUDA(cuda.stream_synchronize(b));
    EXPECT_EQ(read(2), 1);
    EXPECT_CUDA(cuda.memset_async(memory, 0, 3, a));
    EXPECT_CUDA(cuda.stream_synchronize(a));
  }
  EXPECT_CUDA(cuda.graph_exec_destroy(exec));
}

TEST_F(GraphDouble, WhatSynchronizesInvalidates) {
  EXPECT_CUDA(cuda.stream_begin_capture(a, CaptureMode::global));
  EXPECT_EQ(cuda.stream_synchronize(a), Error::stream_capture_unsupported);
  EXPECT_EQ(status(a), CaptureStatus::invalidated);
  EXPECT_EQ(cuda.memset_async(memory, 1, 1, a), Error::stream_capture_invalidated);
  expect_end(Error::stream_capture_invalidated);

  EXPECT_CUDA(cuda.stream_begin_capture(a, CaptureMode::global));
  EXPECT_CUDA(cuda.event_record(fork, a));
  EXPECT_EQ(cuda.event_query(fork), Error::captured_event);
  expect_end(Error::stream_capture_invalidated);

  EXPECT_CUDA(cuda.event_record(join, b));  // work outside
  EXPECT_CUDA(cuda.stream_begin_capture(a, CaptureMode::global));
  EXPECT_EQ(cuda.stream_wait_event(a, join, 0), Error::stream_capture_isolation);
  expect_end(Error::stream_capture_invalidated);
}

TEST_F(GraphDouble, UnjoinedStreams) {
  EXPECT_CUDA(cuda.stream_begin_capture(a, CaptureMode::global));
  EXPECT_CUDA(cuda.event_record(fork, a));
  EXPECT_CUDA(cuda.stream_wait_event(b, fork, 0));
  EXPECT_CUDA(cuda.event_record(join, b));
  EXPECT_CUDA(cuda.memset_async(memory, 1, 1, b));  // after what is joined
  EXPECT_CUDA(cuda.stream_wait_event(a, join, 0));
  cuda::Graph g = nullptr;
  EXPECT_EQ(cuda.stream_end_capture(b, &g), Error::stream_capture_unmatched);
  expect_end(Error::stream_capture_unjoined);
}

TEST_F(GraphDouble, AllocationDependsOnTheMode) {
  void* p = nullptr;
  EXPECT_CUDA(cuda.stream_begin_capture(a, CaptureMode::relaxed));
  EXPECT_CUDA(cuda.malloc(&p, 8));
  EXPECT_CUDA(cuda.free(p));
  cuda::Graph g = nullptr;
  EXPECT_CUDA(cuda.stream_end_capture(a, &g));
  EXPECT_CUDA(cuda.graph_destroy(g));

  EXPECT_CUDA(cuda.stream_begin_capture(a, CaptureMode::thread_local_only));
  std::thread([&] { EXPECT_CUDA(cuda.malloc(&p, 8)); EXPECT_CUDA(cuda.free(p)); }).join();
  CaptureMode mode = CaptureMode::relaxed;
  EXPECT_CUDA(cuda.thread_exchange_capture_mode(&mode));
  EXPECT_EQ(mode, CaptureMode::global);
  EXPECT_CUDA(cuda.malloc(&p, 8));
  EXPECT_CUDA(cuda.free(p));
  EXPECT_CUDA(cuda.thread_exchange_capture_mode(&mode));
  std::thread([&] { EXPECT_EQ(cuda.stream_end_capture(a, &g), Error::stream_capture_wrong_thread); }).join();
  EXPECT_EQ(cuda.malloc(&p, 8), Error::stream_capture_unsupported);
  expect_end(Error::stream_capture_invalidated);

  EXPECT_CUDA(cuda.stream_begin_capture(a, CaptureMode::global));
  std::thread([&] { EXPECT_EQ(cuda.malloc(&p, 8), Error::stream_capture_unsupported); }).join();
  expect_end(Error::stream_capture_invalidated);
}

TEST_F(GraphDouble, DefaultStream) {
  EXPECT_EQ(cuda.stream_begin_capture(nullptr, CaptureMode::global), Error::stream_capture_unsupported);
  cuda::Stream blocking = nullptr;
  EXPECT_CUDA(cuda.stream_create_with_flags(&blocking, 0));
  EXPECT_CUDA(cuda.stream_begin_capture(blocking, CaptureMode::relaxed));
  EXPECT_EQ(cuda.memset_async(memory, 0, 1, nullptr), Error::stream_capture_implicit);
  cuda::Graph g = nullptr;
  EXPECT_EQ(cuda.stream_end_capture(blocking, &g), Error::stream_capture_invalidated);
  EXPECT_CUDA(cuda.stream_destroy(blocking));
}

TEST(GraphDoubleCollectives, Replay) {
  constexpr int n = 3;
  Session session(devices(n));
  run_ranks(session, n, [](GpuRank& g) {
    int* x = g.put<int>({g.rank + 1, 10});
    int* y = g.put<int>({0, 0});
    const int right = (g.rank + 1) % n, left = (g.rank + n - 1) % n;
    EXPECT_CUDA(g.cuda.stream_begin_capture(g.stream, CaptureMode::thread_local_only));
    EXPECT_NCCL(g.nccl.all_reduce(x, x, 2, nccl::Type::i32, nccl::RedOp::sum, g.comm, g.stream));
    EXPECT_NCCL(g.nccl.group_start());
    EXPECT_NCCL(g.nccl.send(x, 2, nccl::Type::i32, right, g.comm, g.stream));
    EXPECT_NCCL(g.nccl.recv(y, 2, nccl::Type::i32, left, g.comm, g.stream));
    EXPECT_NCCL(g.nccl.group_end());
    cuda::Graph graph = nullptr;
    cuda::GraphExec exec = nullptr;
    EXPECT_CUDA(g.cuda.stream_end_capture(g.stream, &graph));
    EXPECT_CUDA(g.cuda.graph_instantiate(&exec, graph, 0));
    EXPECT_EQ(g.get(x, 2), (std::vector<int>{g.rank + 1, 10}));
    for (int round = 0; round < 3; ++round) EXPECT_CUDA(g.cuda.graph_launch(exec, g.stream));
    EXPECT_EQ(g.get(y, 2), (std::vector<int>{6 * 9, 10 * 27}));
    EXPECT_CUDA(g.cuda.graph_destroy(graph));
    EXPECT_CUDA(g.cuda.graph_exec_destroy(exec));
  });
  expect_clean(session);
}

TEST(GraphDoubleCollectives, CommunicatorDestroyedBeforeTheGraph) {
  Session session(devices(1));
  run_ranks(session, 1, [](GpuRank& g) {
    int* x = g.put<int>({1});
    EXPECT_CUDA(g.cuda.stream_begin_capture(g.stream, CaptureMode::thread_local_only));
    EXPECT_NCCL(g.nccl.all_reduce(x, x, 1, nccl::Type::i32, nccl::RedOp::sum, g.comm, g.stream));
    cuda::Graph graph = nullptr;
    cuda::GraphExec exec = nullptr;
    EXPECT_CUDA(g.cuda.stream_end_capture(g.stream, &graph));
    EXPECT_CUDA(g.cuda.graph_instantiate(&exec, graph, 0));
    EXPECT_CUDA(g.cuda.graph_destroy(graph));
    EXPECT_NCCL(g.nccl.comm_destroy(std::exchange(g.comm, nullptr)));
    EXPECT_EQ(g.cuda.graph_launch(exec, g.stream), Error::launch_failure);
    EXPECT_CUDA(g.cuda.graph_exec_destroy(exec));
    EXPECT_EQ(g.cuda.graph_launch(exec, g.stream), Error::invalid_resource_handle);
  });
  expect_reports(session.finish(), "after its destruction");
}

}  // namespace
}  // namespace libcoll::test
