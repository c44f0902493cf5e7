// Where rank 0 listens and where the others look for it.
#pragma once

#include <vector>

#include "libcoll/bootstrap/environment.hpp"
#include "libcoll/bootstrap/socket.hpp"

namespace libcoll::detail {

// All addresses at which rank 0 may be, best first. Another program may sit at some of them: the
// handshake tells.
Result<std::vector<SocketAddress>> root_candidates(const MeetingPoint&);

// Rank 0's listeners at the first candidates that are free; tries again until the deadline, since
// an earlier run may still be closing. Never empty.
Result<std::vector<Fd>> listen_as_root(const MeetingPoint&, Deadline);

// A listener for the children of a rank whose connection to rank 0 has this local address.
Result<Fd> listen_for_children(SocketAddress local, bool loopback_only);

}  // namespace libcoll::detail
