// What a process needs to work on buffers in GPU memory, opened once: CUDA, and NCCL where it can be had. Thread-safe.
#pragma once

#include <optional>
#include <string>

#include "libcoll/core/result.hpp"
#include "transports/nccl/cuda_table.hpp"
#include "transports/nccl/nccl_table.hpp"

namespace libcoll::device {

struct Runtime {
  cuda::Table cuda;
  std::optional<nccl::Table> nccl;
  std::string without_nccl;  // why there is none
};

// Whether this process uses CUDA already: it has loaded the driver. Looks at nothing else.
bool in_use();
// Opened by the first call. Fails with Errc::unsupported and the reason; then it stays so.
detail::Result<const Runtime*> runtime();
// For tests: this instead of what can be opened, and in use; null: as before. Not while a world lives.
void replace_runtime(const Runtime*);

}  // namespace libcoll::device
