// Messages between two ranks, and the barrier that is made of them.
#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include <c10/util/Exception.h>

#include "backend.hpp"

namespace libcoll::torch_door {

using Ptr = ProcessGroupLibcoll::Ptr;
using std::chrono::milliseconds;

namespace {
// Of the monitored barrier's own messages. Each call has tags of its own: who comes late for one is not taken for another's arrival.
constexpr int highest_tag = std::numeric_limits<int>::max(), barriers = 1 << 20;

// What a tensor on a GPU passes through.
at::Tensor host_memory_for(const at::Tensor& t) {
  return at::empty(t.sizes(), at::TensorOptions(t.scalar_type()).pinned_memory(at::globalContext().hasCUDA()));
}
}  // namespace

Ptr ProcessGroupLibcoll::send_message(const at::Tensor& t, int dest, int tag, milliseconds timeout) {
  require_dense("send", "tensor", t);
  const at::Tensor data = t.is_cuda() ? host_memory_for(t) : flat(t);
  Task task{.type = c10d::OpType::SEND, .title = "libcoll:send", .inputs = {t}, .outputs = {t}, .timeout = timeout, .message = true,
            .channel = (static_cast<std::int64_t>(dest) << 32) | static_cast<std::uint32_t>(tag),
            .issue = [data, dest, tag](Starter& s) { s.send(data.data_ptr(), static_cast<std::size_t>(bytes_of(data)), dest, tag); }};
  if (t.is_cuda()) task.stage = [data, t] { at::Tensor(data).copy_(t, true); };
  return submit(std::move(task), true);
}

Ptr ProcessGroupLibcoll::receive_message(const at::Tensor& t, int source, int tag, milliseconds timeout) {
  require_dense("recv", "tensor", t);
  const at::Tensor data = t.is_cuda() ? host_memory_for(t) : flat_target(t);
  const bool any = source == any_source;
  Task task{.type = any ? c10d::OpType::RECVANYSOURCE : c10d::OpType::RECV, .title = any ? "libcoll:recvAnySource" : "libcoll:recv", .inputs = {t},
            .outputs = {t}, .timeout = timeout, .message = true,
            .issue = [data, source, tag](Starter& s) {
              s.recv(data.data_ptr(), static_cast<std::size_t>(bytes_of(data)), source, tag);
            }};
  // Whoever moves the lane on does not wait for the stream; torch keeps pinned memory until it has been read.
  if (t.is_cuda()) task.conclude = [data, t] { at::Tensor(t).copy_(data, true); };
  else task.conclude = copy_back(data, t);
  return submit(std::move(task), true);
}

Ptr ProcessGroupLibcoll::send(Tensors& tensors, int dest, int tag) {
  require_one("send", "tensors", tensors.size());
  return send_message(tensors[0], dest, tag, {});
}

Ptr ProcessGroupLibcoll::recv(Tensors& tensors, int source, int tag) {
  require_one("recv", "tensors", tensors.size());
  require_root("recv", source);  // any_source has an entry of its own
  return receive_message(tensors[0], source, tag, {});
}

Ptr ProcessGroupLibcoll::recvAnysource(Tensors& tensors, int tag) {
  require_one("recvAnysource", "tensors", tensors.size());
  return receive_message(tensors[0], any_source, tag, {});
}

// The texts are those of Gloo, which people and tests look for.
void ProcessGroupLibcoll::monitoredBarrier(const c10d::BarrierOptions& o, bool wait_all_ranks) {
  using Clock = std::chrono::steady_clock;
  const auto timeout = o.timeout == c10d::kUnsetTimeout ? timeout_.load() : o.timeout;
  if (timeout.count() <= 0) C10_THROW_ERROR(DistBackendError, c10::str("[Rank ", rank_, "]: Rank ", rank_, " timed out in monitoredBarrier after ", timeout.count(), " ms."));
  const int arrival_tag = highest_tag - 2 * (monitored_barriers_.fetch_add(1) % barriers), release_tag = arrival_tag - 1;
  const at::Tensor token = at::zeros({1}, at::kByte);
  if (rank_ != 0) {
    try {
      send_message(token, 0, arrival_tag, timeout)->wait();
      receive_message(token, 0, release_tag, timeout)->wait();
    } catch (const std::exception& e) {
      C10_THROW_ERROR(DistBackendError, c10::str("[Rank ", rank_, "]: Rank ", rank_, " successfully reached monitoredBarrier, but received errors while waiting ",
                                                 "for send/recv from rank 0. Please check rank 0 logs for faulty rank.\n Original exception: ", e.what()));
    }
    return;
  }
  const auto deadline = Clock::now() + timeout;
  std::vector<Ptr> arrivals;
  for (int r = 1; r < size_; ++r) arrivals.push_back(receive_message(at::empty({1}, at::kByte), r, arrival_tag, timeout));
  std::vector<int> missing;
  std::string last;
  for (int r = 1; r < size_; ++r) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    try {
      arrivals[static_cast<std::size_t>(r - 1)]->wait(std::max(left, milliseconds(1)));
    } catch (const std::exception& e) {
      missing.push_back(r);
      last = e.what();
      if (!wait_all_ranks) break;
    }
  }
  if (missing.empty()) {
    std::vector<Ptr> releases;
    for (int r = 1; r < size_; ++r) releases.push_back(send_message(token, r, release_tag, timeout));
    for (const Ptr& p : releases) p->wait();
    return;
  }
  std::string names;
  for (const int r : missing) names += c10::str(names.empty() ? "" : ", ", r);
  C10_THROW_ERROR(DistBackendError, c10::str("[Rank 0]: Rank", wait_all_ranks ? "s " : " ", names, " failed to pass monitoredBarrier in ", timeout.count(), " ms: ", last));
}

}  // namespace libcoll::torch_door
