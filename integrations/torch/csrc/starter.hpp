// Starter: how an operation begins. On host memory by started calls, whose requests the lane moves on; on a stream by calls that
// return once they are enqueued. So that each operation says what it does once.
#pragma once

#include <type_traits>
#include <utility>
#include <vector>

#include "libcoll/comm.hpp"

namespace libcoll::torch_door {

// What an operation has under way.
struct Requests {
  std::vector<Request> calls;
  std::vector<Message> messages;
};

class Starter {
 public:
  Starter(Comm& comm, Requests& requests, const CallOptions& options) : comm_(comm), requests_(requests), options_(options) {}

  void barrier() { begin(&Comm::ibarrier, &Comm::barrier); }
  void bcast(auto... a) { begin(&Comm::ibcast, &Comm::bcast, a...); }
  void reduce(auto... a) { begin(&Comm::ireduce, &Comm::reduce, a...); }
  void allreduce(auto... a) { begin(&Comm::iallreduce, &Comm::allreduce, a...); }
  void reduce_scatter_block(auto... a) { begin(&Comm::ireduce_scatter_block, &Comm::reduce_scatter_block, a...); }
  void reduce_scatter(auto&&... a) { begin(&Comm::ireduce_scatter, &Comm::reduce_scatter, a...); }
  void allgather(auto... a) { begin(&Comm::iallgather, &Comm::allgather, a...); }
  void allgatherv(auto&&... a) { begin(&Comm::iallgatherv, &Comm::allgatherv, a...); }
  void gather(auto... a) { begin(&Comm::igather, &Comm::gather, a...); }
  void scatter(auto... a) { begin(&Comm::iscatter, &Comm::scatter, a...); }
  void alltoall(auto... a) { begin(&Comm::ialltoall, &Comm::alltoall, a...); }
  void alltoallv(auto&&... a) { begin(&Comm::ialltoallv, &Comm::alltoallv, a...); }
  void send(auto... a) { requests_.messages.push_back(comm_.isend(a..., options_)); }
  void recv(auto... a) { requests_.messages.push_back(comm_.irecv(a..., options_)); }

 private:
  template <class... P, class... A>
  void begin(Request (Comm::*started)(P...), void (Comm::*streamed)(std::type_identity_t<P>...), const A&... a) {
    if (options_.stream.given) (comm_.*streamed)(a..., options_);
    else requests_.calls.push_back((comm_.*started)(a..., options_));
  }

  Comm& comm_;
  Requests& requests_;
  const CallOptions& options_;
};

}  // namespace libcoll::torch_door
