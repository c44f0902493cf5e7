#include "tests/unit/algorithms/counted_new.hpp"

#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <new>

namespace libcoll::test {
std::size_t allocated = 0, most_allocated = 0;
}  // namespace libcoll::test

using libcoll::test::allocated, libcoll::test::most_allocated;

void* operator new(std::size_t bytes) {
  void* const p = std::malloc(bytes);
  if (p == nullptr) throw std::bad_alloc();
  allocated += malloc_usable_size(p);
  most_allocated = std::max(most_allocated, allocated);
  return p;
}
void operator delete(void* p) noexcept {
  allocated -= malloc_usable_size(p);
  std::free(p);
}
void operator delete(void* p, std::size_t) noexcept { operator delete(p); }
