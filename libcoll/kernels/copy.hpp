// Memory copies with a chosen cache policy. Any alignment, any size; no overlap. Thread-safe.
#pragma once

#include <cstddef>

namespace libcoll::kernels {

// Leaves the destination in the cache: for data that is read again soon.
void copy(void* dst, const void* src, std::size_t bytes) noexcept;

// Non-temporal stores: for working sets beyond the cache, saves reading the destination first.
// Fenced before returning, so that a following release store publishes the data.
void copy_streaming(void* dst, const void* src, std::size_t bytes) noexcept;

}  // namespace libcoll::kernels
