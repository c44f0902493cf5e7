#include "transports/nccl/dynamic_library.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace libcoll::detail {

Result<std::vector<std::string>> load_symbols(const std::string& library, bool loaded_only, const std::vector<Symbol>& symbols) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL | (loaded_only ? RTLD_NOLOAD : 0));
  if (!handle) {
    const char* why = dlerror();
    return failure(Errc::unsupported, why ? why : fmt::format("{}: not loaded", library));
  }
  std::vector<std::string> missing, absent;
  for (const Symbol& s : symbols) {
    *s.to = dlsym(handle, s.name);
    if (!*s.to) (s.optional ? missing : absent).push_back(s.name);
  }
  if (!absent.empty()) {
    dlclose(handle);  // nothing of it was called
    return failure(Errc::unsupported, fmt::format("{}: lacks {}", library, fmt::join(absent, ", ")));
  }
  return missing;
}

}  // namespace libcoll::detail
