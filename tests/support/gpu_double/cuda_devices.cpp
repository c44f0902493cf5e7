// Devices, versions and errors of the CUDA table.
#include <cstdio>
#include <utility>

#include "tests/support/gpu_double/state.hpp"

namespace libcoll::test::gpu_double {

using cuda::Error;

namespace {

const char* text_of(Error e) {
  switch (e) {
    case Error::success: return "FAKE CUDA: no error";
    case Error::invalid_value: return "FAKE CUDA: invalid argument";
    case Error::memory_allocation: return "FAKE CUDA: out of memory";
    case Error::initialization_error: return "FAKE CUDA: no session of the test double is active";
    case Error::insufficient_driver: return "FAKE CUDA: the driver is too old";
    case Error::no_device: return "FAKE CUDA: no device";
    case Error::invalid_device: return "FAKE CUDA: invalid device ordinal";
    case Error::invalid_resource_handle: return "FAKE CUDA: invalid resource handle";
    case Error::not_ready: return "FAKE CUDA: not ready";
    case Error::illegal_address: return "FAKE CUDA: illegal memory access";
    case Error::host_memory_already_registered: return "FAKE CUDA: memory is already registered";
    case Error::host_memory_not_registered: return "FAKE CUDA: memory is not registered";
    case Error::launch_failure: return "FAKE CUDA: launch failure, or the watchdog of the test double gave up";
    case Error::not_permitted: return "FAKE CUDA: not permitted in a host function";
    case Error::not_supported: return "FAKE CUDA: not supported by the test double";
    case Error::stream_capture_unsupported: return "FAKE CUDA: not permitted while a stream is capturing";
    case Error::stream_capture_invalidated: return "FAKE CUDA: the capture was invalidated";
    case Error::stream_capture_merge: return "FAKE CUDA: two captures would be merged";
    case Error::stream_capture_unmatched: return "FAKE CUDA: the capture did not begin on this stream";
    case Error::stream_capture_unjoined: return "FAKE CUDA: the capture has streams that were not joined";
    case Error::stream_capture_isolation: return "FAKE CUDA: a capture would depend on work outside it";
    case Error::stream_capture_implicit: return "FAKE CUDA: the default stream would depend on a capture";
    case Error::captured_event: return "FAKE CUDA: the event was recorded in a capture";
    case Error::stream_capture_wrong_thread: return "FAKE CUDA: the capture was begun by another thread";
    case Error::unknown: return "FAKE CUDA: unknown error";
  }
  return "FAKE CUDA: unrecognized error code";
}

Error put(int* to, int value) {
  if (!to) return Error::invalid_value;
  *to = value;
  return Error::success;
}

bool valid(const State& s, int ordinal) { return ordinal >= 0 && ordinal < s.options.devices_per_host; }

int attribute(const State& s, cuda::Attribute a) {
  switch (a) {
    case cuda::Attribute::multiprocessor_count: return 132;
    case cuda::Attribute::unified_addressing: return 1;
    case cuda::Attribute::compute_capability_major: return 9;
    case cuda::Attribute::compute_capability_minor: return 0;
    case cuda::Attribute::host_register_supported: return 1;
    case cuda::Attribute::memory_pools_supported: return s.options.cuda_version >= 11020;
  }
  return -1;
}

}  // namespace

void fill_device_functions(cuda::Table& t) {
  t.runtime_get_version = t.driver_get_version = [](int* v) {
    return cuda_call([&](State& s, Lock&) { return put(v, s.options.cuda_version); });
  };
  t.get_device_count = [](int* n) {
    return cuda_call([&](State& s, Lock&) {
      const Error e = put(n, s.options.devices_per_host);
      return e == Error::success && *n == 0 ? Error::no_device : e;
    });
  };
  t.get_device = [](int* d) { return cuda_call([&](State&, Lock&) { return put(d, local().device); }); };
  t.set_device = [](int d) {
    return cuda_call([&](State& s, Lock&) {
      if (!valid(s, d)) return Error::invalid_device;
      local().device = d;
      return Error::success;
    });
  };
  t.device_get_attribute = [](int* v, cuda::Attribute a, int d) {
    return cuda_call([&](State& s, Lock&) {
      if (!valid(s, d)) return Error::invalid_device;
      const int value = attribute(s, a);
      return value < 0 ? Error::invalid_value : put(v, value);
    });
  };
  t.device_get_pci_bus_id = [](char* to, int bytes, int d) {
    return cuda_call([&](State& s, Lock&) {
      if (!valid(s, d)) return Error::invalid_device;
      if (!to || bytes <= 0) return Error::invalid_value;
      const int n = std::snprintf(to, static_cast<std::size_t>(bytes), "0000:%02X:00.0", d + 1);
      return n < bytes ? Error::success : Error::invalid_value;
    });
  };
  t.device_can_access_peer = [](int* can, int d, int peer) {
    return cuda_call([&](State& s, Lock&) {
      if (!valid(s, d) || !valid(s, peer)) return Error::invalid_device;
      return put(can, d != peer);
    });
  };
  t.get_error_string = text_of;
  t.get_last_error = [] { return std::exchange(local().last_error, Error::success); };
}

}  // namespace libcoll::test::gpu_double
