// What comes after what: on streams, on the host, and in memory that is given back.
#include <gtest/gtest.h>

#include <c10/core/StreamGuard.h>

#include <thread>

#include "group.hpp"

namespace libcoll::test {
namespace {

using namespace std::chrono_literals;

class CudaStreams : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, CudaStreams, testing::Values(2, 3, 4));

at::Tensor ones(const Rank& r, std::int64_t count) {
  at::Tensor t = blank(r.gpu, {count}, at::kFloat);
  t.copy_(at::ones({count}));
  return t;
}
bool all_are(const at::Tensor& t, double value) { return t.cpu().to(at::kDouble).eq(value).all().item<bool>(); }
void connect(Rank& r) { r.group->eagerConnectSingleDevice(r.gpu); }
// Adds to each element, on the current stream.
void add(const at::Tensor& t, float x) {
  fake_cuda::launch(t, [seen = fake_cuda::as_seen_by_kernels(t), x] { at::Tensor(seen).add_(x); });
}

// Another rank's stream is held up: nothing can be done, and no host waits for it.
TEST_P(CudaStreams, NoHostWaitsForAStream) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    connect(r);
    for (const bool asynchronous : {false, true}) {
      Tensors t{ones(r, 1000)};
      std::optional<Gate> gate;
      if (r.rank == 1) gate.emplace(r.gpu);
      add(t[0], 1);  // before the call
      const Work work = r.group->allreduce(t, {.asyncOp = asynchronous});
      EXPECT_FALSE(work->isCompleted());
      work->wait();
      const at::Tensor copy = t[0].clone();  // behind it in the current stream
      add(t[0], 1);
      EXPECT_FALSE(work->isCompleted());
      EXPECT_FALSE(work->isSuccess());
      r.meet();
      if (gate) gate->open();
      EXPECT_TRUE(all_are(copy, 2 * r.size));
      EXPECT_TRUE(all_are(t[0], 2 * r.size + 1));
      work->wait(30s);
      EXPECT_TRUE(work->isCompleted() && work->isSuccess());
      EXPECT_GE(work->getDuration(), 0);
      r.meet();
    }
  }), "");
}

TEST_P(CudaStreams, BlockingTheCurrentStreamOrders) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    connect(r);
    std::optional<Gate> gate;
    Tensors t{ones(r, 1000)};
    if (r.rank == 1) gate.emplace(r.gpu);
    const Work work = r.group->allreduce(t);
    work->blockCurrentStream();
    add(t[0], 1);
    EXPECT_FALSE(work->isCompleted());
    r.meet();
    if (gate) gate->open();
    EXPECT_TRUE(all_are(t[0], r.size + 1));
  }), "");
}

// One that waits for its GPU holds up those behind it to the same rank with the same tag, and no others.
TEST_P(CudaStreams, MessagesPassOneThatWaitsForItsGpu) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    Tensors one{at::ones({4})}, two{at::full({4}, 2.0f)}, from_gpu{ones(r, 4)};
    if (r.rank == 0) {
      Gate gate(r.gpu);
      const Work waits = r.group->send(from_gpu, 1, 1), behind = r.group->send(two, 1, 1), passes = r.group->send(one, 1, 2);
      passes->wait();
      r.meet();
      EXPECT_FALSE(waits->isCompleted());
      EXPECT_FALSE(behind->isCompleted());
      gate.open();
      waits->wait();
      behind->wait();
    } else if (r.rank == 1) {
      Tensors first{at::zeros({4})}, second{at::zeros({4})}, other{at::zeros({4})};
      r.group->recv(other, 0, 2)->wait();
      r.meet();
      r.group->recv(first, 0, 1)->wait();
      r.group->recv(second, 0, 1)->wait();
      EXPECT_TRUE(all_are(other[0], 1));
      EXPECT_TRUE(all_are(first[0], 1));
      EXPECT_TRUE(all_are(second[0], 2));
    } else {
      r.meet();
    }
  }), "");
}

