// One rank cannot do its part, on the double: NCCL does not take it in, it runs out of memory half way through a call, or its
// count, root or spans are wrong. The others must hear of it soon, not when something times out.
#include <gtest/gtest.h>

#include <chrono>

#include "tests/device/double_job.hpp"

namespace libcoll::test {

namespace {

thread_local std::string_view failing;
thread_local int calls_until_failure = 0;
nccl::Table working_nccl;  // of the job at hand
cuda::Table working_cuda;

bool fails_now(std::string_view call) { return failing == call && calls_until_failure-- <= 0; }

void make_fragile(device::Runtime& r) {
  working_nccl = *r.nccl;
  working_cuda = r.cuda;
  r.nccl->comm_init_rank_config = [](nccl::Comm* c, int n, nccl::UniqueId id, int rank, nccl::Config* config) {
    return fails_now("ncclCommInitRankConfig") ? nccl::Code::system_error : working_nccl.comm_init_rank_config(c, n, id, rank, config);
  };
  r.nccl->comm_split = [](nccl::Comm c, int color, int key, nccl::Comm* out, nccl::Config* config) {
    return fails_now("ncclCommSplit") ? nccl::Code::system_error : working_nccl.comm_split(c, color, key, out, config);
  };
  r.nccl->all_reduce = [](const void* from, void* to, std::size_t n, nccl::Type t, nccl::RedOp op, nccl::Comm c, cuda::Stream s) {
    return fails_now("ncclAllReduce") ? nccl::Code::unhandled_cuda_error : working_nccl.all_reduce(from, to, n, t, op, c, s);
  };
  r.nccl->send = [](const void* from, std::size_t n, nccl::Type t, int peer, nccl::Comm c, cuda::Stream s) {
    return fails_now("ncclSend") ? nccl::Code::unhandled_cuda_error : working_nccl.send(from, n, t, peer, c, s);
  };
  r.nccl->comm_finalize = [](nccl::Comm c) { return fails_now("ncclCommFinalize") ? nccl::Code::remote_error : working_nccl.comm_finalize(c); };
  r.cuda.malloc = [](void** p, std::size_t n) { return fails_now("cudaMalloc") ? cuda::Error::memory_allocation : working_cuda.malloc(p, n); };
}

double seconds_of(const std::function<void()>& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

constexpr double soon_s = 20;  // a third of the tests' timeout, and far more than it takes

// -- NCCL's communicators.

class CannotJoin : public testing::TestWithParam<std::tuple<std::vector<int>, const char*, bool>> {};
INSTANTIATE_TEST_SUITE_P(Shapes, CannotJoin,
                         testing::Combine(testing::Values(std::vector{2}, std::vector{4}, std::vector{2, 2}, std::vector{4, 4}),
                                          testing::Values("cudaMalloc", "ncclCommInitRankConfig", "ncclCommSplit", "ncclAllReduce"), testing::Bool()));

TEST_P(CannotJoin, AllPassThroughHostMemory) {
  const auto& [hosts, what, streamed] = GetParam();
  if (what == std::string_view("ncclCommSplit") && hosts.size() == 1) GTEST_SKIP() << "one island needs one communicator";
  Job job(hosts);
  make_fragile(job.runtime());
  EXPECT_EQ(job.run([&, what = what, streamed = streamed](Comm& c) {
    device::Stream stream(job.runtime().cuda);
    CallOptions o{.memory = Memory::device};
    if (streamed) o = {.stream = stream.get()};
    Number x(job.runtime(), c.rank() + 1);
    if (c.rank() == 1) failing = what, calls_until_failure = 0;
    EXPECT_LT(seconds_of([&] { c.allreduce(in_place, x.at(), 1, DType::i64, Op::sum, o); }), soon_s);
    failing = {};
    job.runtime().cuda.stream_synchronize(stream.get());
    EXPECT_EQ(x.get(), sum_to(c.size()));
    EXPECT_NE(c.describe().find("by way of host memory: rank "), std::string::npos) << c.describe();
    if (job.one_host()) {  // between hosts a rank may hear of it from NCCL first
      EXPECT_NE(c.describe().find("rank 1: "), std::string::npos) << c.describe();
      EXPECT_NE(c.describe().find(what), std::string::npos) << c.describe();
    }
    expect_sum(c, job.runtime(), o);
    EXPECT_THROW(expect_sum(c, job.runtime(), {.algorithm = "nccl"}), Error);  // on all ranks
    expect_sum(c, job.runtime());
    Comm half = c.split(c.rank() % 2);
    expect_sum(half, job.runtime());  // which NCCL takes
    EXPECT_EQ(half.describe().find("by way of host memory"), std::string::npos) << half.describe();
    half.close();
  }), "");
  job.expect_clean();
}

// -- Half of a call.

TEST(HalfOfACall, GivesItsMemoryBack) {
  for (const char* what : {"ncclAllReduce", "ncclSend"}) {
    Job job({2, 2});
    make_fragile(job.runtime());
    EXPECT_EQ(job.run([&](Comm& c) {
      expect_sum(c, job.runtime());
      job.meet();
      constexpr Count n = 1000;
      const auto ranks = static_cast<std::size_t>(c.size());
      const device::Memory from(job.runtime().cuda, n * ranks * 8), to(job.runtime().cuda, n * ranks * 8);
      const std::vector<Count> counts(ranks, n);
      std::vector<Count> displs(ranks);
      for (std::size_t r = 1; r < ranks; ++r) displs[r] = displs[r - 1] + n;
      if (c.rank() == 1) failing = what, calls_until_failure = 1;  // not the first
      const auto call = [&] {
        if (what == std::string_view("ncclSend")) c.alltoallv(in_place, {}, {}, to.data(), counts, displs, DType::i64, {.algorithm = "nccl"});
        else c.allreduce(from.data(), to.data(), n, DType::i64, Op::sum, {.algorithm = "island/nccl:chunk=100"});
      };
      const auto end = end_of(call);
      failing = {};
      if (c.rank() == 1) {
        EXPECT_EQ(end, Errc::system);
      } else if (!end) {  // it needed nothing of what is missing
        EXPECT_NE(end_of([&] { expect_sum(c, job.runtime()); }), std::nullopt);
      }
    }), "");
    for (const std::string& line : job.session().finish()) EXPECT_FALSE(line.starts_with("leak: ")) << what << ": " << line;
  }
}

TEST(TryClose, NeverThrows) {
  for (const auto& hosts : {std::vector{2}, std::vector{1, 1}}) {
    Job job(hosts);
    make_fragile(job.runtime());
    EXPECT_EQ(job.run([&](Comm& c) {
      Comm other = c.dup();
      expect_sum(other, job.runtime());
      job.meet();
      if (c.rank() == 0) failing = "ncclCommFinalize", calls_until_failure = 0;
      EXPECT_LT(seconds_of([&] {
        EXPECT_NO_THROW(while (!other.try_close()) std::this_thread::yield());
      }), soon_s);
      failing = {};
      EXPECT_FALSE(other);
      expect_sum(c, job.runtime());
    }), "");
  }
}

// A rank that kept another one waiting is told who is gone, not that it is itself.
TEST(LateRank, NamesWhoGaveUpOnIt) {
  for (const auto& hosts : {std::vector{2}, std::vector{1, 1}}) {
    Job job(hosts);
    EXPECT_EQ(job.run([&](Comm& c) {
      expect_sum(c, job.runtime());
      job.meet();
      Number x(job.runtime(), 1);
      std::int64_t here = 1;
      if (c.rank() == 1) {
        EXPECT_THROW(c.allreduce(in_place, &here, 1, DType::i64, Op::sum, {.memory = Memory::host, .timeout_s = 0.3}), Error);
        job.meet();
        return;
      }
      job.meet();
      try {
        // The notice may still be on its way.
        for (int i = 0; i < 1000; ++i) c.bcast(x.at(), 1, DType::i64, 0, {.algorithm = "nccl", .memory = Memory::device}), std::this_thread::sleep_for(std::chrono::milliseconds(1));
        ADD_FAILURE() << "nobody told";
      } catch (const Error& error) {
        EXPECT_EQ(error.peer(), 1) << error.what();
        EXPECT_NE(std::string(error.what()).find("rank 1 gave up on this rank"), std::string::npos) << error.what();
      }
    }), "");
  }
}

// -- Arguments that must be equal on all ranks.

class WrongOnOneRank : public testing::TestWithParam<std::tuple<std::vector<int>, const char*>> {};
INSTANTIATE_TEST_SUITE_P(Shapes, WrongOnOneRank, testing::Combine(testing::Values(std::vector{2}, std::vector{3}, std::vector{1, 1}, std::vector{2, 2}), testing::Values("count", "root", "span")));

TEST_P(WrongOnOneRank, EndsTheCommunicator) {
  const std::string_view what = std::get<1>(GetParam());
  for (const bool streamed : {false, true}) {
    Job job(std::get<0>(GetParam()));
    EXPECT_EQ(job.run([&](Comm& c) {
      expect_sum(c, job.runtime());
      job.meet();
      device::Stream stream(job.runtime().cuda);
      CallOptions o{.memory = Memory::device};
      if (streamed) o = {.stream = stream.get()};
      Number x(job.runtime(), 1), y(job.runtime(), 1);
      const bool wrong = c.rank() == 1;
      const std::span<const std::int64_t> send(static_cast<const std::int64_t*>(x.at()), wrong ? 0 : 1);
      const std::span<std::int64_t> recv(static_cast<std::int64_t*>(y.at()), 1);
      const auto call = [&] {
        if (what == "count") c.allreduce(in_place, x.at(), wrong ? -1 : 1, DType::i64, Op::sum, o);
        else if (what == "root") c.bcast(x.at(), 1, DType::i64, wrong ? c.size() : 0, o);
        else c.allreduce(send, recv, Op::sum, o);
      };
      std::string text;
      EXPECT_LT(seconds_of([&] {
        auto end = end_of(call);
        if (streamed && !end) {
          job.runtime().cuda.stream_synchronize(stream.get());
          end = end_of(call);
        }
        EXPECT_NE(end, std::nullopt);
        if (wrong) {
          EXPECT_EQ(end, Errc::invalid_argument);
        }
      }), soon_s);
      EXPECT_EQ(end_of([&] { expect_sum(c, job.runtime()); }), Errc::closed);
    }), "");
  }
}

// What all ranks have wrong, however they come to it, ends nothing.
TEST_P(WrongOnOneRank, OnAllRanksItEndsTheCall) {
  const std::string_view what = std::get<1>(GetParam());
  Job job(std::get<0>(GetParam()));
  EXPECT_EQ(job.run([&](Comm& c) {
    device::Stream stream(job.runtime().cuda);
    Number x(job.runtime(), 1), y(job.runtime(), 1);
    const std::span<const std::int64_t> send(static_cast<const std::int64_t*>(x.at()), 0);
    const std::span<std::int64_t> recv(static_cast<std::int64_t*>(y.at()), 1);
    for (int i = 0; i < 5; ++i) {
      expect_sum(c, job.runtime(), {.stream = stream.get()});
      std::this_thread::sleep_for(std::chrono::milliseconds(20 * ((c.rank() + i) % 3)));
      EXPECT_EQ(end_of([&] {
        if (what == "count") c.allreduce(in_place, x.at(), -1, DType::i64, Op::sum, {.stream = stream.get()});
        else if (what == "root") c.bcast(x.at(), 1, DType::i64, c.size(), {.memory = Memory::device});
        else c.allreduce(send, recv, Op::sum, {.stream = stream.get()});
      }), Errc::invalid_argument);
    }
    expect_sum(c, job.runtime());
  }), "");
  job.expect_clean();
}

// NCCL has no operation for it: the others wait where they can hear of a refusal, and nothing else ends.
TEST(WrongOnOneRankOfAStagedCall, EndsTheCall) {
  for (const auto& hosts : {std::vector{3}, std::vector{2, 1}}) {
    Job job(hosts);
    EXPECT_EQ(job.run([&](Comm& c) {
      expect_sum(c, job.runtime());
      device::Stream stream(job.runtime().cuda);
      Number x(job.runtime(), 1);
      const auto end = end_of([&] { c.allreduce(in_place, x.at(), c.rank() == 1 ? -1 : 1, DType::i64, Op::bor, {.stream = stream.get()}); });
      EXPECT_EQ(end, c.rank() == 1 ? Errc::invalid_argument : Errc::mismatch);
      expect_sum(c, job.runtime(), {.stream = stream.get()});
    }), "");
    job.expect_clean();
  }
}

}  // namespace

}  // namespace libcoll::test
