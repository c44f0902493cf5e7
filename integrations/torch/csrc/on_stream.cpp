#include "on_stream.hpp"

#include <algorithm>

#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

namespace libcoll::torch_door {

using Cuda = c10::impl::VirtualGuardImpl;

bool has_gpus() { return c10::impl::hasDeviceGuardImpl(c10::kCUDA) && Cuda(c10::kCUDA).deviceCount() > 0; }

c10::Stream current_stream(c10::Device device) { return Cuda(device.type()).getStream(device); }

std::shared_ptr<c10::Event> event_on(const c10::Stream& stream) {
  std::shared_ptr<c10::Event> event(new c10::Event(stream.device_type()), [device = stream.device()](c10::Event* e) { on_device(device, [e] { delete e; }); });
  event->record(stream);
  return event;
}

void require_no_capture(c10::Device device, const char* operation) {
  TORCH_CHECK(!Cuda(device.type()).isStreamCapturing(current_stream(device)), operation, ": the stream is being captured, and this is work of the host");
}

OnStream::OnStream(c10::Device device, std::optional<c10::Stream> side)
    : caller(current_stream(device)), stream(side.value_or(caller)), thread(std::this_thread::get_id()),
      captured(Cuda(device.type()).isStreamCapturing(caller)) {
  if (stream == caller) return;
  c10::Event begin(device.type());
  begin.record(caller);
  begin.block(stream);
}

c10::Stream SideStreams::of(c10::Device device) {
  const std::lock_guard lock(mutex_);
  const auto known = std::find_if(streams_.begin(), streams_.end(), [device](const c10::Stream& s) { return s.device() == device; });
  return known != streams_.end() ? *known : streams_.emplace_back(Cuda(device.type()).getStreamFromGlobalPool(device));
}

OnStream::~OnStream() {
  on_device(stream.device(), [this] { end.reset(); });
}

std::optional<c10::Device> SideStreams::device() {
  const std::lock_guard lock(mutex_);
  return streams_.empty() ? std::nullopt : std::optional(streams_.front().device());
}

}  // namespace libcoll::torch_door
