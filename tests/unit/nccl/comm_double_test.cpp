// The double's communicators: meeting, split, groups, non-blocking ones, mismatches, errors and aborts.
#include <atomic>
#include <barrier>

#include "tests/unit/nccl/support.hpp"

namespace libcoll::test {
namespace {

using nccl::Code;
using nccl::RedOp;
using nccl::Type;

std::string last_error(GpuRank& g) { return g.nccl.get_last_error(g.comm); }

TEST(CommDouble, SplitByColorAndKey) {
  constexpr int n = 5;
  Session session(devices(n));
  run_ranks(session, n, [](GpuRank& g) {
    nccl::Comm part = nullptr;
    const int color = g.rank == 4 ? nccl::split_no_color : g.rank % 2;
    EXPECT_NCCL(g.nccl.comm_split(g.comm, color, -g.rank, &part, nullptr));
    if (g.rank == 4) {
      EXPECT_EQ(part, nullptr);
      return;
    }
    int count = 0, rank = -1, device = -1;
    EXPECT_NCCL(g.nccl.comm_count(part, &count));
    EXPECT_NCCL(g.nccl.comm_user_rank(part, &rank));
    EXPECT_NCCL(g.nccl.comm_cu_device(part, &device));
    EXPECT_EQ(count, 2);
    EXPECT_EQ(rank, g.rank < 2 ? 1 : 0);  // keys fall with ranks
    EXPECT_EQ(device, g.rank);
    int* x = g.put<int>({g.rank});
    EXPECT_NCCL(g.nccl.all_reduce(x, x, 1, Type::i32, RedOp::sum, part, g.stream));
    EXPECT_EQ(g.get(x, 1)[0], g.rank % 2 == 0 ? 0 + 2 : 1 + 3);
    EXPECT_NCCL(g.nccl.comm_finalize(part));
    EXPECT_NCCL(g.nccl.comm_destroy(part));
  });
  expect_clean(session);
}

TEST(CommDouble, RanksOnTwoHosts) {
  gpu_double::Options o;
  o.hosts = 2;
  o.devices_per_host = 1;
  Session session(o);
  nccl::UniqueId id;
  EXPECT_NCCL(session.nccl().get_unique_id(&id));
  std::vector<std::thread> threads;
  for (int host = 0; host < 2; ++host)
    threads.emplace_back([&, host] {
      session.enter_host(host);
      nccl::Comm comm = nullptr;
      EXPECT_NCCL(session.nccl().comm_init_rank_config(&comm, 2, id, host, nullptr));
      int device = -1;
      EXPECT_NCCL(session.nccl().comm_cu_device(comm, &device));
      EXPECT_EQ(device, 0);
      EXPECT_NCCL(session.nccl().comm_destroy(comm));
    });
  for (auto& t : threads) t.join();
  expect_clean(session);
}

// One thread drives all devices, as ncclGroupStart is for.
TEST(CommDouble, OneThreadForAllRanks) {
  constexpr int n = 3;
  Session session(devices(n));
  const auto& cuda = session.cuda();
  const auto& nccl = session.nccl();
  nccl::UniqueId id;
  EXPECT_NCCL(nccl.get_unique_id(&id));
  nccl::Comm comms[n];
  cuda::Stream streams[n];
  void* x[n];
  EXPECT_NCCL(nccl.group_start());
  for (int r = 0; r < n; ++r) {
    EXPECT_CUDA(cuda.set_device(r));
    EXPECT_CUDA(cuda.stream_create_with_flags(&streams[r], 0));
    EXPECT_CUDA(cuda.malloc(&x[r], 4));
    EXPECT_CUDA(cuda.memset_async(x[r], r + 1, 4, streams[r]));
    EXPECT_NCCL(nccl.comm_init_rank_config(&comms[r], n, id, r, nullptr));
  }
  EXPECT_NCCL(nccl.group_end());
  EXPECT_NCCL(nccl.group_start());
  EXPECT_NCCL(nccl.group_start());
  for (int r = 0; r < n; ++r) EXPECT_NCCL(nccl.all_reduce(x[r], x[r], 1, Type::i32, RedOp::sum, comms[r], streams[r]));
  EXPECT_NCCL(nccl.group_end());  // inner
  EXPECT_NCCL(nccl.group_end());
  for (int r = 0; r < n; ++r) {
    std::uint32_t value = 0;
    EXPECT_CUDA(cuda.memcpy_async(&value, x[r], 4, cuda::CopyKind::device_to_host, streams[r]));
    EXPECT_CUDA(cuda.stream_synchronize(streams[r]));
    EXPECT_EQ(value, 0x06060606u);
    EXPECT_NCCL(nccl.comm_destroy(comms[r]));
    EXPECT_CUDA(cuda.free(x[r]));
    EXPECT_CUDA(cuda.stream_destroy(streams[r]));
  }
  expect_clean(session);
}

TEST(CommDouble, BadMeetings) {
  Session session(devices(2));
  nccl::UniqueId id, other = {};
  nccl::Comm comm = nullptr;
  EXPECT_NCCL(session.nccl().get_unique_id(&id));
  EXPECT_EQ(session.nccl().comm_init_rank_config(&comm, 1, other, 0, nullptr), Code::invalid_argument);
  EXPECT_EQ(session.nccl().comm_init_rank_config(&comm, 2, id, 2, nullptr), Code::invalid_argument);
  std::vector<std::thread> threads;
  for (int r = 0; r < 2; ++r)  // both on device 0
    threads.emplace_back([&, r] {
      nccl::Comm mine = nullptr;
      EXPECT_EQ(session.nccl().comm_init_rank_config(&mine, 2, id, r, nullptr), Code::invalid_usage);
      EXPECT_EQ(mine, nullptr);
    });
  for (auto& t : threads) t.join();
  expect_clean(session);
}

TEST(CommDouble, NonBlocking) {
  constexpr int n = 2;
  Session session(devices(n));
  nccl::UniqueId id;
  EXPECT_NCCL(session.nccl().get_unique_id(&id));
  std::barrier<> both(n);
  std::vector<std::thread> threads;
  for (int r = 0; r < n; ++r)
    threads.emplace_back([&, r] {
      const auto& nccl = session.nccl();
      EXPECT_CUDA(session.cuda().set_device(r));
      nccl::Config config;
      config.blocking = 0;
      nccl::Comm comm = nullptr, part = nullptr;
      const auto complete = [&](nccl::Comm c) {
        Code code = Code::in_progress;
        int polls = 0;
        for (; EXPECT_NCCL(nccl.comm_get_async_error(c, &code)), code == Code::in_progress; ++polls) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        EXPECT_GT(polls, 0);
        return code;
      };
      EXPECT_EQ(nccl.comm_init_rank_config(&comm, n, id, r, &config), Code::in_progress);
      EXPECT_EQ(complete(comm), Code::success);
      void* x = nullptr;
      EXPECT_NCCL(nccl.mem_alloc(&x, 4));
      EXPECT_CUDA(session.cuda().memset_async(x, 1, 4, nullptr));
      EXPECT_EQ(nccl.all_reduce(x, x, 4, Type::u8, RedOp::sum, comm, nullptr), Code::in_progress);
      EXPECT_EQ(complete(comm), Code::success);
      EXPECT_EQ(nccl.comm_split(comm, 0, 0, &part, nullptr), Code::in_progress);
      EXPECT_EQ(complete(part), Code::success);
      EXPECT_CUDA(session.cuda().stream_synchronize(nullptr));
      EXPECT_EQ(*static_cast<unsigned char*>(x), 2);
      EXPECT_EQ(nccl.comm_finalize(part), Code::in_progress);
      EXPECT_EQ(complete(part), Code::success);
      EXPECT_NCCL(nccl.comm_destroy(part));
      both.arrive_and_wait();
      EXPECT_TRUE(session.reports().empty());
      both.arrive_and_wait();
      // Without polling: refused.
      EXPECT_EQ(nccl.all_reduce(x, x, 4, Type::u8, RedOp::sum, comm, nullptr), Code::in_progress);
      EXPECT_EQ(nccl.all_reduce(x, x, 4, Type::u8, RedOp::sum, comm, nullptr), Code::invalid_argument);
      EXPECT_CUDA(session.cuda().stream_synchronize(nullptr));
      EXPECT_NCCL(nccl.mem_free(x));
      EXPECT_NCCL(nccl.comm_destroy(comm));
    });
  for (auto& t : threads) t.join();
  expect_reports(session.finish(), "before its previous call was complete");
}

struct Mismatch {
  const char* name;
  std::function<Code(GpuRank&, int*)> odd;  // what the last rank calls
};

TEST(CommDouble, MismatchesAreErrorsOfEveryRank) {
  const Mismatch cases[] = {
      {"allreduce of 3 i32 by sum", [](GpuRank& g, int* x) { return g.nccl.all_reduce(x, x, 3, Type::i32, RedOp::sum, g.comm, g.stream); }},
      {"allreduce of 2 f32 by sum", [](GpuRank& g, int* x) { return g.nccl.all_reduce(x, x, 2, Type::f32, RedOp::sum, g.comm, g.stream); }},
      {"allreduce of 2 i32 by max", [](GpuRank& g, int* x) { return g.nccl.all_reduce(x, x, 2, Type::i32, RedOp::max, g.comm, g.stream); }},
      {"broadcast of 2 i32 with root 1", [](GpuRank& g, int* x) { return g.nccl.broadcast(x, x, 2, Type::i32, 1, g.comm, g.stream); }},
  };
  for (const Mismatch& m : cases) {
    SCOPED_TRACE(m.name);
    constexpr int n = 3;
    Session session(devices(n));
    run_ranks(session, n, [&](GpuRank& g) {
      int* x = g.put<int>({1, 2, 3, 4});
      const Code code = g.rank == n - 1 ? m.odd(g, x) : g.nccl.all_reduce(x, x, 2, Type::i32, RedOp::sum, g.comm, g.stream);
      EXPECT_TRUE(code == Code::success || code == Code::invalid_usage);  // the error may have come before
      EXPECT_EQ(g.await_error(), Code::invalid_usage);
      EXPECT_NE(last_error(g).find(m.name), std::string::npos) << last_error(g);
      EXPECT_NE(last_error(g).find("allreduce of 2 i32 by sum"), std::string::npos) << last_error(g);
      EXPECT_NE(last_error(g).find("operation 0"), std::string::npos) << last_error(g);
      EXPECT_CUDA(g.cuda.stream_synchronize(g.stream));  // nothing hangs
      EXPECT_EQ(g.nccl.all_reduce(x, x, 1, Type::i32, RedOp::sum, g.comm, g.stream), Code::invalid_usage);
      EXPECT_NCCL(g.nccl.comm_abort(std::exchange(g.comm, nullptr)));
    });
    expect_clean(session);
  }
}

TEST(CommDouble, MismatchedMessage) {
  Session session(devices(2));
  run_ranks(session, 2, [](GpuRank& g) {
    int* x = g.put<int>({1, 2});
    if (g.rank == 0) (void)g.nccl.send(x, 2, Type::i32, 1, g.comm, g.stream);
    else (void)g.nccl.recv(x, 1, Type::i32, 0, g.comm, g.stream);
    EXPECT_EQ(g.await_error(), Code::invalid_usage);
    EXPECT_NE(last_error(g).find("message 0"), std::string::npos) << last_error(g);
    EXPECT_NCCL(g.nccl.comm_abort(std::exchange(g.comm, nullptr)));
  });
  expect_clean(session);
}

TEST(CommDouble, AbortEndsThoseWhoWait) {
  constexpr int n = 3;
  Session session(devices(n));
  run_ranks(session, n, [](GpuRank& g) {
    int* x = g.put<int>({1});
    if (g.rank == 2) {
      EXPECT_NCCL(g.nccl.comm_abort(std::exchange(g.comm, nullptr)));
      return;
    }
    // Rank 2 never comes to it.
    const Code code = g.nccl.all_reduce(x, x, 1, Type::i32, RedOp::sum, g.comm, g.stream);
    EXPECT_TRUE(code == Code::success || code == Code::remote_error);
    EXPECT_CUDA(g.cuda.stream_synchronize(g.stream));
    EXPECT_EQ(g.await_error(), Code::remote_error);
    EXPECT_NE(last_error(g).find("rank 2 of communicator 1 aborted"), std::string::npos) << last_error(g);
    EXPECT_NCCL(g.nccl.comm_abort(std::exchange(g.comm, nullptr)));
  });
  expect_clean(session);
}

TEST(CommDouble, AbortFromAnotherThreadEndsFinalizeAndSplit) {
  for (const bool splits : {false, true}) {
    Session session(devices(2));
    std::atomic<int> ready{0};
    std::barrier<> both(2);
    run_ranks(session, 2, [&](GpuRank& g) {
      int* x = g.put<int>({1});
      if (g.rank == 0) {
        nccl::Comm part = nullptr;
        if (!splits) EXPECT_NCCL(g.nccl.all_reduce(x, x, 1, Type::i32, RedOp::sum, g.comm, g.stream));
        both.arrive_and_wait();
        const Code code = splits ? g.nccl.comm_split(g.comm, 0, 0, &part, nullptr) : g.nccl.comm_finalize(g.comm);
        EXPECT_EQ(code, Code::remote_error);
        EXPECT_EQ(part, nullptr);
      } else {
        both.arrive_and_wait();
        std::this_thread::sleep_for(std::chrono::milliseconds(5));  // so that it waits; right if it does not, too
      }
      EXPECT_NCCL(g.nccl.comm_abort(std::exchange(g.comm, nullptr)));
    });
    expect_clean(session);
  }
}

TEST(CommDouble, InjectedErrors) {
  constexpr int n = 3;
  Session session(devices(n));
  run_ranks(session, n, [&](GpuRank& g) {
    int* x = g.put<int>({1});
    if (g.rank == 1) {
      EXPECT_TRUE(session.inject_error(g.comm, Code::system_error, "the cable was pulled"));
    } else {
      (void)g.nccl.all_reduce(x, x, 1, Type::i32, RedOp::sum, g.comm, g.stream);
    }
    EXPECT_EQ(g.await_error(), g.rank == 1 ? Code::system_error : Code::remote_error);
    EXPECT_EQ(last_error(g), "the cable was pulled");
    EXPECT_CUDA(g.cuda.stream_synchronize(g.stream));
    EXPECT_NCCL(g.nccl.comm_abort(std::exchange(g.comm, nullptr)));
  });
  EXPECT_FALSE(session.inject_error(nullptr, Code::system_error, ""));
  expect_clean(session);
}

TEST(CommDouble, Registrations) {
  Session session(devices(1));
  run_ranks(session, 1, [](GpuRank& g) {
    void *handle = nullptr, *buffer = nullptr;
    int host = 0;
    EXPECT_NCCL(g.nccl.mem_alloc(&buffer, 64));
    EXPECT_NCCL(g.nccl.comm_register(g.comm, buffer, 64, &handle));
    EXPECT_EQ(g.nccl.comm_register(g.comm, &host, 4, &handle), Code::invalid_argument);
    EXPECT_NCCL(g.nccl.comm_deregister(g.comm, handle));
    EXPECT_EQ(g.nccl.comm_deregister(g.comm, handle), Code::invalid_argument);
    EXPECT_NCCL(g.nccl.comm_register(g.comm, buffer, 64, &handle));
    EXPECT_NCCL(g.nccl.mem_free(buffer));
  });
  const auto reports = session.finish();
  ASSERT_EQ(reports.size(), 4u);
  EXPECT_NE(reports[0].find("no device can access"), std::string::npos);
  EXPECT_NE(reports[1].find("no such registration"), std::string::npos);
  EXPECT_NE(reports[2].find("still registered"), std::string::npos);
  EXPECT_NE(reports[3].find("ended with 1 buffers registered"), std::string::npos);
}

TEST(CommDouble, DeviceScalarIsReadOnTheDevice) {
  Session session(devices(2));
  run_ranks(session, 2, [](GpuRank& g) {
    float* scalar = g.put<float>({0});
    float* x = g.put<float>({10});
    RedOp op;
    EXPECT_NCCL(g.nccl.redop_create_premulsum(&op, scalar, Type::f32, nccl::Residence::device, g.comm));
    const float value = g.rank == 0 ? 2 : 3;
    EXPECT_CUDA(g.cuda.memcpy_async(scalar, &value, sizeof(value), cuda::CopyKind::host_to_device, g.stream));
    EXPECT_NCCL(g.nccl.all_reduce(x, x, 1, Type::f32, op, g.comm, g.stream));
    EXPECT_NCCL(g.nccl.redop_destroy(op, g.comm));
    EXPECT_EQ(g.get(x, 1)[0], 50);
  });
  expect_clean(session);
}

}  // namespace
}  // namespace libcoll::test
