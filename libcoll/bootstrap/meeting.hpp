// How the ranks of a job find each other and form the tree.
//
// 1. Every rank connects to rank 0 and proves that it knows the job's secret: challenge, hello, welcome.
//    Rank 0 takes them all at once (one epoll loop, nothing waits for a client), so its part is P small
//    messages, not P round trips.
// 2. When all are there, rank 0 tells each one where its parent in the tree listens. If some are
//    missing at the deadline, it tells those who are there which.
// 3. Ranks connect to their parents with the same handshake. Rank 0's children keep the connection
//    they have. A barrier over the tree then makes success common to all.
#pragma once

#include <memory>

#include "libcoll/bootstrap/environment.hpp"
#include "libcoll/bootstrap/tree.hpp"

namespace libcoll::detail {

// Collective over the job; blocks up to about twice job.timeout (rank 0 waits once for arrivals).
Result<std::unique_ptr<Bootstrap>> meet(const JobInfo& job);

}  // namespace libcoll::detail
