// What goes wrong around collectives on GPU memory, on the double: errors of NCCL and CUDA, ranks that give up, arguments
// that one rank refuses, settings that differ, ends of communicators. Nobody may hang: an Error{timeout} is a failure too.
#include <gtest/gtest.h>

#include <barrier>
#include <thread>

#include "tests/device/device_body.hpp"
#include "tests/device/double_job.hpp"

namespace libcoll::test {

namespace {

void expect_closed(Comm& c, const device::Runtime& r) {
  Number x(r, 1);
  std::int64_t here = 1;
  device::Stream stream(r.cuda);
  for (const CallOptions& o : {CallOptions{}, CallOptions{.memory = Memory::device}, CallOptions{.stream = stream.get()}, CallOptions{.algorithm = "staged"}})
    EXPECT_EQ(end_of([&] { c.allreduce(in_place, x.at(), 1, DType::i64, Op::sum, o); }), Errc::closed);
  EXPECT_EQ(end_of([&] { c.allreduce(in_place, &here, 1, DType::i64, Op::sum, {.memory = Memory::host}); }), Errc::closed);
}

class DeviceFaults : public testing::TestWithParam<std::vector<int>> {};
INSTANTIATE_TEST_SUITE_P(Shapes, DeviceFaults, testing::Values(std::vector{3}, std::vector{4}, std::vector{1, 1}, std::vector{2, 2}, std::vector{2, 3, 1}, std::vector{3, 3, 3}));

class DeviceFaultsOfTwo : public testing::TestWithParam<std::vector<int>> {};
INSTANTIATE_TEST_SUITE_P(Shapes, DeviceFaultsOfTwo, testing::Values(std::vector{2}, std::vector{1, 1}));

// -- NCCL.

TEST_P(DeviceFaults, NcclFailsDuringABlockingCall) {
  Job job(GetParam());
  EXPECT_EQ(job.run([&](Comm& c) {
    expect_sum(c, job.runtime());
    job.meet();
    Number x(job.runtime(), 1);
    // The others wait for this rank inside of the call.
    if (c.rank() == 0) {
      EXPECT_TRUE(job.session().inject_error_at(0, 0, nccl::Code::unhandled_cuda_error, "injected"));
    }
    EXPECT_NE(end_of([&] { c.allreduce(in_place, x.at(), 1, DType::i64, Op::sum, {.memory = Memory::device}); }), std::nullopt);
    expect_closed(c, job.runtime());
  }), "");
}

TEST_P(DeviceFaults, NcclFailsBehindAStreamedCall) {
  Job job(GetParam());
  std::barrier<> enqueued(std::accumulate(GetParam().begin(), GetParam().end(), 0));
  EXPECT_EQ(job.run([&](Comm& c) {
    expect_sum(c, job.runtime());
    job.meet();
    Number x(job.runtime(), 1);
    device::Stream stream(job.runtime().cuda);
    if (c.rank() != 0) c.allreduce(in_place, x.at(), 1, DType::i64, Op::sum, {.stream = stream.get()});
    enqueued.arrive_and_wait();
    if (c.rank() == 0) {
      EXPECT_TRUE(job.session().inject_error_at(0, 0, nccl::Code::unhandled_cuda_error, "injected"));
    }
    enqueued.arrive_and_wait();
    job.runtime().cuda.stream_synchronize(stream.get());
    EXPECT_NE(end_of([&] { c.allreduce(in_place, x.at(), 1, DType::i64, Op::sum, {.stream = stream.get()}); }), std::nullopt);
    expect_closed(c, job.runtime());
  }), "");
}

TEST_P(DeviceFaults, NcclFailsBetweenCalls) {
  Job job(GetParam());
  std::barrier<> between(std::accumulate(GetParam().begin(), GetParam().end(), 0));
  EXPECT_EQ(job.run([&](Comm& c) {
    expect_sum(c, job.runtime());
    job.meet();
    between.arrive_and_wait();
    if (c.rank() == 0) {
      EXPECT_TRUE(job.session().inject_error_at(0, 0, nccl::Code::unhandled_cuda_error, "injected"));
    }
    between.arrive_and_wait();
    EXPECT_NE(end_of([&] { expect_sum(c, job.runtime()); }), std::nullopt);
    expect_closed(c, job.runtime());
  }), "");
}

// -- A rank stops.

class AbortWhileOthersWait : public testing::TestWithParam<std::tuple<std::vector<int>, const char*>> {};
INSTANTIATE_TEST_SUITE_P(Shapes, AbortWhileOthersWait, testing::Combine(testing::Values(std::vector{2}, std::vector{3}, std::vector{1, 1}, std::vector{2, 3, 1}), testing::Values("nccl", "staged", "host", "agree")));

TEST_P(AbortWhileOthersWait, TheyHearOfIt) {
  Job job(std::get<0>(GetParam()));
  const std::string_view way = std::get<1>(GetParam());
  EXPECT_EQ(job.run([&](Comm& c) {
    expect_sum(c, job.runtime());
    job.meet();
    Number x(job.runtime(), 1);
    std::int64_t here = 1;
    if (c.rank() == 0) c.abort("a test says so");
    else
      EXPECT_NE(end_of([&] {
        if (way == "host") c.allreduce(in_place, &here, 1, DType::i64, Op::sum, {.memory = Memory::host});
        else c.allreduce(in_place, x.at(), 1, DType::i64, Op::sum, {.algorithm = way == "agree" ? std::string_view() : way, .memory = way == "agree" ? Memory::automatic : Memory::device});
      }), std::nullopt);
    expect_closed(c, job.runtime());
  }), "");
}

TEST_P(DeviceFaultsOfTwo, StreamedCallsLearnThatAPeerHasStopped) {
  Job job(GetParam());
  std::barrier<> aborted(2);
  EXPECT_EQ(job.run([&](Comm& c) {
    expect_sum(c, job.runtime());
    job.meet();
    Number x(job.runtime(), 1);
    device::Stream stream(job.runtime().cuda);
    if (c.rank() == 0) c.abort("a test says so");
    aborted.arrive_and_wait();
    if (c.rank() == 1) {
      EXPECT_EQ(end_of([&] { c.allreduce(in_place, x.at(), 1, DType::i64, Op::sum, {.stream = stream.get()}); }), Errc::peer_lost);
    }
    expect_closed(c, job.runtime());
  }), "");
}

// -- Arguments.

// Where ranks agree before the call, the refusal is only that call's.
TEST_P(DeviceFaults, WrongDeviceOfOneRankEndsTheCall) {
  Job job(GetParam());
  EXPECT_EQ(job.run([&](Comm& c) {
    const cuda::Table& cuda = job.runtime().cuda;
    expect_sum(c, job.runtime());
    int mine = 0;
    cuda.get_device(&mine);
    for (const bool both : {true, false}) {
      Number x(job.runtime(), 1);
      cuda.set_device(7);
      Number elsewhere(job.runtime(), 1);
      cuda.set_device(mine);
      void* send = c.rank() == 0 ? elsewhere.at() : x.at();
      const auto end = end_of([&] { c.allreduce(both ? in_place : send, both ? send : x.at(), 1, DType::i64, Op::sum); });
      EXPECT_EQ(end, c.rank() == 0 ? Errc::invalid_argument : Errc::mismatch);
      expect_sum(c, job.runtime());
    }
  }), "");
  job.expect_clean();
}

// Where they do not, NCCL of the others waits for this rank's part.
class RefusedByOneRank : public testing::TestWithParam<std::tuple<std::vector<int>, const char*>> {};
INSTANTIATE_TEST_SUITE_P(Shapes, RefusedByOneRank,
                         testing::Combine(testing::Values(std::vector{2}, std::vector{3}, std::vector{1, 1}, std::vector{2, 2}), testing::Values("device", "host memory", "null", "counts")));

TEST_P(RefusedByOneRank, EndsTheCommunicator) {
  const std::string what = std::get<1>(GetParam());
  for (const bool streamed : {false, true}) {
    Job job(std::get<0>(GetParam()));
    EXPECT_EQ(job.run([&](Comm& c) {
      const cuda::Table& cuda = job.runtime().cuda;
      expect_sum(c, job.runtime());
    job.meet();
      device::Stream stream(cuda);
      CallOptions o{.memory = Memory::device};
      if (streamed) o = {.stream = stream.get()};
      Number x(job.runtime(), 1);
      int mine = 0;
      cuda.get_device(&mine);
      cuda.set_device(7);
      Number elsewhere(job.runtime(), 1);
      cuda.set_device(mine);
      std::int64_t here = 1;
      void* at = c.rank() != 0 ? x.at() : what == "device" ? elsewhere.at() : what == "host memory" ? &here : what == "null" ? nullptr : x.at();
      std::vector<Count> counts(static_cast<std::size_t>(c.size())), displs = counts;
      counts[0] = 1;
      if (what == "counts" && c.rank() == 0) displs[0] = -1;
      const auto call = [&] { what == "counts" ? c.allgatherv(in_place, 0, at, counts, displs, DType::i64, o) : c.allreduce(in_place, at, 1, DType::i64, Op::sum, o); };
      auto end = end_of(call);
      if (streamed && !end) {
        cuda.stream_synchronize(stream.get());
        end = end_of(call);
      }
      if (c.rank() == 0) {
        EXPECT_EQ(end, Errc::invalid_argument);
      }
      else EXPECT_NE(end, std::nullopt);
      expect_closed(c, job.runtime());
    }), "");
  }
}

// Before GPUs have met nobody is inside of NCCL; what must be equal on all ranks is refused by all of them.
TEST_P(DeviceFaults, RefusedByAllRanksLeavesTheCommunicator) {
  Job job(GetParam());
  EXPECT_EQ(job.run([&](Comm& c) {
    device::Stream stream(job.runtime().cuda);
    std::int64_t here = 1;
    EXPECT_EQ(end_of([&] { c.allreduce(in_place, &here, 1, DType::i64, Op::sum, {.stream = stream.get()}); }), Errc::invalid_argument);
    EXPECT_EQ(end_of([&] { c.allreduce(in_place, &here, 1, DType::i64, Op::sum, {.memory = Memory::device}); }), Errc::invalid_argument);
    expect_sum(c, job.runtime());
    Number x(job.runtime(), 1);
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(end_of([&] { c.allreduce(in_place, x.at(), -1, DType::i64, Op::sum, {.stream = stream.get()}); }), Errc::invalid_argument);
      EXPECT_EQ(end_of([&] { c.scan(in_place, x.at(), 1, DType::i64, Op::sum, {.algorithm = "nccl", .stream = stream.get()}); }), Errc::invalid_argument);
      EXPECT_EQ(end_of([&] { c.allreduce(in_place, x.at(), 1, DType::i64, Op::bor, {.algorithm = "nccl", .stream = stream.get()}); }), Errc::invalid_argument);
      EXPECT_EQ(end_of([&] { c.bcast(x.at(), 1, DType::i64, c.size(), {.memory = Memory::device}); }), Errc::invalid_argument);
      expect_sum(c, job.runtime(), {.stream = stream.get()});
    }
  }), "");
  job.expect_clean();
}

TEST_P(DeviceFaultsOfTwo, StartedAndPersistentCallsRefuseGpus) {
  Job job(GetParam());
  EXPECT_EQ(job.run([&](Comm& c) {
    for (int i = 0; i < 2; ++i) {  // before and after GPUs have met
      Number x(job.runtime(), 1);
      device::Stream stream(job.runtime().cuda);
      std::int64_t here = c.rank() + 1;
      EXPECT_EQ(end_of([&] { c.iallreduce(in_place, x.at(), 1, DType::i64, Op::sum).wait(); }), Errc::invalid_argument);
      EXPECT_EQ(end_of([&] { c.iallreduce(in_place, &here, 1, DType::i64, Op::sum, {.stream = stream.get()}).wait(); }), Errc::invalid_argument);
      if (c.rank() == 0) {
        EXPECT_EQ(end_of([&] { c.plan_allreduce(in_place, x.at(), 1, DType::i64, Op::sum); }), Errc::invalid_argument);
      }
      c.iallreduce(in_place, &here, 1, DType::i64, Op::sum).wait();
      EXPECT_EQ(here, sum_to(c.size()));
      expect_sum(c, job.runtime());
    }
  }), "");
  job.expect_clean();
}

TEST_P(DeviceFaultsOfTwo, CaptureOfOneRankAlone) {
  Job job(GetParam());
  EXPECT_EQ(job.run([&](Comm& c) {
    const cuda::Table& cuda = job.runtime().cuda;
    device::Stream stream(cuda);
    Number x(job.runtime(), 1);
    if (c.rank() == 0) device::require(cuda, cuda.stream_begin_capture(stream.get(), cuda::CaptureMode::relaxed), "cudaStreamBeginCapture");
    // Its first call with GPUs: the others meet, but not this rank.
    const auto end = end_of([&] { c.allreduce(in_place, x.at(), 1, DType::i64, Op::sum, {.stream = stream.get()}); });
    EXPECT_EQ(end, c.rank() == 0 ? Errc::invalid_argument : Errc::mismatch);
    cuda::Graph graph = nullptr;
    if (c.rank() == 0) {
      cuda.stream_end_capture(stream.get(), &graph);
      cuda.graph_destroy(graph);
    }
    expect_sum(c, job.runtime(), {.stream = stream.get()});
  }), "");
  job.expect_clean();
}

// -- Settings.

TEST(DeviceFault, OptionsOfGpusInAWorldWithoutThem) {
  Job job({2});
  job.config().gpu = "off";
  EXPECT_EQ(job.run([&](Comm& c) {
    std::int64_t x = c.rank() + 1;
    for (const CallOptions& o : {CallOptions{.memory = Memory::device}, CallOptions{.memory = Memory::mixed}, CallOptions{.stream = nullptr}, CallOptions{.algorithm = "staged"}, CallOptions{.algorithm = "nccl"}})
      EXPECT_EQ(end_of([&] { c.allreduce(in_place, &x, 1, DType::i64, Op::sum, o); }), Errc::invalid_argument);
    c.allreduce(in_place, &x, 1, DType::i64, Op::sum, {.memory = Memory::host});
    EXPECT_EQ(x, sum_to(c.size()));
  }), "");
}

TEST(DeviceFault, GpuOnWithoutCuda) {
  if (device::runtime()) GTEST_SKIP() << "this machine has CUDA";
  Launch launch;
  launch.config.gpu = "on";
  const std::string text = run_threads(launch, [](Comm&) { ADD_FAILURE() << "a world was made"; });
  EXPECT_NE(text.find("LIBCOLL_GPU is on, but"), std::string::npos) << text;
  EXPECT_NE(text.find("rank 1 of 2"), std::string::npos) << text;
}

TEST(DeviceFault, RanksWithDifferentSettings) {
  Job job({2});
  for (const bool overlap : {false, true}) {
    Board board(2);
    std::vector<std::thread> threads;
    for (int r = 0; r < 2; ++r)
      threads.emplace_back([&, r] {
        Config config = quiet_config();
        if (r == 1) (overlap ? config.gpu_overlap : config.gpu) = "off";
        EXPECT_EQ(end_of([&] { Comm::from_callback(r, 2, board.function_for(r), config); }), Errc::mismatch);
      });
    for (auto& t : threads) t.join();
  }
}

// -- CUDA fails on one rank.

thread_local std::string_view failing;
cuda::Table working;  // of the job at hand

void make_fragile(cuda::Table& t) {
  working = t;
  t.host_alloc = [](void** p, std::size_t n, unsigned f) { return failing == "cudaHostAlloc" ? cuda::Error::memory_allocation : working.host_alloc(p, n, f); };
  t.malloc_async = [](void** p, std::size_t n, cuda::Stream s) { return failing == "cudaMallocAsync" ? cuda::Error::memory_allocation : working.malloc_async(p, n, s); };
  t.event_create_with_flags = [](cuda::Event* e, unsigned f) { return failing == "cudaEventCreate" ? cuda::Error::memory_allocation : working.event_create_with_flags(e, f); };
  t.stream_is_capturing = [](cuda::Stream s, cuda::CaptureStatus* c) { return failing == "cudaStreamIsCapturing" ? cuda::Error::invalid_value : working.stream_is_capturing(s, c); };
  t.device_get_pci_bus_id = [](char* to, int n, int d) { return failing == "cudaDeviceGetPCIBusId" ? cuda::Error::invalid_device : working.device_get_pci_bus_id(to, n, d); };
  t.event_query = [](cuda::Event e) { return failing == "cudaEventQuery" ? cuda::Error::launch_failure : working.event_query(e); };
}

class CudaFails : public testing::TestWithParam<std::tuple<std::vector<int>, const char*>> {};
INSTANTIATE_TEST_SUITE_P(Shapes, CudaFails,
                         testing::Combine(testing::Values(std::vector{2}, std::vector{4}, std::vector{2, 2}),
                                          testing::Values("cudaHostAlloc", "cudaMallocAsync", "cudaEventCreate", "cudaStreamIsCapturing", "cudaEventQuery", "staged cudaEventQuery")));

TEST_P(CudaFails, OnOneRankEndsTheCommunicator) {
  const std::string_view what = std::get<1>(GetParam());
  Job job(std::get<0>(GetParam()));
  make_fragile(job.runtime().cuda);
  EXPECT_EQ(job.run([&](Comm& c) {
    expect_sum(c, job.runtime());
    job.meet();
    device::Stream stream(job.runtime().cuda);
    Number x(job.runtime(), 1);
    if (c.rank() == 1) failing = what.substr(what.find("cuda"));
    const auto call = [&] {
      if (what == "cudaHostAlloc" || what.starts_with("staged")) return c.bcast(x.at(), 1, DType::i64, 1, {.algorithm = "staged", .memory = Memory::device});
      if (what == "cudaEventCreate") return c.bcast(x.at(), 1, DType::i64, 1, {.algorithm = "staged", .memory = Memory::device});
      if (what == "cudaStreamIsCapturing") return c.allreduce(in_place, x.at(), 1, DType::i64, Op::sum, {.stream = stream.get()});
      const std::vector<Count> counts(static_cast<std::size_t>(c.size()), 1), displs(counts.size());
      const std::vector<Count> one_each = [&] { auto d = displs; std::iota(d.begin(), d.end(), Count{0}); return d; }();
      const device::Memory all(job.runtime().cuda, 8 * counts.size());
      c.allgatherv(x.at(), 1, all.data(), counts, one_each, DType::i64, {.algorithm = "nccl", .memory = Memory::device});
    };
    auto end = end_of(call);
    if (what == "cudaStreamIsCapturing" && !end) {
      job.runtime().cuda.stream_synchronize(stream.get());
      end = end_of(call);
    }
    // What fails behind the work of NCCL may come too late for the others' call.
    if (what.ends_with("cudaEventQuery") && c.rank() != 1 && !end) end = end_of(call);
    if (c.rank() == 1) {
      EXPECT_EQ(end, Errc::system);
    } else {
      EXPECT_NE(end, std::nullopt);
    }
    failing = {};
    expect_closed(c, job.runtime());
  }), "");
}

TEST_P(DeviceFaults, ARankThatCannotDescribeItsGpuSendsAllThroughHostMemory) {
  Job job(GetParam());
  make_fragile(job.runtime().cuda);
  EXPECT_EQ(job.run([&](Comm& c) {
    if (c.rank() == 1) failing = "cudaDeviceGetPCIBusId";
    expect_sum(c, job.runtime());
    failing = {};
    EXPECT_NE(c.describe().find("rank 1: "), std::string::npos) << c.describe();
    EXPECT_NE(c.describe().find("cudaDeviceGetPCIBusId"), std::string::npos) << c.describe();
    expect_sum(c, job.runtime());
  }), "");
  job.expect_clean();
}

// -- Other settings of a world.

TEST(DeviceFault, WithCheck) {
  Job job({2, 1});
  job.config().check = true;
  EXPECT_EQ(job.run([&](Comm& c) {
    run_device_body(c, job.runtime(), {.seed = test_seed(), .random_cases = 20});
    Number x(job.runtime(), 1);
    device::Stream stream(job.runtime().cuda);
    // A streamed call, too, is compared before NCCL gets it.
    EXPECT_EQ(end_of([&] { c.bcast(x.at(), 1, DType::i64, c.rank() == 2 ? 1 : 0, {.stream = stream.get()}); }), Errc::mismatch);
    expect_sum(c, job.runtime());
  }), "");
  job.expect_clean();
}

TEST(DeviceFault, WithAProgressThread) {
  Job job({2, 2});
  job.config().progress_thread = true;
  EXPECT_EQ(job.run([&](Comm& c) {
    run_device_body(c, job.runtime(), {.seed = test_seed(), .random_cases = 20});
    Comm other = c.dup();
    std::int64_t here = 1;
    // Started on one communicator, moved on while another waits for its GPU.
    Request r = other.iallreduce(in_place, &here, 1, DType::i64, Op::sum, {.algorithm = "ring"});
    expect_sum(c, job.runtime());
    r.wait();
    EXPECT_EQ(here, c.size());
    other.close();
  }), "");
  job.expect_clean();
}

}  // namespace

}  // namespace libcoll::test
