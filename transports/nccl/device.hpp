// Owners of what CUDA gives: the current device of a thread, streams, events, memory. Constructors throw
// Error{system} that names the call; destructors ignore errors. One thread at a time each.
#pragma once

#include <cstddef>
#include <utility>

#include "transports/nccl/cuda_table.hpp"

namespace libcoll::device {

// Throws Error{system} unless it is success: "cudaEventRecord: out of memory".
void require(const cuda::Table&, cuda::Error, const char* call);

// Makes a device the calling thread's while it lives.
class Current {
 public:
  Current(const cuda::Table&, int ordinal);
  ~Current();
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

 private:
  const cuda::Table& cuda_;
  int before_;
  bool changed_;
};

// Does not wait for the legacy default stream, nor that for it.
class Stream {
 public:
  explicit Stream(const cuda::Table&);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cuda::Stream get() const { return stream_; }

 private:
  const cuda::Table& cuda_;
  cuda::Stream stream_ = nullptr;
};

// Without timing. May be recorded again as soon as the waits for its earlier record have been enqueued.
class Event {
 public:
  explicit Event(const cuda::Table&);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(cuda::Stream);
  void make_wait(cuda::Stream) const;  // what is enqueued there from now on
  bool reached() const;                // throws what the stream died of

 private:
  const cuda::Table& cuda_;
  cuda::Event event_ = nullptr;
};

// Page-locked host memory, grown by need. Its contents do not survive growth.
class Pinned {
 public:
  explicit Pinned(const cuda::Table& cuda) : cuda_(cuda) {}
  ~Pinned();
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  std::byte* reserve(std::size_t bytes);

 private:
  const cuda::Table& cuda_;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Memory of the current device that belongs to the work of a stream: taken and given back in its order.
class StreamMemory {
 public:
  StreamMemory(const cuda::Table&, std::size_t bytes, cuda::Stream);
  ~StreamMemory();  // behind what has been enqueued by then, if that has not been done
  StreamMemory(const StreamMemory&) = delete;
  StreamMemory& operator=(const StreamMemory&) = delete;
  std::byte* data() const { return static_cast<std::byte*>(data_); }
  void give_back();

 private:
  const cuda::Table& cuda_;
  cuda::Stream stream_;
  void* data_ = nullptr;
};

// Memory of the current device.
class Memory {
 public:
  Memory(const cuda::Table&, std::size_t bytes);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void* data() const { return data_; }

 private:
  const cuda::Table& cuda_;
  void* data_ = nullptr;
};

}  // namespace libcoll::device
