// The one test body: every collective against a serial reference. Launchers run it on threads, forked
// processes and the ranks of an MPI job.
#pragma once

#include <cstddef>
#include <cstdint>

#include "libcoll/libcoll.hpp"

namespace libcoll::test {

struct BodyOptions {
  std::uint64_t seed = 1;             // equal on all ranks
  double scale = 1;                   // share of the sampled cases that run
  std::size_t most_bytes = 8u << 20;  // of one buffer of one rank; larger cases are left out
  bool every_type = true;             // the whole table of types and operations
};

// Collective. Throws std::runtime_error that names the case and the first wrong byte.
void run_body(Comm&, const BodyOptions&);
// A minute part of it, to see that a communicator works. Without arena buffers if told so.
void run_smoke(Comm&, std::uint64_t seed, bool private_only = false);

}  // namespace libcoll::test
