// Which bytes of a rank's buffers a call reads and writes: what passes through host memory where a transport cannot
// reach GPU memory.
#pragma once

#include "libcoll/core/call.hpp"

namespace libcoll::detail {

struct Extents {
  std::uint64_t send = 0;   // bytes that are read from Args::send on
  std::uint64_t recv = 0;   // bytes from Args::recv on, with the gaps between blocks
  bool recv_read = false;   // what lies there before matters: operands in place, a root's bcast, gaps
  bool recv_written = false;
};
Extents extents_of(const Call&, const Args&, int rank, int size);

}  // namespace libcoll::detail
