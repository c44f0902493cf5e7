#include "group.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>

#include <c10/core/StreamGuard.h>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include "driver.hpp"
#include "tests/support/ranks.hpp"

namespace libcoll::test {
namespace {

class Environment : public testing::Environment {
 public:
  void SetUp() override {
    setenv("LIBCOLL_CALIBRATE", "off", 1);
    fake_cuda::session();
  }
  void TearDown() override {
    EXPECT_TRUE(wait_until(30, [] { return torch_door::Driver::instance().retired() == 0; }));
    torch_door::Driver::instance().stop();
    for (const std::string& line : fake_cuda::finish()) ADD_FAILURE() << line;
  }
};
[[maybe_unused]] const auto* const environment = testing::AddGlobalTestEnvironment(new Environment);

}  // namespace

std::string run_ranks(int size, const std::function<void(Rank&)>& body, std::chrono::milliseconds timeout) {
  static std::atomic<int> runs{0};
  const bool aside = runs++ % 2 == 1;
  const std::size_t reported = fake_cuda::session().reports().size();
  const auto store = c10::make_intrusive<c10d::HashStore>();
  std::barrier<> together(size);
  std::vector<std::string> ends(static_cast<std::size_t>(size));
  std::mutex mutex;
  std::vector<std::weak_ptr<torch_door::Lane>> lanes;
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r)
    threads.emplace_back([&, r] {
      const at::Device gpu(at::kCUDA, static_cast<c10::DeviceIndex>(r));
      const c10::DeviceGuard device(gpu);
      c10::OptionalStreamGuard stream;
      if (aside) stream.reset_stream(fake_cuda::own_stream(r, 0));
      try {
        auto options = c10::make_intrusive<c10d::Backend::Options>(torch_door::backend_name, timeout);
        options->group_name = "test";
        Rank rank{r, size, gpu, c10::make_intrusive<ProcessGroupLibcoll>(store, r, size, std::move(options)), store, [&] { together.arrive_and_wait(); }};
        {
          const std::lock_guard lock(mutex);
          lanes.push_back(rank.group->lane().weak_from_this());
        }
        body(rank);
        fake_cuda::synchronize(r);
      } catch (const std::exception& e) {
        ends[static_cast<std::size_t>(r)] = "rank " + std::to_string(r) + ": " + e.what() + "\n";
        together.arrive_and_drop();
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_TRUE(wait_until(30, [&] { return std::all_of(lanes.begin(), lanes.end(), [](const auto& l) { return l.expired(); }); })) << "a group is not over";
  const std::vector<std::string> reports = fake_cuda::session().reports();
  for (std::size_t i = reported; i < reports.size(); ++i) ADD_FAILURE() << reports[i];
  std::string all;
  for (const std::string& e : ends) all += e;
  return all;
}

at::Tensor blank(at::Device device, at::IntArrayRef sizes, at::ScalarType type, bool strided) {
  const auto options = at::TensorOptions(device).dtype(type);
  if (!strided) return at::empty(sizes, options);
  std::vector<std::int64_t> twice = sizes.vec();
  twice.push_back(2);
  return at::empty(twice, options).select(-1, 0);
}

at::Tensor numbers(const Rank& r, at::Device device, std::int64_t count, at::ScalarType type, std::int64_t salt, bool strided) {
  at::Tensor values = at::arange(count, at::kLong);
  values = (values * 7 + r.rank * 3 + salt * 5).remainder(3);
  if (type != at::kBool) values = values + 1;
  at::Tensor t = blank(device, {count}, type, strided);
  t.copy_(values.to(type));
  return t;
}

Gate::Gate(at::Device gpu) {
  const at::Tensor on = at::empty({1}, at::TensorOptions(gpu));
  fake_cuda::launch(on, [open = open_] { open->wait(false); });
}

void Gate::open() {
  open_->store(true);
  open_->notify_all();
}

}  // namespace libcoll::test
