// CUDA for a torch that was built without it: the device type's guard, allocator and the kernels that the backend and its tests use,
// on the double of tests/support/gpu_double. Streams and events are the double's, and kernels run when a stream gets to them; memory
// is given back in the order of the stream that it was allocated on, as torch's caching allocator does.
#pragma once

#include <functional>

#include <ATen/ATen.h>
#include <c10/core/Stream.h>

#include "tests/support/gpu_double/gpu_double.hpp"

namespace libcoll::test::fake_cuda {

inline constexpr int devices = 4;

// The one session of this process; torch's CUDA device and libcoll's use it.
gpu_double::Session& session();
const cuda::Table& table();
void require(cuda::Error, const char* function);

cuda::Stream handle_of(const c10::Stream&);
c10::Stream current_stream(int device);
c10::Stream pool_stream(int device);           // what torch's pool gives: one of a few
c10::Stream own_stream(int device, int which); // none of these
// Runs it on the current stream of the tensor's device.
void launch(const at::Tensor& on, std::function<void()> kernel);
// What a kernel sees of a tensor: the same memory, as a CPU tensor that does not keep it.
at::Tensor as_seen_by_kernels(const at::Tensor&);
void synchronize(int device);  // the current stream

// Ends it all: what was reported, and what was not given back.
std::vector<std::string> finish();

}  // namespace libcoll::test::fake_cuda
