// OnStream: where the work of one operation on CUDA tensors goes. By c10's device-generic interface alone, so that one build serves
// torch with CUDA and without.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <c10/core/Device.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

namespace libcoll::torch_door {

// Whether torch has GPUs here. Asking loads CUDA's driver, by which libcoll knows, when it makes a world, that GPU memory may come.
bool has_gpus();
c10::Stream current_stream(c10::Device);
// f with this device current, if one is given. A thread that was never on a GPU would otherwise end up on the first, and take
// memory there.
template <class F>
void on_device(std::optional<c10::Device> device, const F& f) {
  c10::OptionalDeviceGuard guard;
  try {
    if (device) guard.reset_device(*device);
  } catch (...) {  // at the end of the process CUDA may be gone
  }
  f();
}
// Behind what is in the stream now.
std::shared_ptr<c10::Event> event_on(const c10::Stream&);
// Throws where the device's current stream is being captured: a graph holds no work of the host, which `operation` is.
void require_no_capture(c10::Device, const char* operation);

struct OnStream {
  // On `side`, behind what is in the current stream; without one, on the current stream itself.
  OnStream(c10::Device, std::optional<c10::Stream> side);
  ~OnStream();

  const c10::Stream caller;      // current where the operation was submitted
  const c10::Stream stream;
  const std::thread::id thread;  // makes the call: current devices and captures are a thread's
  const bool captured;           // recorded into a graph: nothing runs now, and nobody can ask how far it is
  std::optional<c10::Event> end{std::in_place, c10::kCUDA};  // behind the work, once it is recorded
};

// A group's own streams, one for each device. Thread-safe.
class SideStreams {
 public:
  c10::Stream of(c10::Device);
  // That the group works on, if it has used one.
  std::optional<c10::Device> device();

 private:
  std::mutex mutex_;
  std::vector<c10::Stream> streams_;
};

}  // namespace libcoll::torch_door
