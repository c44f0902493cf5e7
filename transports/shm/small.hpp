// Payloads that fit in the descriptor line: the latency-critical native steps.
#pragma once

#include "transports/shm/group.hpp"

namespace libcoll::xport::shm {

void barrier_flat(Group&, const Args&, const Plan&);
void allreduce_inline(Group&, const Args&, const Plan&);
void allreduce_pair(Group&, const Args&, const Plan&);  // two ranks
void allreduce_framed(Group&, const Args&, const Plan&);  // at most framed_max bytes

}  // namespace libcoll::xport::shm
