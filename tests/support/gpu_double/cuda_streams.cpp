// Streams, events and host functions of the CUDA table.
#include <fmt/format.h>

#include "tests/support/gpu_double/state.hpp"

namespace libcoll::test::gpu_double {

using cuda::Error;

namespace {

// How a wait ended.
Error outcome(State& s, int device) {
  if (s.dead) return Error::launch_failure;
  const auto e = s.device_errors.find(device);
  return e == s.device_errors.end() ? Error::success : e->second;
}

// Synchronising calls invalidate the capture that a stream is part of.
bool refuse_capture(Stream& s) {
  if (s.capture) s.capture->invalid = true;
  return s.capture != nullptr;
}

Error create(State& s, cuda::Stream* out, unsigned flags) {
  if (!out || (flags & ~cuda::stream_non_blocking)) return Error::invalid_value;
  if (s.options.devices_per_host == 0) return Error::no_device;
  *out = reinterpret_cast<cuda::Stream>(s.streams.add(s.make_stream(global_device(s, local().device), !(flags & cuda::stream_non_blocking), false)));
  return Error::success;
}

// Returns at once; the stream ends when its work is done.
Error destroy(State& s, cuda::Stream handle) {
  Error error;
  const auto stream = s.stream_of(handle, error, "cudaStreamDestroy");
  if (!stream) return error;
  if (stream->legacy) return Error::invalid_resource_handle;
  if (refuse_capture(*stream)) s.report(fmt::format("cudaStreamDestroy: stream {} is capturing", stream->number));
  stream->stop = true;
  stream->cv.notify_all();
  s.streams.erase(handle);
  return Error::success;
}

Error synchronize(State& s, Lock& lock, cuda::Stream handle) {
  Error error;
  const auto stream = s.stream_of(handle, error, "cudaStreamSynchronize");
  if (!stream) return error;
  if (refuse_capture(*stream)) return Error::stream_capture_unsupported;
  const std::uint64_t upto = stream->enqueued;
  s.host_wait(lock, fmt::format("cudaStreamSynchronize of stream {} of device {}", stream->number, stream->device), [&] { return stream->completed >= upto; });
  return outcome(s, stream->device);
}

std::shared_ptr<Event> event_of(State& s, cuda::Event handle, const char* function) {
  auto e = s.events.find(handle);
  if (!e) s.report(fmt::format("{}: {}", function, s.events.was(handle) ? "an event after its destruction" : "not an event"));
  return e;
}

Error record(State& s, Lock& lock, cuda::Event handle, cuda::Stream on) {
  Error error;
  const auto stream = s.stream_of(on, error, "cudaEventRecord");
  if (!stream) return error;
  const auto event = event_of(s, handle, "cudaEventRecord");
  if (!event) return Error::invalid_resource_handle;
  if (stream->capture) {
    if (stream->capture->invalid) return Error::stream_capture_invalidated;
    event->capture = stream->capture;
    event->clock = stream->capture->clocks[stream.get()];
    event->recorded = nullptr;
    return Error::success;
  }
  const auto signal = std::make_shared<Signal>();
  Task t;
  t.text = "a record of an event";
  t.finish = [&s, signal] { s.fire(*signal); };
  if (const Error e = s.enqueue(lock, *stream, std::move(t)); e != Error::success) return e;
  event->capture = nullptr;
  event->recorded = signal;
  return Error::success;
}

// A captured event takes the stream into its capture.
Error wait_captured(Stream& stream, const Event& event) {
  if (event.capture->invalid) return Error::stream_capture_invalidated;
  if (stream.legacy) return Error::stream_capture_implicit;
  if (stream.capture && stream.capture != event.capture) {
    stream.capture->invalid = event.capture->invalid = true;
    return Error::stream_capture_merge;
  }
  stream.capture = event.capture;
  auto& clock = stream.capture->clocks[&stream];
  for (const auto& [other, n] : event.clock) clock[other] = std::max(clock[other], n);
  return Error::success;
}

Error wait(State& s, Lock& lock, cuda::Stream on, cuda::Event handle) {
  Error error;
  const auto stream = s.stream_of(on, error, "cudaStreamWaitEvent");
  if (!stream) return error;
  const auto event = event_of(s, handle, "cudaStreamWaitEvent");
  if (!event) return Error::invalid_resource_handle;
  if (event->capture) return wait_captured(*stream, *event);
  if (!event->recorded) return Error::success;
  if (refuse_capture(*stream)) return Error::stream_capture_isolation;
  if (event->recorded->done) return Error::success;
  Task t;
  t.text = "an event";
  t.before = {event->recorded};
  return s.enqueue(lock, *stream, std::move(t));
}

Error event_state(State& s, Lock& lock, cuda::Event handle, bool block) {
  const auto event = event_of(s, handle, block ? "cudaEventSynchronize" : "cudaEventQuery");
  if (!event) return Error::invalid_resource_handle;
  if (event->capture) {
    event->capture->invalid = true;
    return Error::captured_event;
  }
  const SignalPtr signal = event->recorded;
  if (!signal || signal->done) return Error::success;
  if (s.dead) return Error::launch_failure;
  if (!block) return Error::not_ready;
  s.host_wait(lock, "cudaEventSynchronize", [&] { return signal->done; });
  return s.dead ? Error::launch_failure : Error::success;
}

Error host_function(State& s, Lock& lock, cuda::Stream on, cuda::HostFunction f, void* data) {
  Error error;
  const auto stream = s.stream_of(on, error, "cudaLaunchHostFunc");
  if (!stream || !f) return stream ? Error::invalid_value : error;
  return s.submit(lock, *stream, [&s, f, data](Lock& l, Stream& target) {
    Task t;
    t.text = "a host function";
    t.start = [f, data, device = target.device, &s](Lock& inner) {
      if (s.device_errors.contains(device)) return;  // as on hardware: not after an error of the device
      inner.unlock();
      local().in_host_function = true;
      f(data);
      local().in_host_function = false;
      inner.lock();
    };
    return s.enqueue(l, target, std::move(t));
  });
}

}  // namespace

void fill_stream_functions(cuda::Table& t) {
  t.stream_create_with_flags = [](cuda::Stream* out, unsigned flags) { return cuda_call([&](State& s, Lock&) { return create(s, out, flags); }); };
  t.stream_destroy = [](cuda::Stream h) { return cuda_call([&](State& s, Lock&) { return destroy(s, h); }); };
  t.stream_synchronize = [](cuda::Stream h) { return cuda_call([&](State& s, Lock& l) { return synchronize(s, l, h); }); };
  t.stream_query = [](cuda::Stream h) {
    return cuda_call([&](State& s, Lock&) {
      Error error;
      const auto stream = s.stream_of(h, error, "cudaStreamQuery");
      if (!stream) return error;
      if (refuse_capture(*stream)) return Error::stream_capture_unsupported;
      if (const Error e = outcome(s, stream->device); e != Error::success) return e;
      return stream->completed == stream->enqueued ? Error::success : Error::not_ready;
    });
  };
  t.stream_get_device = [](cuda::Stream h, int* device) {
    return cuda_call([&](State& s, Lock&) {
      Error error;
      const auto stream = s.stream_of(h, error, "cudaStreamGetDevice");
      if (stream) *device = stream->device % s.options.devices_per_host;
      return error;
    });
  };
  t.stream_wait_event = [](cuda::Stream h, cuda::Event e, unsigned) { return cuda_call([&](State& s, Lock& l) { return wait(s, l, h, e); }); };
  t.event_create_with_flags = [](cuda::Event* out, unsigned) {
    return cuda_call([&](State& s, Lock&) {
      if (!out) return Error::invalid_value;
      *out = reinterpret_cast<cuda::Event>(s.events.add(std::make_shared<Event>()));
      return Error::success;
    });
  };
  t.event_record = [](cuda::Event e, cuda::Stream h) { return cuda_call([&](State& s, Lock& l) { return record(s, l, e, h); }); };
  t.event_query = [](cuda::Event e) { return cuda_call([&](State& s, Lock& l) { return event_state(s, l, e, false); }); };
  t.event_synchronize = [](cuda::Event e) { return cuda_call([&](State& s, Lock& l) { return event_state(s, l, e, true); }); };
  t.event_destroy = [](cuda::Event e) {
    return cuda_call([&](State& s, Lock&) {
      if (!event_of(s, e, "cudaEventDestroy")) return Error::invalid_resource_handle;
      s.events.erase(e);
      return Error::success;
    });
  };
  t.launch_host_function = [](cuda::Stream h, cuda::HostFunction f, void* data) {
    return cuda_call([&](State& s, Lock& l) { return host_function(s, l, h, f, data); });
  };
}

}  // namespace libcoll::test::gpu_double
