// What goes wrong: arguments, which leave the group usable, and what ends it on all ranks.
#include <gtest/gtest.h>

#include <thread>

#include "group.hpp"
#include "tests/support/ranks.hpp"

namespace libcoll::test {
namespace {

using namespace std::chrono_literals;

class CudaErrors : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, CudaErrors, testing::Values(2, 3, 4));

// The text of a ValueError.
std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const c10::ValueError& e) {
    return e.what_without_backtrace();
  }
  return "nothing was thrown";
}
void expect_sum(Rank& r) {
  Tensors t{numbers(r, r.gpu, 10, at::kFloat, 0)}, u{numbers(r, at::kCPU, 10, at::kFloat, 0)};
  r.group->allreduce(t)->wait();
  r.group->allreduce(u)->wait();
  EXPECT_TRUE(t[0].cpu().equal(u[0]));
  r.meet();
}

TEST_P(CudaErrors, WrongArgumentsNameThemselvesAndHarmNothing) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    const auto here = [&](std::int64_t count, at::ScalarType type = at::kFloat) { return numbers(r, r.gpu, count, type, 0); };
    const at::Device other(at::kCUDA, static_cast<c10::DeviceIndex>((r.rank + 1) % r.size));
    const at::Tensor there = blank(other, {10}, at::kFloat), on_cpu = at::ones({10});
    const auto refused = [](const std::string& text, const char* what) { EXPECT_NE(text.find(what), std::string::npos) << text; };
    expect_sum(r);
    Tensors meta{at::empty({3}, at::TensorOptions(at::kMeta))};
    refused(refusal([&] { r.group->allreduce(meta); }), "allreduce: tensor is on meta; libcoll communicates CPU and CUDA tensors");
    Tensors mixed{here(10), on_cpu};
    refused(refusal([&] { r.group->allreduce_coalesced(mixed, {}); }), "allreduce_coalesced: a tensor is on cpu, and another tensor of the call on cuda");
    at::Tensor to = blank(r.gpu, {10 * r.size}, at::kFloat), from = there;
    refused(refusal([&] { r.group->_allgather_base(to, from); }), "allgather: output is on cuda");
    from = here(11);
    refused(refusal([&] { r.group->_allgather_base(to, from); }), "the output has");
    from = here(10, at::kInt);
    refused(refusal([&] { r.group->_allgather_base(to, from); }), "allgather: output is Float, and another tensor of the call Int");
    at::Tensor small = here(3);
    refused(refusal([&] { r.group->_reduce_scatter_base(small, to); }), "reduce_scatter: input has");
    Tensors bands{here(3)};
    refused(refusal([&] { r.group->allreduce(bands, {.reduceOp = c10d::ReduceOp::BAND}); }), "BAND is not defined on Float");
    expect_sum(r);
  }), "");
}

// The communicator works on the GPU of its first call; which one that is, only libcoll knows.
TEST_P(CudaErrors, AGpuOfAnotherRankIsRefused) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    expect_sum(r);
    const at::Device other(at::kCUDA, static_cast<c10::DeviceIndex>((r.rank + 1) % r.size));
    Tensors t{blank(other, {10}, at::kFloat)};
    const Work work = r.group->allreduce(t);
    EXPECT_THROW(work->wait(), c10::Error);
    EXPECT_FALSE(work->isSuccess());
    EXPECT_TRUE(work->getFuture()->hasError());
  }), "");
}

TEST_P(CudaErrors, AnErrorOfNcclEndsTheGroupOnAllRanks) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    expect_sum(r);
    Tensors t{numbers(r, r.gpu, 10, at::kFloat, 0)};
    std::optional<Gate> gate;
    if (r.rank == 0) gate.emplace(r.gpu);
    const Work work = r.group->allreduce(t);
    work->wait();  // no host waits, so nobody knows yet
    r.meet();
    if (r.rank == 1) {
      EXPECT_TRUE(fake_cuda::session().inject_error_at(0, 1, nccl::Code::system_error, "a cable was pulled"));
    }
    EXPECT_THROW(work->wait(30s), c10::DistBackendError);
    EXPECT_NE(r.group->getError(), c10d::ErrorType::SUCCESS);
    r.meet();
    if (gate) gate->open();
    Tensors more{numbers(r, r.gpu, 10, at::kFloat, 0)};
    EXPECT_THROW(r.group->allreduce(more)->wait(), c10::DistBackendError);
  }), "");
}

TEST_P(CudaErrors, ARankThatDoesNotComeIsATimeout) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    expect_sum(r);
    if (r.rank != 0) {
      Tensors t{numbers(r, r.gpu, 10, at::kFloat, 0)};
      c10d::AllreduceOptions o;
      o.timeout = 300ms;
      const Work work = r.group->allreduce(t, o);
      // Whose time is up first tells the others.
      EXPECT_THROW(work->wait(30s), c10::DistBackendError);
      EXPECT_NE(r.group->getError(), c10d::ErrorType::SUCCESS);
    }
    r.meet();
    Tensors late{numbers(r, r.gpu, 10, at::kFloat, 0)};
    EXPECT_THROW(r.group->allreduce(late)->wait(), c10::DistBackendError);
  }), "");
}

TEST_P(CudaErrors, AnAbortEndsWhatIsOnAStream) {
  EXPECT_EQ(run_ranks(GetParam(), [](Rank& r) {
    expect_sum(r);
    Tensors t{numbers(r, r.gpu, 10, at::kFloat, 0)};
    std::optional<Gate> gate;
    if (r.rank == 0) gate.emplace(r.gpu);
    const Work work = r.group->allreduce(t);
    r.meet();
    if (r.rank == 0) r.group->abort();
    EXPECT_THROW(work->wait(30s), c10::DistBackendError);
    EXPECT_TRUE(work->isCompleted());
    r.meet();
    if (gate) gate->open();
  }), "");
}

}  // namespace
}  // namespace libcoll::test
