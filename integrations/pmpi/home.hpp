// Home: libcoll's world over MPI_COMM_WORLD, made in the first collective of a communicator that has all its ranks.
// What every other communicator is made from, among its members only.
#pragma once

#include <atomic>

#include "state.hpp"

namespace libcoll::pmpi {

// Collective over the State's members: ready, passed down for good, or to be asked again.
void settle(State&) noexcept;

// Whether the program has made a window. Then, after a barrier of so many ranks, what was sent before it is there for the
// next MPI_Win_test, as after MPI's own barrier, which comes behind it in the same queues. A look takes one message out of
// MPICH's, and costs as much as the barrier.
extern std::atomic<bool> one_sided;
void catch_up(int ranks) noexcept;

// -- Communicators that the program has freed. Members may free them in any order and never wait for each other.
void retire(Comm&&) noexcept;
// Gives back what all members have freed.
void sweep() noexcept;
// Collective over MPI_COMM_WORLD: gives everything back.
void close_home(std::vector<State*> live) noexcept;

}  // namespace libcoll::pmpi
