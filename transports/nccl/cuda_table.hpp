// The CUDA runtime behind a table of functions, opened at run time: nothing of CUDA is linked or included. The types
// are our own declarations of its C ABI, which tests/unit/nccl/cuda_abi_check.cpp compares with the real headers.
// Tables are values; what their functions point to stays loaded until the process ends. Thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <type_traits>
#include <vector>

#include "libcoll/core/result.hpp"

namespace libcoll::cuda {

enum class Error : int {
  success = 0,
  invalid_value = 1,
  memory_allocation = 2,
  initialization_error = 3,
  insufficient_driver = 35,
  no_device = 100,
  invalid_device = 101,
  invalid_resource_handle = 400,
  not_ready = 600,
  illegal_address = 700,
  host_memory_already_registered = 712,
  host_memory_not_registered = 713,
  launch_failure = 719,
  not_permitted = 800,
  not_supported = 801,
  stream_capture_unsupported = 900,
  stream_capture_invalidated = 901,
  stream_capture_merge = 902,
  stream_capture_unmatched = 903,
  stream_capture_unjoined = 904,
  stream_capture_isolation = 905,
  stream_capture_implicit = 906,
  captured_event = 907,
  stream_capture_wrong_thread = 908,
  unknown = 999,
};
enum class MemoryType : int { unregistered = 0, host = 1, device = 2, managed = 3 };
enum class CopyKind : int { host_to_host = 0, host_to_device = 1, device_to_host = 2, device_to_device = 3, automatic = 4 };
enum class CaptureMode : int { global = 0, thread_local_only = 1, relaxed = 2 };
enum class CaptureStatus : int { none = 0, active = 1, invalidated = 2 };
enum class Attribute : int {
  multiprocessor_count = 16,
  unified_addressing = 41,
  compute_capability_major = 75,
  compute_capability_minor = 76,
  host_register_supported = 99,
  memory_pools_supported = 115,
};
inline constexpr unsigned stream_non_blocking = 1, event_disable_timing = 2, host_alloc_portable = 1, mem_attach_global = 1;

using Stream = struct OpaqueStream*;  // nullptr and legacy_stream(): the default stream
using Event = struct OpaqueEvent*;
using Graph = struct OpaqueGraph*;
using GraphExec = struct OpaqueGraphExec*;
using HostFunction = void (*)(void*);
inline Stream legacy_stream() { return reinterpret_cast<Stream>(1); }

struct PointerAttributes {
  MemoryType type = MemoryType::unregistered;
  int device = -1;
  void* device_pointer = nullptr;
  void* host_pointer = nullptr;
  // CUDA 13 writes 88 bytes here where CUDA 12 writes 24, under one symbol: room for both, and more.
  long reserved[13] = {};
};

// member, symbol, type. Required: in every runtime since 11.4, with one signature. (Not cudaStreamGetCaptureInfo, whose
// exported signature differs between 12 and 13, nor cudaGraphInstantiate, which changed in 12.)
#define LIBCOLL_CUDA_FUNCTIONS(F)                                                       \
  F(runtime_get_version, cudaRuntimeGetVersion, Error(int*))                            \
  F(driver_get_version, cudaDriverGetVersion, Error(int*))                              \
  F(get_device_count, cudaGetDeviceCount, Error(int*))                                  \
  F(get_device, cudaGetDevice, Error(int*))                                             \
  F(set_device, cudaSetDevice, Error(int))                                              \
  F(device_get_attribute, cudaDeviceGetAttribute, Error(int*, Attribute, int))          \
  F(device_get_pci_bus_id, cudaDeviceGetPCIBusId, Error(char*, int, int))               \
  F(device_can_access_peer, cudaDeviceCanAccessPeer, Error(int*, int, int))             \
  F(pointer_get_attributes, cudaPointerGetAttributes, Error(PointerAttributes*, const void*)) \
  F(malloc, cudaMalloc, Error(void**, std::size_t))                                     \
  F(free, cudaFree, Error(void*))                                                       \
  F(malloc_async, cudaMallocAsync, Error(void**, std::size_t, Stream))                  \
  F(free_async, cudaFreeAsync, Error(void*, Stream))                                    \
  F(malloc_managed, cudaMallocManaged, Error(void**, std::size_t, unsigned))            \
  F(host_alloc, cudaHostAlloc, Error(void**, std::size_t, unsigned))                    \
  F(free_host, cudaFreeHost, Error(void*))                                              \
  F(host_register, cudaHostRegister, Error(void*, std::size_t, unsigned))               \
  F(host_unregister, cudaHostUnregister, Error(void*))                                  \
  F(memcpy_async, cudaMemcpyAsync, Error(void*, const void*, std::size_t, CopyKind, Stream)) \
  F(memset_async, cudaMemsetAsync, Error(void*, int, std::size_t, Stream))              \
  F(stream_create_with_flags, cudaStreamCreateWithFlags, Error(Stream*, unsigned))      \
  F(stream_destroy, cudaStreamDestroy, Error(Stream))                                   \
  F(stream_synchronize, cudaStreamSynchronize, Error(Stream))                           \
  F(stream_query, cudaStreamQuery, Error(Stream))                                       \
  F(stream_wait_event, cudaStreamWaitEvent, Error(Stream, Event, unsigned))             \
  F(stream_is_capturing, cudaStreamIsCapturing, Error(Stream, CaptureStatus*))          \
  F(stream_begin_capture, cudaStreamBeginCapture, Error(Stream, CaptureMode))           \
  F(stream_end_capture, cudaStreamEndCapture, Error(Stream, Graph*))                    \
  F(thread_exchange_capture_mode, cudaThreadExchangeStreamCaptureMode, Error(CaptureMode*)) \
  F(graph_instantiate, cudaGraphInstantiateWithFlags, Error(GraphExec*, Graph, unsigned long long)) \
  F(graph_launch, cudaGraphLaunch, Error(GraphExec, Stream))                            \
  F(graph_exec_destroy, cudaGraphExecDestroy, Error(GraphExec))                         \
  F(graph_destroy, cudaGraphDestroy, Error(Graph))                                      \
  F(event_create_with_flags, cudaEventCreateWithFlags, Error(Event*, unsigned))         \
  F(event_record, cudaEventRecord, Error(Event, Stream))                                \
  F(event_query, cudaEventQuery, Error(Event))                                          \
  F(event_synchronize, cudaEventSynchronize, Error(Event))                              \
  F(event_destroy, cudaEventDestroy, Error(Event))                                      \
  F(launch_host_function, cudaLaunchHostFunc, Error(Stream, HostFunction, void*))       \
  F(get_error_string, cudaGetErrorString, const char*(Error))                           \
  F(get_last_error, cudaGetLastError, Error())
// Absent from older runtimes: a null pointer, and named in `missing`.
#define LIBCOLL_CUDA_OPTIONAL_FUNCTIONS(F)                                              \
  F(stream_get_device, cudaStreamGetDevice, Error(Stream, int*)) /* 12.8 */

struct Table {
#define LIBCOLL_MEMBER(member, symbol, ...) std::add_pointer_t<__VA_ARGS__> member = nullptr;
  LIBCOLL_CUDA_FUNCTIONS(LIBCOLL_MEMBER)
  LIBCOLL_CUDA_OPTIONAL_FUNCTIONS(LIBCOLL_MEMBER)
#undef LIBCOLL_MEMBER
  std::string origin;                // "libcudart.so.12, CUDA 12.9"; FAKE in the tests' double
  std::vector<std::string> missing;  // optional symbols that this runtime lacks
  int runtime_version = 0;           // 12090
  int driver_version = 0;
  bool fake = false;
  bool is_fake() const { return fake; }
};

// Opens LIBCOLL_CUDA_LIBRARY if set, and only that; else the libcudart that the process has loaded already; else
// libcudart.so.13, .12, .so, the first that works with the driver. Touches no device and creates no context. Fails with
// Errc::unsupported and the reason for each name: not found, symbols missing, no driver, a driver that is too old.
detail::Result<Table> load_cuda();

}  // namespace libcoll::cuda
