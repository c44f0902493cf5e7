// Messages between the ranks of a world over UCX (https://openucx.org, 1.13 or newer): active messages, small ones
// sent at once, large ones by rendezvous straight into the receiver's buffer.
#pragma once

#include <memory>

#include "libcoll/bootstrap.hpp"
#include "libcoll/core/result.hpp"
#include "transports/messenger.hpp"

namespace libcoll::xport {

struct UcxOptions {
  // Ranks of one machine that count as different hosts must not find each other through its memory.
  bool exclude_shared_memory = false;
  // Seconds of silence after which a look is taken at a peer; UCX_KEEPALIVE_INTERVAL and UCX_TCP_KEEP* in the environment
  // win. A process that dies is noticed at once. A host that vanishes is noticed 3 s later; over TCP not while a message
  // to it is unacknowledged (then as long as the kernel retransmits: set a timeout on the call).
  double keepalive_s = 2;
  // Seconds for which the destructor waits for peers to take what was sent to them.
  double linger_s = 5;
};

// Whether this build can; else create() fails everywhere and says so.
bool ucx_available();

// Collective; succeeds on all ranks or fails on all (Errc::unsupported, system or bootstrap, naming the odd rank).
// A UCX context and worker per messenger; an endpoint per peer on its first transfer. UCX_* variables are respected;
// UCX starts a thread of its own for connections. Fork: the messenger is of no use in the child.
// The first transfer with a peer is done only once that peer makes progress (UCX's handshake). UCX 1.13.1 stops the process
// with an assertion if a TCP peer dies within the milliseconds of that handshake. One that closes then is no such case (ADR 7).
// The destructor need not be called by all ranks at once: it tells connected peers, waits until they have taken what was
// sent to them, and closes. A peer that closed is not a lost one, but transfers with it fail.
detail::Result<std::unique_ptr<Messenger>> create_ucx_messenger(Bootstrap&, const UcxOptions&);

}  // namespace libcoll::xport
