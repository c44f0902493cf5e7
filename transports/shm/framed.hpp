// Payloads of a few hundred bytes: data and flags share lines. One hop, where a descriptor and then its
// data would take two.
#pragma once

#include "transports/shm/natives.hpp"

namespace libcoll::xport::shm {

// Whether blocks of `bytes` fit in a rank's framed lines: one block for all, or one per reader.
// Depends on values that are equal on all ranks.
bool can_frame(const Group&, bool one_for_all, std::uint64_t bytes);

// Of the collectives of equal blocks; none for the others.
Native framed(detail::Coll);

}  // namespace libcoll::xport::shm
