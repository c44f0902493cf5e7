#include "transports/nccl/runtime.hpp"

#include <dlfcn.h>

#include <atomic>

namespace libcoll::device {

namespace {

std::atomic<const Runtime*> replacement{nullptr};

detail::Result<Runtime> open() {
  auto cuda = cuda::load_cuda();
  if (!cuda) return tl::make_unexpected(cuda.error());
  Runtime r{.cuda = std::move(*cuda), .nccl = {}, .without_nccl = {}};
  if (auto nccl = nccl::load_nccl()) r.nccl = std::move(*nccl);
  else r.without_nccl = nccl.error().text;
  return r;
}

}  // namespace

bool in_use() {
  if (replacement.load() != nullptr) return true;
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
  if (driver != nullptr) dlclose(driver);
  return driver != nullptr;
}

detail::Result<const Runtime*> runtime() {
  if (const Runtime* r = replacement.load()) return r;
  static const detail::Result<Runtime> opened = open();
  if (!opened) return tl::make_unexpected(opened.error());
  return &*opened;
}

void replace_runtime(const Runtime* r) { replacement.store(r); }

}  // namespace libcoll::device
