// One call with its buffers in host memory, to be made there and on a GPU.
#pragma once

#include <string>
#include <vector>

#include "libcoll/libcoll.hpp"
#include "tests/multiproc/calls.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {

struct DeviceCase {
  Which which = Which::allreduce;
  DType dtype = DType::f32;
  Op op = Op::sum;
  Count count = 1;       // elements of a block; v-forms: about
  int root = 0;
  bool in_place = false;
  std::uint64_t tag = 0;

  std::string text() const;
};

// This rank's arguments for it. `send` and `recv` are what lies in the two buffers.
struct DeviceArguments {
  DeviceArguments(const DeviceCase&, int rank, int size);
  void make(Comm&, void* send_at, void* recv_at, const CallOptions&) const;

  const DeviceCase& c;
  int rank, size;
  bool in_place_here = false;  // this rank passes libcoll::in_place
  std::vector<Count> counts, displs, send_counts, send_displs;
  Bytes send, recv;
};

}  // namespace libcoll::test
