// verify: runs the schedules of all ranks symbolically and proves them, whatever the timing.
//
// Proved: (a) every buffer the collective defines ends with the right contents on every rank, and where
// several ranks hold a result it was combined by the same expression (so: the same bits; for
// Determinism::placement the expression is one n-ary reduction in rank order); (b) the k-th send of a pair
// meets a k-th recv of the same length, none left over; (c) no deadlock under any interleaving, even if a
// send may complete only once its recv was posted; natives of a rank run one after the other and end only
// once all members have started; (d) steps of a rank that touch the same elements, one writing, are ordered
// by dependencies; (e) nothing is read before it is written, ranges lie inside their buffers, and the send
// buffer is never written.
//
// Elements are never looked at one by one: a buffer is a map of intervals, each "elements o.. of what the
// ranks in this list contributed", so that the cost depends on the number of steps, not on counts.
#pragma once

#include <span>
#include <vector>

#include "libcoll/core/result.hpp"
#include "libcoll/schedule/problem.hpp"

namespace libcoll::sched {

// `all` by rank. `in_place` by rank; empty: Problem::in_place for every rank that MPI allows it. The first
// violation is the error (Errc::internal): it names rank, step and reason.
detail::Result<void> verify(const Problem&, std::span<const Schedule> all, const std::vector<bool>& in_place = {});

// Whether `rank` may pass in_place in this collective: only the root of reduce, gather(v) and scatter(v).
bool may_be_in_place(const Problem&, int rank);

}  // namespace libcoll::sched
