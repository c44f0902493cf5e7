#include "libcoll/kernels/copy.hpp"

#include <cstring>

namespace libcoll::kernels {

void copy(void* dst, const void* src, std::size_t bytes) noexcept { std::memcpy(dst, src, bytes); }
void copy_streaming(void* dst, const void* src, std::size_t bytes) noexcept { std::memcpy(dst, src, bytes); }

}  // namespace libcoll::kernels
