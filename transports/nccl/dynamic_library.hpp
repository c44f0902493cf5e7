// Opens shared libraries by name and looks symbols up, for the tables of this folder. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "libcoll/core/result.hpp"

namespace libcoll::detail {

struct Symbol {
  const char* name;
  void** to;  // set, to nullptr where the library has none
  bool optional;
};

// Sets every symbol and returns the optional ones that are missing. Fails with Errc::unsupported and the reason if the
// library does not open or lacks a required symbol. It stays loaded: what CUDA and NCCL register at exit outlives us.
Result<std::vector<std::string>> load_symbols(const std::string& library, bool loaded_only, const std::vector<Symbol>&);

}  // namespace libcoll::detail
