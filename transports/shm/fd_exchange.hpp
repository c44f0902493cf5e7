// Hands a file descriptor of every rank of a host to every other, without a name in any file system.
#pragma once

#include <functional>
#include <string>

#include "libcoll/bootstrap.hpp"
#include "libcoll/core/result.hpp"

namespace libcoll::xport::shm {

// Called once for each peer; the descriptor is closed afterwards. False: it could not be used.
using AcceptFd = std::function<bool(int peer, int fd)>;

// Collective; agrees: success on all ranks or failure on all. fd < 0 says that this rank has none
// (and makes everybody fail). how: "auto", "proc" or "socket" (see Config::fd_passing).
detail::Result<void> exchange_fds(Bootstrap& host, int fd, const std::string& how, const AcceptFd& accept);

}  // namespace libcoll::xport::shm
