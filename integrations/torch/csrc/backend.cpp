#include "backend.hpp"

#include <utility>

#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/core/StreamGuard.h>
#include <c10/util/Exception.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include "arena.hpp"
#include "driver.hpp"

namespace libcoll::torch_door {
namespace {

std::shared_ptr<Lane> join_group(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size, std::chrono::milliseconds timeout) {
  Lane::require_own();
  Meeting meeting(store, rank, size, timeout);
  try {
    auto lane = std::make_shared<Lane>(join(meeting, rank, size));
    meeting.end();
    return lane;
  } catch (const Error& e) {
    rethrow_for_torch(e);
  }
}

c10::Device device_of(const Task& task) {
  for (const auto* tensors : {&task.inputs, &task.outputs})
    if (!tensors->empty()) return tensors->front().device();
  return at::kCPU;
}

}  // namespace

ProcessGroupLibcoll::ProcessGroupLibcoll(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size, c10::intrusive_ptr<Options> options)
    : Backend(rank, size), options_(std::move(options)), timeout_(options_->timeout), lane_(join_group(store, rank, size, options_->timeout)) {
  init();
}

ProcessGroupLibcoll::~ProcessGroupLibcoll() {
  lane_->close();
  // What a child of fork inherited is its parent's.
  if (Driver::in_child_of_fork()) new std::shared_ptr<Lane>(std::move(lane_));
}

// As NCCL's group does: what is asynchronous is on the group's own stream, what is not on the caller's.
std::unique_ptr<OnStream> ProcessGroupLibcoll::prepare_stream(Task& task, c10::Device device, bool aside) {
  if (task.message) require_no_capture(device, task.title);
  const c10::Stream side = side_streams_.of(device);
  auto on_stream = std::make_unique<OnStream>(device, aside ? std::optional(side) : std::nullopt);
  if (task.stage) {
    const c10::StreamGuard guard(on_stream->stream);
    const at::AutoDispatchBelowADInplaceOrView raw;
    task.stage();
    task.ready = event_on(on_stream->stream);
  }
  return on_stream;
}

ProcessGroupLibcoll::Ptr ProcessGroupLibcoll::submit(Task&& task, bool async) {
  auto timeout = task.timeout;
  if (timeout.count() <= 0) timeout = timeout_.load();
  bool batched = false;
  {
    const std::lock_guard lock(mutex_);
    batched = batch_.has_value() && batch_owner_ == std::this_thread::get_id();
  }
  std::unique_ptr<OnStream> on_stream;
  if (const c10::Device device = device_of(task); device.is_cuda()) on_stream = prepare_stream(task, device, async || batched);
  // Ranks that send and receive do not call alike; collectives do.
  const std::uint64_t sequence = task.message ? sequence_.load() : sequence_.fetch_add(1) + 1;
  auto work = c10::make_intrusive<CollWork>(rank_, std::move(task), sequence, timeout, lane_, std::move(on_stream));
  lane_->submit(work, !async && !batched);
  if (batched) {
    const std::lock_guard lock(mutex_);
    if (batch_) batch_->push_back(work);
  }
  return work;
}

void ProcessGroupLibcoll::startCoalescing() {
  const std::lock_guard lock(mutex_);
  batch_.emplace();  // one that was not ended was left by an exception
  batch_owner_ = std::this_thread::get_id();
}

ProcessGroupLibcoll::Ptr ProcessGroupLibcoll::endCoalescing() {
  const std::lock_guard lock(mutex_);
  TORCH_CHECK(batch_, "libcoll: endCoalescing: no batch was started");
  auto work = c10::make_intrusive<BatchWork>(rank_, std::move(*batch_));
  batch_.reset();
  return work;
}

c10::intrusive_ptr<c10d::Backend> ProcessGroupLibcoll::split(const c10::intrusive_ptr<c10d::Store>& store, const std::vector<int>& ranks,
                                                             const c10::intrusive_ptr<Options>& given) {
  const auto mine = std::find(ranks.begin(), ranks.end(), rank_);
  if (mine == ranks.end()) return nullptr;
  auto options = c10::make_intrusive<Options>(backend_name, given ? given->timeout : timeout_.load());
  if (given) options->group_name = given->group_name, options->group_desc = given->group_desc, options->global_ranks_in_group = given->global_ranks_in_group;
  // One store serves all parts, so the parts tell their keys apart by their first ranks.
  auto part = c10::make_intrusive<c10d::PrefixStore>(c10::str("split/", options->group_name, "/", ranks.front()), store);
  return c10::make_intrusive<ProcessGroupLibcoll>(part, static_cast<int>(mine - ranks.begin()), static_cast<int>(ranks.size()), std::move(options));
}

void ProcessGroupLibcoll::setTimeout(std::chrono::milliseconds timeout) {
  TORCH_CHECK_VALUE(timeout.count() > 0, "libcoll: setTimeout: ", timeout.count(), " ms is no timeout");
  timeout_.store(timeout);
  options_->timeout = timeout;
}

void ProcessGroupLibcoll::eagerConnectSingleDevice(at::Device device) {
  if (!device.is_cuda()) return;
  const c10::DeviceGuard guard(device);
  Tensors word{at::empty({1}, at::TensorOptions(device).dtype(at::kByte))};
  broadcast(word, {.rootRank = 0, .asyncOp = false})->wait();
}

void ProcessGroupLibcoll::abort() {
  lane_->abort(c10::str("abort of the group on rank ", rank_));
  lane_->close();
}

void ProcessGroupLibcoll::shutdown() { lane_->close(); }

c10d::ErrorType ProcessGroupLibcoll::getError() {
  switch (lane_->failure()) {
    case Errc::ok: return c10d::ErrorType::SUCCESS;
    case Errc::timeout: return c10d::ErrorType::TIMEOUT;
    case Errc::peer_lost: return c10d::ErrorType::REMOTE_ERROR;
    default: return c10d::ErrorType::COMM_ERROR;
  }
}

at::Tensor ProcessGroupLibcoll::allocateTensor(long size, at::TensorOptions options) {
  TORCH_CHECK_VALUE(size >= 0, "libcoll: allocateTensor: size is ", size);
  TORCH_CHECK_VALUE(options.device().is_cpu(), "libcoll: allocateTensor: memory of ", options.device(), " is torch's own to allocate");
  return arena_tensor(*lane_, {size}, options);
}

void ProcessGroupLibcoll::require_root(const char* collective, std::int64_t root) const {
  TORCH_CHECK_VALUE(root >= 0 && root < size_, "libcoll: rank ", rank_, " of ", size_, ": ", collective, ": root is ", root);
}

void ProcessGroupLibcoll::require_one(const char* collective, const char* argument, std::size_t given) const {
  TORCH_CHECK_VALUE(given == 1, "libcoll: rank ", rank_, " of ", size_, ": ", collective, ": ", argument, " has ", given, " entries; a process has one");
}

}  // namespace libcoll::torch_door
