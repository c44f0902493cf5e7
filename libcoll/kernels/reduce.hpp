// Element-wise reductions over any number of sources, and the table that finds them.
// Thread-safe, never allocates, never blocks. Results are the same bits for every count, alignment,
// chunking and instruction set, and for find_reduce and find_reduce_small; see README.md for what
// NaN, signed zero, ties and rounding mean. Chunks may be cut at any element.
#pragma once

#include <cstddef>

#include "libcoll/types.hpp"

namespace libcoll::kernels {

// dst[d][i] = srcs[0][i] (op) srcs[1][i] ... (op) srcs[source_count-1][i], strictly in source order
// (left fold), in one pass. Every dst may be exactly one of the srcs (same address); otherwise
// nothing overlaps. Any alignment. count may be 0.
struct ReduceArgs {
  void* const* dsts;
  int dst_count;            // 1..N destinations receive the same result
  const void* const* srcs;
  int source_count;         // 1..N
  std::size_t count;        // elements
  int divisor;              // Op::avg: the sum is divided once by this (ranks); else ignored
  bool streaming;           // non-temporal stores to the dsts where their alignment allows it;
                            // fenced before returning
};
using ReduceFn = void (*)(const ReduceArgs&) noexcept;

// nullptr where !is_defined(op, dtype), and for Op::custom. Chooses the instruction set: resolve
// once, keep the pointer.
ReduceFn find_reduce(DType dtype, Op op) noexcept;

// For payloads of a few words (<= 48 bytes): scalar, so that the call costs a few dozen
// instructions. Same meaning, aliasing rules and bits as ReduceFn with one destination.
using ReduceSmallFn = void (*)(void* dst, const void* const* srcs, int source_count, std::size_t count,
                               int divisor) noexcept;
ReduceSmallFn find_reduce_small(DType dtype, Op op) noexcept;

}  // namespace libcoll::kernels
