// What operator new has handed out: in binaries that link counted_new.cpp, which takes its place.
#pragma once

#include <cstddef>

namespace libcoll::test {

extern std::size_t allocated, most_allocated;  // bytes, now and at most

}  // namespace libcoll::test
