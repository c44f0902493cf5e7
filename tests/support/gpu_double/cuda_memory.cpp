// Memory of the CUDA table: allocation, registration, attributes, copies.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "tests/support/gpu_double/state.hpp"

namespace libcoll::test::gpu_double {

using cuda::Error;

namespace {

// Of a device that works, once the stream gets there; without the lock, as it may take long.
template <class Work>
Task access(State& s, const Stream& on, Work work) {
  Task t;
  t.start = [work, &s, device = on.device](Lock& inner) {
    if (s.device_errors.contains(device)) return;
    inner.unlock();
    work();
    inner.lock();
  };
  return t;
}

Error allocate(State& s, void** to, std::size_t bytes, Kind kind) {
  if (!to) return Error::invalid_value;
  *to = nullptr;
  if (s.unsafe_now()) return Error::stream_capture_unsupported;
  if (bytes == 0) return Error::success;
  *to = s.memory.allocate(bytes, kind, global_device(s, local().device), false);
  return *to ? Error::success : Error::memory_allocation;
}

// Like cudaFree, which waits for the device: not before the operations that use it are done, which is worth a report.
Error release(State& s, Lock& lock, void* p, std::initializer_list<Kind> kinds, const char* function) {
  if (!p) return Error::success;
  if (s.unsafe_now()) return Error::stream_capture_unsupported;
  Block* b = s.memory.find(p);
  if (!b || b->base != reinterpret_cast<std::uintptr_t>(p) || b->nccl || std::find(kinds.begin(), kinds.end(), b->kind) == kinds.end()) {
    const std::string freed = b ? "not such an allocation" : s.memory.fault_of(p, 1, false);
    s.report(fmt::format("{}: {}", function, freed));
    return kinds.size() == 1 && *kinds.begin() == Kind::registered ? Error::host_memory_not_registered : Error::invalid_value;
  }
  if (b->uses > 0 && !s.dead) {
    s.report(fmt::format("{}: {} bytes of {} memory while {} operations in flight use it", function, b->bytes, name_of(b->kind), b->uses));
    s.host_wait(lock, function, [&] { b = s.memory.find(p); return !b || b->uses == 0; });
    if (!b) return Error::invalid_value;
  }
  if (b->registrations > 0) s.report(fmt::format("{}: {} bytes that are still registered with a communicator", function, b->bytes));
  s.memory.release(*b);
  return Error::success;
}

bool kind_fits(const Block* b, bool device_wanted) {
  if (!b) return !device_wanted;
  return b->kind == Kind::managed || (b->kind == Kind::device) == device_wanted;
}

Error copy(State& s, Lock& lock, void* to, const void* from, std::size_t bytes, cuda::CopyKind kind, cuda::Stream handle) {
  Error error;
  const auto stream = s.stream_of(handle, error, "cudaMemcpyAsync");
  if (!stream) return error;
  for (const void* p : {static_cast<const void*>(to), from})
    if (std::string wrong = s.memory.fault_of(p, bytes, true); !wrong.empty()) {
      s.report("cudaMemcpyAsync: " + wrong);
      return Error::invalid_value;
    }
  using enum cuda::CopyKind;
  if (kind != automatic && bytes != 0) {
    const bool from_device = kind == device_to_host || kind == device_to_device, to_device = kind == host_to_device || kind == device_to_device;
    if (!kind_fits(s.memory.find(from), from_device) || !kind_fits(s.memory.find(to), to_device)) {
      s.report(fmt::format("cudaMemcpyAsync: the buffers are not of the kind {}", static_cast<int>(kind)));
      return Error::invalid_value;
    }
  }
  const auto run = [=, &s](Lock& l, Stream& on) {
    Task t = access(s, on, [=] { if (bytes) std::memmove(to, from, bytes); });
    t.text = fmt::format("a copy of {} bytes", bytes);
    t.uses = {{to, bytes}, {from, bytes}};
    return s.enqueue(l, on, std::move(t));
  };
  // Pageable sources, too, are read when the stream gets there: CUDA promises no more, and often does it at once.
  return s.submit(lock, *stream, run);
}

Error set(State& s, Lock& lock, void* to, int value, std::size_t bytes, cuda::Stream handle) {
  Error error;
  const auto stream = s.stream_of(handle, error, "cudaMemsetAsync");
  if (!stream) return error;
  if (std::string wrong = s.memory.fault_of(to, bytes, false); !wrong.empty()) {
    s.report("cudaMemsetAsync: " + wrong);
    return Error::invalid_value;
  }
  return s.submit(lock, *stream, [=, &s](Lock& l, Stream& on) {
    Task t = access(s, on, [=] { if (bytes) std::memset(to, value, bytes); });
    t.text = fmt::format("a memset of {} bytes", bytes);
    t.uses = {{to, bytes}};
    return s.enqueue(l, on, std::move(t));
  });
}

// Allocated at once, where CUDA allocates in stream order; freed when the stream gets there.
Error free_async(State& s, Lock& lock, void* p, cuda::Stream handle) {
  Error error;
  const auto stream = s.stream_of(handle, error, "cudaFreeAsync");
  if (!stream) return error;
  if (stream->capture) return Error::stream_capture_unsupported;
  const Block* b = s.memory.find(p);
  if (!b || b->base != reinterpret_cast<std::uintptr_t>(p) || b->kind != Kind::device || b->nccl) {
    s.report("cudaFreeAsync: " + (b ? std::string("not such an allocation") : s.memory.fault_of(p, 1, false)));
    return Error::invalid_value;
  }
  Task t;
  t.text = "a free";
  t.start = [&s, p](Lock&) {
    Block* block = s.memory.find(p);
    if (!block) return s.report("cudaFreeAsync: freed twice");
    if (block->uses > 0) s.report(fmt::format("cudaFreeAsync: {} bytes while {} operations of other streams use them", block->bytes, block->uses));
    s.memory.release(*block);
  };
  return s.enqueue(lock, *stream, std::move(t));
}

Error attributes(State& s, cuda::PointerAttributes* out, const void* p) {
  if (!out) return Error::invalid_value;
  *out = {};
  const Block* b = s.memory.find(p);
  const bool host_kind = b && (b->kind == Kind::pinned || b->kind == Kind::registered);
  // Another host's memory means nothing here.
  if (!b || b->device / s.options.devices_per_host != local().host) return Error::success;
  void* address = const_cast<void*>(p);
  out->type = host_kind ? cuda::MemoryType::host : b->kind == Kind::managed ? cuda::MemoryType::managed : cuda::MemoryType::device;
  out->device = b->device % s.options.devices_per_host;
  out->device_pointer = address;
  out->host_pointer = b->kind == Kind::device ? nullptr : address;
  return Error::success;
}

}  // namespace

void fill_memory_functions(cuda::Table& t) {
  t.malloc = [](void** p, std::size_t n) { return cuda_call([&](State& s, Lock&) { return allocate(s, p, n, Kind::device); }); };
  t.malloc_managed = [](void** p, std::size_t n, unsigned) { return cuda_call([&](State& s, Lock&) { return allocate(s, p, n, Kind::managed); }); };
  t.host_alloc = [](void** p, std::size_t n, unsigned) { return cuda_call([&](State& s, Lock&) { return allocate(s, p, n, Kind::pinned); }); };
  t.malloc_async = [](void** p, std::size_t n, cuda::Stream handle) {
    return cuda_call([&](State& s, Lock&) {
      Error error;
      const auto stream = s.stream_of(handle, error, "cudaMallocAsync");
      if (!stream) return error;
      if (stream->capture || !p) return p ? Error::stream_capture_unsupported : Error::invalid_value;
      *p = n ? s.memory.allocate(n, Kind::device, stream->device, false) : nullptr;
      return *p || n == 0 ? Error::success : Error::memory_allocation;
    });
  };
  t.free = [](void* p) { return cuda_call([&](State& s, Lock& l) { return release(s, l, p, {Kind::device, Kind::managed}, "cudaFree"); }); };
  t.free_host = [](void* p) { return cuda_call([&](State& s, Lock& l) { return release(s, l, p, {Kind::pinned}, "cudaFreeHost"); }); };
  t.free_async = [](void* p, cuda::Stream h) { return cuda_call([&](State& s, Lock& l) { return p ? free_async(s, l, p, h) : Error::success; }); };
  t.host_register = [](void* p, std::size_t n, unsigned) {
    return cuda_call([&](State& s, Lock&) {
      if (s.unsafe_now()) return Error::stream_capture_unsupported;
      if (!p || n == 0) return Error::invalid_value;
      return s.memory.add_registered(p, n, global_device(s, local().device)) ? Error::success : Error::host_memory_already_registered;
    });
  };
  t.host_unregister = [](void* p) {
    return cuda_call([&](State& s, Lock& l) { return p ? release(s, l, p, {Kind::registered}, "cudaHostUnregister") : Error::invalid_value; });
  };
  t.pointer_get_attributes = [](cuda::PointerAttributes* a, const void* p) { return cuda_call([&](State& s, Lock&) { return attributes(s, a, p); }); };
  t.memcpy_async = [](void* to, const void* from, std::size_t n, cuda::CopyKind k, cuda::Stream h) {
    return cuda_call([&](State& s, Lock& l) { return copy(s, l, to, from, n, k, h); });
  };
  t.memset_async = [](void* to, int value, std::size_t n, cuda::Stream h) { return cuda_call([&](State& s, Lock& l) { return set(s, l, to, value, n, h); }); };
}

}  // namespace libcoll::test::gpu_double
