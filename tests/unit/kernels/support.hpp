// Shared by the kernel tests: operands, targets, guarded memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "libcoll/kernels/reduce.hpp"
#include "tests/unit/kernels/reference.hpp"

namespace libcoll::test {

using Random = std::mt19937_64;

// Seed of this run: LIBCOLL_TEST_SEED or 1.
std::uint64_t test_seed();

// Every defined pair of type and built-in operation.
struct Kernel {
  DType dtype;
  Op op;
};
std::vector<Kernel> all_kernels();
std::string to_string(const Kernel& k);

// Operands with zeros of both signs, infinities, NaNs with payloads, subnormals, ties and extremes.
Bytes random_elements(DType dtype, std::size_t count, Random& random);

// The instruction sets that are compiled in and run here, and find_reduce on each of them.
std::vector<std::int64_t> runnable_targets();
std::string target_name(std::int64_t target);
kernels::ReduceFn find_reduce_on(std::int64_t target, DType dtype, Op op);

// Pages between two inaccessible ones: an access outside faults in every build.
class GuardedPages {
 public:
  explicit GuardedPages(std::size_t bytes);
  ~GuardedPages();
  GuardedPages(const GuardedPages&) = delete;
  GuardedPages& operator=(const GuardedPages&) = delete;
  unsigned char* first() const { return first_; }
  unsigned char* last(std::size_t bytes) const { return first_ + bytes_ - bytes; }  // ends at the guard

 private:
  std::size_t bytes_;
  unsigned char* first_;
};

}  // namespace libcoll::test
