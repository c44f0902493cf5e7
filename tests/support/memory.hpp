// What a test process has of the machine's memory.
#pragma once

#include <cstdio>
#include <fstream>
#include <string>

namespace libcoll::test {

inline long resident_kib() {
  std::ifstream status("/proc/self/status");
  long kib = 0;
  for (std::string line; std::getline(status, line);)
    if (std::sscanf(line.c_str(), "VmRSS: %ld", &kib) == 1) break;
  return kib;
}

}  // namespace libcoll::test
