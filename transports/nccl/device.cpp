#include "transports/nccl/device.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "libcoll/error.hpp"

namespace libcoll::device {

void require(const cuda::Table& cuda, cuda::Error e, const char* call) {
  if (e == cuda::Error::success) [[likely]] return;
  cuda.get_last_error();  // which later calls would report again
  throw Error(Errc::system, fmt::format("libcoll: {}: {}", call, cuda.get_error_string(e)));
}

Current::Current(const cuda::Table& cuda, int ordinal) : cuda_(cuda), before_(ordinal), changed_(false) {
  require(cuda, cuda.get_device(&before_), "cudaGetDevice");
  if (before_ == ordinal) return;
  require(cuda, cuda.set_device(ordinal), "cudaSetDevice");
  changed_ = true;
}

Current::~Current() {
  if (changed_) cuda_.set_device(before_);
}

Stream::Stream(const cuda::Table& cuda) : cuda_(cuda) { require(cuda, cuda.stream_create_with_flags(&stream_, cuda::stream_non_blocking), "cudaStreamCreateWithFlags"); }
Stream::~Stream() { cuda_.stream_destroy(stream_); }

Event::Event(const cuda::Table& cuda) : cuda_(cuda) { require(cuda, cuda.event_create_with_flags(&event_, cuda::event_disable_timing), "cudaEventCreateWithFlags"); }
Event::~Event() { cuda_.event_destroy(event_); }
void Event::record(cuda::Stream s) { require(cuda_, cuda_.event_record(event_, s), "cudaEventRecord"); }
void Event::make_wait(cuda::Stream s) const { require(cuda_, cuda_.stream_wait_event(s, event_, 0), "cudaStreamWaitEvent"); }

bool Event::reached() const {
  const cuda::Error e = cuda_.event_query(event_);
  if (e == cuda::Error::not_ready) return cuda_.get_last_error(), false;
  require(cuda_, e, "cudaEventQuery");
  return true;
}

Pinned::~Pinned() {
  if (data_ != nullptr) cuda_.free_host(data_);
}

std::byte* Pinned::reserve(std::size_t bytes) {
  if (bytes > bytes_) {
    if (data_ != nullptr) cuda_.free_host(std::exchange(data_, nullptr));
    const std::size_t more = std::max(bytes, 2 * std::exchange(bytes_, 0));
    require(cuda_, cuda_.host_alloc(&data_, more, 0), "cudaHostAlloc");
    bytes_ = more;
  }
  return static_cast<std::byte*>(data_);
}

StreamMemory::StreamMemory(const cuda::Table& cuda, std::size_t bytes, cuda::Stream s) : cuda_(cuda), stream_(s) { require(cuda, cuda.malloc_async(&data_, bytes, s), "cudaMallocAsync"); }
StreamMemory::~StreamMemory() {
  if (data_ != nullptr && cuda_.free_async(data_, stream_) != cuda::Error::success) cuda_.get_last_error();
}
void StreamMemory::give_back() { require(cuda_, cuda_.free_async(std::exchange(data_, nullptr), stream_), "cudaFreeAsync"); }

Memory::Memory(const cuda::Table& cuda, std::size_t bytes) : cuda_(cuda) { require(cuda, cuda.malloc(&data_, bytes), "cudaMalloc"); }
Memory::~Memory() { cuda_.free(data_); }

}  // namespace libcoll::device
