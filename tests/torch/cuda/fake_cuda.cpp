#include "fake_cuda.hpp"

#include <array>
#include <atomic>
#include <map>
#include <mutex>

#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/util/Exception.h>

#include "transports/nccl/runtime.hpp"

namespace libcoll::test::fake_cuda {
namespace {

struct World {
  World() : session({.devices_per_host = devices, .seed = 1, .delay_us = 300}) {
    runtime = {.cuda = session.cuda(), .nccl = session.nccl(), .without_nccl = {}};
    device::replace_runtime(&runtime);
  }
  gpu_double::Session session;
  device::Runtime runtime;
  std::mutex mutex;
  std::map<std::pair<int, int>, std::optional<c10::Stream>> streams;
};
World& world() {
  static auto* w = new World;
  return *w;
}

thread_local std::array<c10::StreamId, devices> current{};  // 0: the default stream

c10::Device device_at(int index) { return {c10::kCUDA, static_cast<c10::DeviceIndex>(index)}; }
c10::Stream stream_of(c10::StreamId id, c10::Device d) { return c10::Stream(c10::Stream::UNSAFE, d, id); }

// The default stream is that of the current device.
class Current {
 public:
  explicit Current(c10::Device d) {
    table().get_device(&before_);
    require(table().set_device(d.index()), "cudaSetDevice");
  }
  ~Current() { table().set_device(before_); }

 private:
  int before_ = 0;
};

struct Guard final : c10::impl::DeviceGuardImplInterface {
  using Device = c10::Device;
  using Stream = c10::Stream;
  c10::DeviceType type() const override { return c10::kCUDA; }
  Device getDevice() const override {
    int d = 0;
    require(table().get_device(&d), "cudaGetDevice");
    return device_at(d);
  }
  void setDevice(Device d) const override { require(table().set_device(d.index()), "cudaSetDevice"); }
  void uncheckedSetDevice(Device d) const noexcept override { table().set_device(d.index()); }
  Device exchangeDevice(Device d) const override {
    const Device before = getDevice();
    setDevice(d);
    return before;
  }
  c10::DeviceIndex deviceCount() const noexcept override { return devices; }
  Stream getStream(Device d) const override { return stream_of(current[static_cast<std::size_t>(d.index())], d); }
  Stream getDefaultStream(Device d) const override { return stream_of(0, d); }
  Stream getStreamFromGlobalPool(Device d, bool) const override { return pool_stream(d.index()); }
  Stream exchangeStream(Stream s) const override {
    return stream_of(std::exchange(current[static_cast<std::size_t>(s.device_index())], s.id()), s.device());
  }
  void* getStreamNativeHandle(const Stream s) const override { return handle_of(s); }
  bool isStreamCapturing(const Stream& s) const override {
    const Current guard(s.device());
    cuda::CaptureStatus status{};
    require(table().stream_is_capturing(handle_of(s), &status), "cudaStreamIsCapturing");
    return status != cuda::CaptureStatus::none;
  }
  void record(void** event, const Stream& s, c10::DeviceIndex, c10::EventFlag) const override {
    const Current guard(s.device());
    auto* e = static_cast<cuda::Event>(*event);
    if (e == nullptr) require(table().event_create_with_flags(&e, cuda::event_disable_timing), "cudaEventCreateWithFlags");
    *event = e;
    require(table().event_record(e, handle_of(s)), "cudaEventRecord");
  }
  void block(void* event, const Stream& s) const override {
    const Current guard(s.device());
    if (event != nullptr) require(table().stream_wait_event(handle_of(s), static_cast<cuda::Event>(event), 0), "cudaStreamWaitEvent");
  }
  bool queryEvent(void* event) const override {
    if (event == nullptr) return true;
    const cuda::Error e = table().event_query(static_cast<cuda::Event>(event));
    if (e != cuda::Error::not_ready) require(e, "cudaEventQuery");
    return e == cuda::Error::success;
  }
  void destroyEvent(void* event, c10::DeviceIndex) const noexcept override {
    if (event != nullptr) table().event_destroy(static_cast<cuda::Event>(event));
  }
  void synchronizeStream(const Stream& s) const override {
    const Current guard(s.device());
    require(table().stream_synchronize(handle_of(s)), "cudaStreamSynchronize");
  }
};

const c10::impl::DeviceGuardImplRegistrar registered(c10::kCUDA, new Guard);

}  // namespace

gpu_double::Session& session() { return world().session; }
const cuda::Table& table() { return world().session.cuda(); }

void require(cuda::Error e, const char* function) {
  TORCH_CHECK(e == cuda::Error::success, function, ": ", table().get_error_string(e));
}

cuda::Stream handle_of(const c10::Stream& s) { return reinterpret_cast<cuda::Stream>(s.id()); }
c10::Stream current_stream(int device) { return Guard().getStream(device_at(device)); }

c10::Stream own_stream(int device, int which) {
  World& w = world();
  const std::lock_guard lock(w.mutex);
  auto& stream = w.streams[{device, which}];
  if (!stream) {
    const Current guard(device_at(device));
    cuda::Stream made = nullptr;
    require(table().stream_create_with_flags(&made, cuda::stream_non_blocking), "cudaStreamCreateWithFlags");
    stream = stream_of(reinterpret_cast<c10::StreamId>(made), device_at(device));
  }
  return *stream;
}

c10::Stream pool_stream(int device) {
  constexpr int first = 1000, pool_size = 8;
  static std::array<std::atomic<int>, devices> next{};
  return own_stream(device, first + next[static_cast<std::size_t>(device)]++ % pool_size);
}

void launch(const at::Tensor& on, std::function<void()> kernel) {
  const Current guard(on.device());
  auto* boxed = new std::function<void()>(std::move(kernel));
  const auto run = [](void* k) {
    const std::unique_ptr<std::function<void()>> owned(static_cast<std::function<void()>*>(k));
    (*owned)();
  };
  require(table().launch_host_function(handle_of(current_stream(on.device().index())), run, boxed), "cudaLaunchHostFunc");
}

void synchronize(int device) { Guard().synchronizeStream(current_stream(device)); }

std::vector<std::string> finish() {
  World& w = world();
  for (const auto& [which, stream] : w.streams) table().stream_destroy(handle_of(*stream));
  device::replace_runtime(nullptr);
  return w.session.finish();
}

}  // namespace libcoll::test::fake_cuda
