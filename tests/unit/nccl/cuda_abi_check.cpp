// Compiles only if our declarations agree with the real cuda_runtime_api.h.
#include <cuda_runtime_api.h>

#include "tests/unit/nccl/abi_equal.hpp"
#include "transports/nccl/cuda_table.hpp"

namespace libcoll::cuda {

#define LIBCOLL_CHECK(member, symbol, ...) \
  static_assert(test::AbiEqual<__VA_ARGS__, std::remove_pointer_t<decltype(&::symbol)>>::value, #symbol);
LIBCOLL_CUDA_FUNCTIONS(LIBCOLL_CHECK)
#if CUDART_VERSION >= 12080
LIBCOLL_CUDA_OPTIONAL_FUNCTIONS(LIBCOLL_CHECK)
#endif
#undef LIBCOLL_CHECK

#define LIBCOLL_CHECK(ours, theirs) static_assert(static_cast<int>(ours) == static_cast<int>(theirs), #theirs)
LIBCOLL_CHECK(Error::success, cudaSuccess);
LIBCOLL_CHECK(Error::invalid_value, cudaErrorInvalidValue);
LIBCOLL_CHECK(Error::memory_allocation, cudaErrorMemoryAllocation);
LIBCOLL_CHECK(Error::initialization_error, cudaErrorInitializationError);
LIBCOLL_CHECK(Error::insufficient_driver, cudaErrorInsufficientDriver);
LIBCOLL_CHECK(Error::no_device, cudaErrorNoDevice);
LIBCOLL_CHECK(Error::invalid_device, cudaErrorInvalidDevice);
LIBCOLL_CHECK(Error::invalid_resource_handle, cudaErrorInvalidResourceHandle);
LIBCOLL_CHECK(Error::not_ready, cudaErrorNotReady);
LIBCOLL_CHECK(Error::illegal_address, cudaErrorIllegalAddress);
LIBCOLL_CHECK(Error::host_memory_already_registered, cudaErrorHostMemoryAlreadyRegistered);
LIBCOLL_CHECK(Error::host_memory_not_registered, cudaErrorHostMemoryNotRegistered);
LIBCOLL_CHECK(Error::launch_failure, cudaErrorLaunchFailure);
LIBCOLL_CHECK(Error::not_permitted, cudaErrorNotPermitted);
LIBCOLL_CHECK(Error::not_supported, cudaErrorNotSupported);
LIBCOLL_CHECK(Error::stream_capture_unsupported, cudaErrorStreamCaptureUnsupported);
LIBCOLL_CHECK(Error::stream_capture_invalidated, cudaErrorStreamCaptureInvalidated);
LIBCOLL_CHECK(Error::stream_capture_merge, cudaErrorStreamCaptureMerge);
LIBCOLL_CHECK(Error::stream_capture_unmatched, cudaErrorStreamCaptureUnmatched);
LIBCOLL_CHECK(Error::stream_capture_unjoined, cudaErrorStreamCaptureUnjoined);
LIBCOLL_CHECK(Error::stream_capture_isolation, cudaErrorStreamCaptureIsolation);
LIBCOLL_CHECK(Error::stream_capture_implicit, cudaErrorStreamCaptureImplicit);
LIBCOLL_CHECK(Error::captured_event, cudaErrorCapturedEvent);
LIBCOLL_CHECK(Error::stream_capture_wrong_thread, cudaErrorStreamCaptureWrongThread);
LIBCOLL_CHECK(Error::unknown, cudaErrorUnknown);
LIBCOLL_CHECK(MemoryType::unregistered, cudaMemoryTypeUnregistered);
LIBCOLL_CHECK(MemoryType::host, cudaMemoryTypeHost);
LIBCOLL_CHECK(MemoryType::device, cudaMemoryTypeDevice);
LIBCOLL_CHECK(MemoryType::managed, cudaMemoryTypeManaged);
LIBCOLL_CHECK(CopyKind::host_to_host, cudaMemcpyHostToHost);
LIBCOLL_CHECK(CopyKind::host_to_device, cudaMemcpyHostToDevice);
LIBCOLL_CHECK(CopyKind::device_to_host, cudaMemcpyDeviceToHost);
LIBCOLL_CHECK(CopyKind::device_to_device, cudaMemcpyDeviceToDevice);
LIBCOLL_CHECK(CopyKind::automatic, cudaMemcpyDefault);
LIBCOLL_CHECK(CaptureMode::global, cudaStreamCaptureModeGlobal);
LIBCOLL_CHECK(CaptureMode::thread_local_only, cudaStreamCaptureModeThreadLocal);
LIBCOLL_CHECK(CaptureMode::relaxed, cudaStreamCaptureModeRelaxed);
LIBCOLL_CHECK(CaptureStatus::none, cudaStreamCaptureStatusNone);
LIBCOLL_CHECK(CaptureStatus::active, cudaStreamCaptureStatusActive);
LIBCOLL_CHECK(CaptureStatus::invalidated, cudaStreamCaptureStatusInvalidated);
LIBCOLL_CHECK(Attribute::multiprocessor_count, cudaDevAttrMultiProcessorCount);
LIBCOLL_CHECK(Attribute::unified_addressing, cudaDevAttrUnifiedAddressing);
LIBCOLL_CHECK(Attribute::compute_capability_major, cudaDevAttrComputeCapabilityMajor);
LIBCOLL_CHECK(Attribute::compute_capability_minor, cudaDevAttrComputeCapabilityMinor);
LIBCOLL_CHECK(Attribute::host_register_supported, cudaDevAttrHostRegisterSupported);
LIBCOLL_CHECK(Attribute::memory_pools_supported, cudaDevAttrMemoryPoolsSupported);
LIBCOLL_CHECK(stream_non_blocking, cudaStreamNonBlocking);
LIBCOLL_CHECK(event_disable_timing, cudaEventDisableTiming);
LIBCOLL_CHECK(host_alloc_portable, cudaHostAllocPortable);
LIBCOLL_CHECK(mem_attach_global, cudaMemAttachGlobal);
#undef LIBCOLL_CHECK

static_assert(sizeof(PointerAttributes) >= sizeof(cudaPointerAttributes) && alignof(PointerAttributes) >= alignof(cudaPointerAttributes));
static_assert(offsetof(PointerAttributes, type) == offsetof(cudaPointerAttributes, type));
static_assert(offsetof(PointerAttributes, device) == offsetof(cudaPointerAttributes, device));
static_assert(offsetof(PointerAttributes, device_pointer) == offsetof(cudaPointerAttributes, devicePointer));
static_assert(offsetof(PointerAttributes, host_pointer) == offsetof(cudaPointerAttributes, hostPointer));

}  // namespace libcoll::cuda
