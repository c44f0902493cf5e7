// CPU tensors in the host's shared memory, which the group's neighbours reduce and copy in place.
#pragma once

#include <cstddef>
#include <memory>

#include <ATen/ATen.h>

namespace libcoll::torch_door {

class Lane;

// Uninitialised as far as the caller may know. Lives as long as the tensor's storage, also past the group.
at::Tensor arena_tensor(Lane&, at::IntArrayRef sizes, const at::TensorOptions&);

// From now on torch's CPU allocator serves what has at least so many bytes from the arena of this lane's world, whoever asks
// (DDP's buckets, gradients, parameters); what finds no room there comes from the allocator before. Null: no more.
// Process-wide; what was allocated stays valid.
void serve_allocations(std::shared_ptr<Lane>, std::size_t at_least);

}  // namespace libcoll::torch_door
