// The native steps: one function per collective shape, chosen by find_native.
#pragma once

#include "transports/shm/group.hpp"

namespace libcoll::xport::shm {

struct Native {
  void (*run)(Group&, const Args&, const Plan&) = nullptr;
  const char* shape = "";
};

// Pure: depends on the call, the number of ranks and agreed costs, so that all ranks choose alike.
Native find_native(const detail::Call&, const Group&);

}  // namespace libcoll::xport::shm