// The group's first call on a GPU waits for all ranks: also for one that waits for a message first.
TEST_P(CudaStreams, MessagesLeaveBeforeACallThatWaits) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    Tensors x{ones(r, 4)}, y{ones(r, 4)};
    if (r.rank == 0) {
      Gate gate(r.gpu);
      std::thread later([&gate] {
        std::this_thread::sleep_for(100ms);
        gate.open();
      });
      r.group->send(x, 1, 0);
      r.group->allreduce(y)->wait();
      later.join();
    } else {
      if (r.rank == 1) r.group->recv(x, 0, 0)->wait(30s);
      r.group->allreduce(y)->wait();
    }
    EXPECT_TRUE(all_are(y[0], r.size));
  }), "");
}

TEST_P(CudaStreams, MessagesDoNotWaitForEverForTheirGpu) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    Tensors x{ones(r, 4)};
    Gate gate(r.gpu);
    const Work work = r.group->send(x, (r.rank + 1) % r.size, 0);
    try {
      work->wait();
      ADD_FAILURE() << "it waited for nothing";
    } catch (const std::exception& e) {
      EXPECT_NE(std::string(e.what()).find("what is before it on its GPU did not end in 300 ms"), std::string::npos) << e.what();
    }
    gate.open();
  }, 300ms), "");
}

// What follows an asynchronous call in the caller's stream is beside it.
TEST_P(CudaStreams, AsynchronousCallsAreAside) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    connect(r);
    std::optional<Gate> gate;
    const at::Tensor other = ones(r, 10);
    Tensors t{ones(r, 10)};
    if (r.rank == 0) {
      const c10::StreamGuard guard(fake_cuda::own_stream(0, 1));
      gate.emplace(r.gpu);
      r.group->allreduce(t);
    } else {
      r.group->allreduce(t);
    }
    add(other, 1);
    EXPECT_TRUE(all_are(other, 2));  // waits for the current stream
    r.meet();
    if (gate) gate->open();
    r.group->barrier()->wait();
    EXPECT_TRUE(all_are(t[0], r.size));
  }), "");
}

TEST_P(CudaStreams, AWaitWithATimeoutWaitsOnTheHost) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    connect(r);
    Tensors t{ones(r, 10)};
    std::optional<Gate> gate;
    if (r.rank == 0) gate.emplace(r.gpu);
    const Work work = r.group->allreduce(t);
    EXPECT_THROW(work->wait(50ms), c10::DistBackendError);
    r.meet();
    if (gate) gate->open();
    work->wait(30s);
    EXPECT_TRUE(work->isCompleted());
    EXPECT_TRUE(all_are(t[0], r.size));
  }), "");
}

TEST_P(CudaStreams, FuturesRunCallbacksBehindTheResult) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    connect(r);
    Tensors t{ones(r, 100)};
    std::optional<Gate> gate;
    if (r.rank == 1) gate.emplace(r.gpu);
    const Work work = r.group->allreduce(t);
    const auto future = work->getFuture();
    EXPECT_TRUE(future->completed());  // it is on its way
    const auto doubled = future->then(
        [](c10::ivalue::Future& f) {
          const at::Tensor result = f.value().toTensorVector()[0].mul(2);
          return c10::IValue(std::vector<at::Tensor>{result});
        },
        future->elementType());
    r.meet();
    if (gate) gate->open();
    doubled->wait();
    EXPECT_TRUE(all_are(doubled->value().toTensorVector()[0], 2 * r.size));

    // A message's is marked once the data are here.
    Tensors from{ones(r, 100)}, to{blank(r.gpu, {100}, at::kFloat)};
    const Work received = r.group->recv(to, (r.rank + 1) % r.size, 0);
    const auto arrival = received->getFuture();
    const auto more = arrival->then([](c10::ivalue::Future& f) { return c10::IValue(std::vector<at::Tensor>{f.value().toTensorVector()[0].mul(3)}); }, arrival->elementType());
    r.group->send(from, (r.rank + r.size - 1) % r.size, 0)->wait();
    more->wait();
    EXPECT_TRUE(all_are(more->value().toTensorVector()[0], 3));
  }), "");
}

