// What the double reports, each provoked once.
#include <barrier>

#include "tests/unit/nccl/support.hpp"

namespace libcoll::test {
namespace {

using nccl::Code;
using nccl::RedOp;
using nccl::Type;

// Two communicators of the same ranks: operations of both, in the order that the rank asks for.
std::vector<std::string> two_communicators(bool strict, const std::function<void(GpuRank&, nccl::Comm, const std::function<void(nccl::Comm, int)>&)>& body) {
  auto options = devices(2);
  options.strict = strict;
  Session session(options);
  run_ranks(session, 2, [&](GpuRank& g) {
    nccl::Comm other = nullptr;
    EXPECT_NCCL(g.nccl.comm_split(g.comm, 0, g.rank, &other, nullptr));
    cuda::Stream streams[2];
    for (auto& s : streams) EXPECT_CUDA(g.cuda.stream_create_with_flags(&s, cuda::stream_non_blocking));
    int* x = g.put<int>({1, 2});
    body(g, other, [&](nccl::Comm c, int i) { EXPECT_NCCL(g.nccl.all_reduce(x + i, x + i, 1, Type::i32, RedOp::sum, c, streams[i])); });
    for (auto& s : streams) EXPECT_CUDA(g.cuda.stream_synchronize(s)), EXPECT_CUDA(g.cuda.stream_destroy(s));
    EXPECT_EQ(g.get(x, 2), (std::vector<int>{2, 4}));
    EXPECT_NCCL(g.nccl.comm_destroy(other));
  });
  return session.finish();
}

using Issue = std::function<void(nccl::Comm, int)>;

TEST(Strict, OrderInversionAcrossCommunicators) {
  const auto inverted = [](GpuRank& g, nccl::Comm other, const Issue& issue) {
    if (g.rank == 0) issue(g.comm, 0), issue(other, 1);
    else issue(other, 1), issue(g.comm, 0);
  };
  const auto reports = two_communicators(true, inverted);
  EXPECT_EQ(reports.size(), 1u);
  expect_reports(reports, "order inversion: device 0 issued an operation of communicator 1 before one of communicator 2, device 1 the other way round");
  EXPECT_TRUE(two_communicators(false, inverted).empty());
}

TEST(Strict, EqualOrdersAndGroupsAreFine) {
  EXPECT_TRUE(two_communicators(true, [](GpuRank& g, nccl::Comm other, const Issue& issue) { issue(g.comm, 0), issue(other, 1); }).empty());
  EXPECT_TRUE(two_communicators(true, [](GpuRank& g, nccl::Comm other, const Issue& issue) {
    EXPECT_NCCL(g.nccl.group_start());
    if (g.rank == 0) issue(g.comm, 0), issue(other, 1);
    else issue(other, 1), issue(g.comm, 0);
    EXPECT_NCCL(g.nccl.group_end());
  }).empty());
  // A group is at one place: whatever others do in it is neither before nor after.
  EXPECT_TRUE(two_communicators(true, [](GpuRank& g, nccl::Comm other, const Issue& issue) {
    if (g.rank == 0) EXPECT_NCCL(g.nccl.group_start());
    issue(other, 1), issue(g.comm, 0);
    if (g.rank == 0) EXPECT_NCCL(g.nccl.group_end());
  }).empty());
}

// What really deadlocks: both orders on one stream each. The watchdog says who waits for what.
TEST(Strict, DeadlockIsTold) {
  auto options = devices(2);
  options.watchdog_s = 0.4;
  Session session(options);
  run_ranks(session, 2, [](GpuRank& g) {
    nccl::Comm other = nullptr;
    EXPECT_NCCL(g.nccl.comm_split(g.comm, 0, g.rank, &other, nullptr));
    int* x = g.put<int>({1, 2});
    for (int i = 0; i < 2; ++i) (void)g.nccl.all_reduce(x + i, x + i, 1, Type::i32, RedOp::sum, (i == 0) == (g.rank == 0) ? g.comm : other, g.stream);
    EXPECT_EQ(g.cuda.stream_synchronize(g.stream), cuda::Error::launch_failure);
    Code code = Code::success;
    EXPECT_NCCL(g.nccl.comm_get_async_error(g.comm, &code));
    EXPECT_EQ(code, Code::system_error);
    EXPECT_NE(std::string(g.nccl.get_last_error(g.comm)).find("waiting"), std::string::npos);
    (void)g.nccl.comm_abort(other);
    (void)g.nccl.comm_abort(std::exchange(g.comm, nullptr));
  });
  const auto reports = session.finish();
  ASSERT_EQ(reports.size(), 2u);
  EXPECT_NE(reports[0].find("order inversion"), std::string::npos);
  for (const char* text : {"no progress for 0.4 s", "cudaStreamSynchronize of stream", "of device 1 for allreduce of 1 i32 by sum (rank 1 of communicator 2)", "(rank 0 of communicator 1)"})
    EXPECT_NE(reports[1].find(text), std::string::npos) << reports[1];
}

TEST(Strict, OneCommunicatorInTwoThreads) {
  Session session(devices(2));
  std::barrier<> both(2);
  run_ranks(session, 2, [&](GpuRank& g) {
    int* x = g.put<int>({1});
    EXPECT_NCCL(g.nccl.group_start());
    EXPECT_NCCL(g.nccl.all_reduce(x, x, 1, Type::i32, RedOp::sum, g.comm, g.stream));
    if (g.rank == 0) {
      std::thread([&] {
        EXPECT_CUDA(g.cuda.set_device(0));
        EXPECT_EQ(g.nccl.all_reduce(x, x, 1, Type::i32, RedOp::sum, g.comm, g.stream), Code::invalid_usage);
      }).join();
    }
    EXPECT_NCCL(g.nccl.group_end());
    EXPECT_EQ(g.get(x, 1)[0], 2);
    both.arrive_and_wait();
    // While a thread waits in a function.
    if (g.rank == 0) {
      EXPECT_NCCL(g.nccl.all_reduce(x, x, 1, Type::i32, RedOp::sum, g.comm, g.stream));
      std::thread finalizes([&] { EXPECT_NCCL(g.nccl.comm_finalize(g.comm)); });
      Code code = Code::success;  // in progress from when it is in the function
      for (int rank = 0; code != Code::in_progress; EXPECT_NCCL(g.nccl.comm_user_rank(g.comm, &rank))) EXPECT_NCCL(g.nccl.comm_get_async_error(g.comm, &code));
      EXPECT_EQ(g.nccl.all_reduce(x, x, 1, Type::i32, RedOp::sum, g.comm, g.stream), Code::invalid_usage);
      both.arrive_and_wait();
      finalizes.join();
    } else {
      both.arrive_and_wait();
      EXPECT_NCCL(g.nccl.all_reduce(x, x, 1, Type::i32, RedOp::sum, g.comm, g.stream));
    }
  });
  const auto reports = session.finish();
  EXPECT_EQ(reports.size(), 2u);
  expect_reports(reports, "rank 0 of communicator 1 is used by two threads at once");
}

TEST(Strict, UseAfterTheEnd) {
  Session session(devices(1));
  run_ranks(session, 1, [](GpuRank& g) {
    int* x = g.put<int>({1});
    EXPECT_NCCL(g.nccl.comm_finalize(g.comm));
    EXPECT_EQ(g.nccl.all_reduce(x, x, 1, Type::i32, RedOp::sum, g.comm, g.stream), Code::invalid_usage);
    const auto gone = std::exchange(g.comm, nullptr);
    EXPECT_NCCL(g.nccl.comm_destroy(gone));
    EXPECT_EQ(g.nccl.all_reduce(x, x, 1, Type::i32, RedOp::sum, gone, g.stream), Code::invalid_argument);
    EXPECT_EQ(g.nccl.comm_destroy(gone), Code::invalid_argument);
    EXPECT_EQ(g.nccl.comm_destroy(reinterpret_cast<nccl::Comm>(x)), Code::invalid_argument);
  });
  const auto reports = session.finish();
  ASSERT_EQ(reports.size(), 4u);
  EXPECT_NE(reports[0].find("ncclAllReduce: rank 0 of communicator 1 after it was finalized"), std::string::npos);
  EXPECT_EQ(reports[1], "ncclAllReduce: a communicator after its destruction");
  EXPECT_EQ(reports[2], "ncclCommDestroy: a communicator after its destruction");
  EXPECT_EQ(reports[3], "ncclCommDestroy: not a communicator");
}

TEST(Strict, DestroyedWithWorkInFlight) {
  Session session(devices(2));
  std::barrier<> both(2);
  run_ranks(session, 2, [&](GpuRank& g) {
    int* x = g.put<int>({1});
    if (g.rank == 0) {
      EXPECT_NCCL(g.nccl.all_reduce(x, x, 1, Type::i32, RedOp::sum, g.comm, g.stream));
      std::thread destroys([&] { EXPECT_NCCL(g.nccl.comm_destroy(std::exchange(g.comm, nullptr))); });
      while (session.reports().empty()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      both.arrive_and_wait();
      destroys.join();
    } else {
      both.arrive_and_wait();
      EXPECT_NCCL(g.nccl.all_reduce(x, x, 1, Type::i32, RedOp::sum, g.comm, g.stream));
    }
  });
  expect_reports(session.finish(), "ncclCommDestroy: rank 0 of communicator 1 with 1 operations in flight");
}

TEST(Strict, LeakedCommunicatorsAndOperations) {
  Session session(devices(1));
  run_ranks(session, 1, [](GpuRank& g) {
    RedOp op;
    float scalar = 2;
    EXPECT_NCCL(g.nccl.redop_create_premulsum(&op, &scalar, Type::f32, nccl::Residence::host_immediate, g.comm));
    g.comm = nullptr;
  });
  const auto reports = session.finish();
  EXPECT_EQ(reports.size(), 2u);
  expect_reports(reports, "leak:");
}

TEST(Strict, BadArguments) {
  Session session(devices(2));
  run_ranks(session, 2, [](GpuRank& g) {
    int* x = g.put<int>({1, 2, 3, 4});
    int host = 0;
    const auto reduce = [&](void* to, std::size_t n, Type t, int op, cuda::Stream s) { return g.nccl.all_reduce(x, to, n, t, static_cast<RedOp>(op), g.comm, s); };
    EXPECT_EQ(reduce(x + 1, 2, Type::i32, 0, g.stream), Code::invalid_argument);   // overlap
    EXPECT_EQ(reduce(x, 5, Type::i32, 0, g.stream), Code::invalid_argument);       // beyond the end
    EXPECT_EQ(reduce(&host, 1, Type::i32, 0, g.stream), Code::invalid_argument);   // host memory
    EXPECT_EQ(reduce(x, 1, static_cast<Type>(12), 0, g.stream), Code::invalid_argument);
    EXPECT_EQ(reduce(x, 1, Type::i32, 77, g.stream), Code::invalid_argument);      // no such operation
    EXPECT_EQ(g.nccl.broadcast(x, x, 1, Type::i32, 2, g.comm, g.stream), Code::invalid_argument);
    EXPECT_CUDA(g.cuda.set_device(1 - g.rank));
    cuda::Stream wrong = nullptr;
    EXPECT_CUDA(g.cuda.stream_create_with_flags(&wrong, cuda::stream_non_blocking));
    EXPECT_EQ(reduce(x, 1, Type::i32, 0, wrong), Code::invalid_argument);          // another device's stream
    EXPECT_CUDA(g.cuda.stream_destroy(wrong));
    EXPECT_CUDA(g.cuda.set_device(g.rank));
    EXPECT_NCCL(g.nccl.group_start());
    EXPECT_EQ(reduce(x, 5, Type::i32, 77, g.stream), Code::invalid_argument);
    EXPECT_EQ(g.nccl.group_end(), Code::invalid_argument);
    EXPECT_NCCL(reduce(x, 1, Type::i32, 0, g.stream));                             // still usable
    EXPECT_EQ(g.get(x, 1)[0], 2);
  });
  EXPECT_EQ(session.finish().size(), 16u);
}

}  // namespace
}  // namespace libcoll::test
