// Values that tests send, as functions of a seed; how much a run tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "libcoll/types.hpp"

namespace libcoll::test {

using Bytes = std::vector<unsigned char>;

// LIBCOLL_TEST_SEED, or different in each run; constant within a process and its forked children.
std::uint64_t test_seed();
std::string seed_text();  // "LIBCOLL_TEST_SEED=... repeats this run"

// LIBCOLL_TEST_SCALE: the share of the sampled cases that run; 1 unless set (sanitizers set less).
double test_scale();

// A well-mixed function of its arguments.
std::uint64_t mixed(std::uint64_t a, std::uint64_t b = 0, std::uint64_t c = 0);

enum class Values { exact, random };

// Elements from `first` on of rank's operand for `op`. exact: small integers, which every sum and product of a few
// ranks keeps exact in wide types, with many ties. random: floats over a wide range of magnitudes.
void fill_operand(void* to, std::size_t count, DType dtype, Op op, Values, std::uint64_t tag, int rank,
                  std::size_t first = 0);

// Bytes that tell where they come from: byte i of the block that `from` sends `to` (-1: to all).
void fill_block(void* to, std::size_t bytes, std::uint64_t tag, int from, int receiver);

}  // namespace libcoll::test