TEST_P(CudaStreams, ABatchIsDoneWhenAllOfItIs) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    connect(r);
    Tensors t{ones(r, 100)}, from{ones(r, 100)}, to{blank(r.gpu, {100}, at::kFloat)};
    r.group->startCoalescing();
    r.group->send(from, (r.rank + 1) % r.size, 0);
    r.group->recv(to, (r.rank + r.size - 1) % r.size, 0);
    r.group->allreduce(t);
    const auto future = r.group->endCoalescing()->getFuture();
    const auto sum = future->then(
        [](c10::ivalue::Future& f) {
          const auto all = f.value().toTensorVector();
          return c10::IValue(std::vector<at::Tensor>{at::cat({all[1], all[2]})});
        },
        future->elementType());
    sum->wait();
    const at::Tensor got = sum->value().toTensorVector()[0];
    EXPECT_TRUE(all_are(got.narrow(0, 0, 100), 1));
    EXPECT_TRUE(all_are(got.narrow(0, 100, 100), r.size));
  }), "");
}

// The caller drops its tensors at once, and their memory is taken by others.
TEST_P(CudaStreams, TensorsLiveUntilTheStreamIsDoneWithThem) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    connect(r);
    for (int i = 0; i < 20; ++i) {
      Tensors result{blank(r.gpu, {500 * r.size}, at::kFloat)};
      Work gathered, work;
      {
        at::Tensor from = ones(r, 500);
        gathered = r.group->_allgather_base(result[0], from);
        Tensors t{numbers(r, r.gpu, 500, at::kFloat, 0, true)};
        work = r.group->allreduce(t);
      }
      if (i % 2 == 0) work.reset();
      for (int k = 0; k < 3; ++k) add(blank(r.gpu, {500}, at::kFloat), 7);
      gathered->wait();
      EXPECT_TRUE(all_are(result[0], 1));
    }
    r.group->barrier()->wait();
  }), "");
}

// Waiting on another stream says nothing about the one that the memory is of.
TEST_P(CudaStreams, TensorsLiveOnWhenAnotherStreamWaits) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    connect(r);
    const c10::Stream other = fake_cuda::own_stream(r.rank, 2);
    for (int i = 0; i < 10; ++i) {
      std::optional<Gate> gate;
      at::Tensor result = blank(r.gpu, {500 * r.size}, at::kFloat);
      Work work;
      {
        c10::OptionalStreamGuard guard;
        if (r.rank == 0) guard.reset_stream(fake_cuda::own_stream(0, 1));
        at::Tensor from = ones(r, 500);
        if (r.rank == 0) gate.emplace(r.gpu);
        work = r.group->_allgather_base(result, from, {.asyncOp = true});
      }
      {
        const c10::StreamGuard guard(other);
        work->wait();
      }
      for (int k = 0; k < 3; ++k) add(blank(r.gpu, {500}, at::kFloat), 7);
      if (gate) gate->open();
      work->wait(30s);
      EXPECT_TRUE(all_are(result, 1));
    }
  }), "");
}

TEST_P(CudaStreams, CollectivesOfCpuAndGpuBeginInOneOrder) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    std::vector<Work> works;
    std::vector<Tensors> all;
    for (int i = 0; i < 100; ++i) {
      const bool on_gpu = (i * i) % 3 != 0;
      all.push_back({numbers(r, on_gpu ? r.gpu : at::Device(at::kCPU), 50, at::kFloat, i)});
      works.push_back(r.group->allreduce(all.back(), {.asyncOp = i % 5 != 0}));
    }
    for (const Work& w : works) w->wait();
    for (std::size_t i = 0; i < all.size(); ++i) {
      at::Tensor want = at::zeros({50});
      for (int k = 0; k < r.size; ++k) want += numbers({k, r.size, r.gpu, {}, {}, {}}, at::kCPU, 50, at::kFloat, static_cast<std::int64_t>(i));
      EXPECT_TRUE(all[i][0].cpu().equal(want)) << "call " << i << " on rank " << r.rank;
    }
    EXPECT_EQ(r.group->getSequenceNumberForGroup(), 100u);
  }), "");
}

