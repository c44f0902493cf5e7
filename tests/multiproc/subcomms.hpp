// Communicators of any shape over the hosts of a world.
#pragma once

#include <cstdint>

#include "libcoll/libcoll.hpp"

namespace libcoll::test {

// Collective. Splits by random colors and keys so many times, with others alive meanwhile; each part must work.
void check_random_splits(Comm& world, std::uint64_t seed, int rounds);
// Makes and closes so many copies: shared memory must not grow.
void check_churn(Comm& world, int rounds);

}  // namespace libcoll::test