TEST_P(CudaStreams, ABarrierIsBehindTheStream) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    connect(r);
    std::optional<Gate> gate;
    if (r.rank == 0) gate.emplace(r.gpu);
    const Work work = r.group->barrier();
    std::this_thread::sleep_for(30ms);
    EXPECT_FALSE(work->isCompleted());
    r.meet();
    if (gate) gate->open();
    work->wait();
    EXPECT_TRUE(work->isSuccess());
  }), "");
}

// A message leaves once the stream has brought the data, and the host does not wait for that.
TEST_P(CudaStreams, MessagesAreBehindTheStream) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    connect(r);
    Tensors from{ones(r, 1000)}, to{blank(r.gpu, {1000}, at::kFloat)};
    Gate gate(r.gpu);
    add(from[0], static_cast<float>(r.rank));
    const Work sent = r.group->send(from, (r.rank + 1) % r.size, 3);
    const Work received = r.group->recv(to, (r.rank + r.size - 1) % r.size, 3);
    std::this_thread::sleep_for(10ms);
    EXPECT_FALSE(received->isCompleted());
    r.meet();
    gate.open();
    received->wait();
    sent->wait();

    // Nor does the host wait for the stream before a message may arrive.
    Tensors late{ones(r, 10)}, here{blank(r.gpu, {10}, at::kFloat)};
    const Work leaves = r.group->send(late, (r.rank + 1) % r.size, 4);
    leaves->wait();
    Gate second(r.gpu);
    const Work arrives = r.group->recv(here, (r.rank + r.size - 1) % r.size, 4);
    arrives->wait();
    r.meet();
    second.open();
    EXPECT_TRUE(all_are(here[0], 1));
    EXPECT_TRUE(all_are(to[0], 1 + (r.rank + r.size - 1) % r.size));
  }), "");
}

TEST_P(CudaStreams, CallsAreCapturedAndReplayed) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    connect(r);
    const cuda::Table& cuda = fake_cuda::table();
    const auto ok = [](cuda::Error e) { fake_cuda::require(e, "of a graph"); };
    const c10::Stream stream = fake_cuda::own_stream(r.rank, 2);
    Tensors t{ones(r, 10)}, u{ones(r, 10)};
    fake_cuda::synchronize(r.rank);
    cuda::Graph graph = nullptr;
    cuda::GraphExec exec = nullptr;
    {
      const c10::StreamGuard guard(stream);
      ok(cuda.stream_begin_capture(fake_cuda::handle_of(stream), cuda::CaptureMode::thread_local_only));
      r.group->allreduce(t, {.asyncOp = false})->wait();
      const Work aside = r.group->allreduce(u);
      EXPECT_THROW(r.group->send(t, (r.rank + 1) % r.size, 0), c10::Error);
      EXPECT_THROW(r.group->barrier(), c10::Error);
      aside->wait();
      ok(cuda.stream_end_capture(fake_cuda::handle_of(stream), &graph));
      ok(cuda.graph_instantiate(&exec, graph, 0));
      for (int i = 0; i < 2; ++i) ok(cuda.graph_launch(exec, fake_cuda::handle_of(stream)));
      ok(cuda.stream_synchronize(fake_cuda::handle_of(stream)));
    }
    EXPECT_TRUE(all_are(t[0], r.size * r.size));
    EXPECT_TRUE(all_are(u[0], r.size * r.size));
    ok(cuda.graph_exec_destroy(exec));
    ok(cuda.graph_destroy(graph));
  }), "");
}

TEST(CudaStreams, ASplitGroupHasItsOwn) {
  EXPECT_EQ(run_ranks(4, [](Rank& r) {
    connect(r);
    const std::vector<int> ranks = r.rank < 2 ? std::vector{0, 1} : std::vector{3, 2};
    auto options = c10::make_intrusive<c10d::Backend::Options>(torch_door::backend_name, 60s);
    options->group_name = "half";
    const auto half = r.group->split(r.store, ranks, options);
    Tensors t{ones(r, 10)};
    half->allreduce(t)->wait();
    r.group->allreduce(t)->wait();
    EXPECT_TRUE(all_are(t[0], 8));
    EXPECT_EQ(half->getSize(), 2);
  }), "");
}

}  // namespace
}  // namespace libcoll::test
