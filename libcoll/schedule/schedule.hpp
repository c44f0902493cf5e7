// Schedule: what one rank does in one collective, as a value. Ranges are symbolic (a buffer's name and
// an offset in elements, never a pointer) and nothing depends on the element type, so that the same
// value is executed, verified for all ranks at once, costed and printed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "libcoll/core/call.hpp"

namespace libcoll::sched {

using detail::Coll;

// Buffers by name. A block of a v-form lies where the caller's displacements say: its place, and for
// gatherv, scatterv and alltoallv its length too, are known when the schedule runs, not before.
enum class Space : std::uint8_t { send, recv, scratch, send_block, recv_block };
inline constexpr std::int64_t whole_block = -1;  // a count: all of a block (or of send, recv), whatever its length

struct Range {
  Space space = Space::scratch;
  std::int32_t block = 0;   // of send_block and recv_block: whose; else 0
  std::int64_t offset = 0;  // elements
  std::int64_t count = 0;   // elements, or whole_block
  friend bool operator==(const Range&, const Range&) = default;
};
// Elements [from, from + count) of a range.
inline Range part(const Range& r, std::int64_t from, std::int64_t count) { return {r.space, r.block, r.offset + from, count}; }

enum class Kind : std::uint8_t {
  send,    // `from` to `peer`; no elements: a signal (barriers). Done when `from` may be overwritten
  recv,    // `to` from `peer`
  copy,    // `to` = `from`
  reduce,  // `to` = operands[0] (op) operands[1] (op) ..., in this order
  finish,  // `to` = `to` divided by the number of ranks (Op::avg)
  native,  // one operation of a group whose ranks share memory
};
const char* name_of(Kind) noexcept;

// Member m's part of a native operation's data: elements of `from` or `to`, relative to its offset.
struct Part {
  std::int64_t offset = 0, count = 0;
  friend bool operator==(const Part&, const Part&) = default;
};

struct Step {
  Kind kind = Kind::copy;
  Coll native = Coll::barrier;    // native: which operation, see below
  std::int32_t peer = -1;         // send, recv: the other rank
  std::int32_t message = 0;       // send, recv: which message of this pair and direction, from 0
  std::int32_t group = -1;        // native: index into Problem::groups
  std::int32_t root = 0;          // native: index of the root among the group's members
  Range to, from;
  std::uint32_t first = 0;        // reduce: operands[first, first + many); native: parts likewise
  std::uint32_t many = 0;
  std::uint32_t first_after = 0;  // the steps that must be done before: after[first_after, ... + many_after)
  std::uint32_t many_after = 0;
};

// Native operations, n members, member m in the group's order:
//   barrier
//   bcast           root's `to` -> everyone's `to`
//   reduce          everyone's `from` -> root's `to`            (members in order)
//   allreduce       everyone's `from` -> everyone's `to`
//   reduce_scatter  everyone's `from`, parts[m] of it reduced -> m's `to`   (parts contiguous, in order)
//   allgatherv      m's `from` -> parts[m] of everyone's `to`
//   gatherv         m's `from` -> parts[m] of root's `to`
//   scatterv        parts[m] of root's `from` -> m's `to`
//   alltoallv       2n parts: parts[m] of `from` -> m, which puts what i sent it at its own parts[n + i] of `to`
// All but the root of gatherv and scatterv give the same number of parts (zero counts where unknown).
// Members name the same operation and the same counts; a group's natives run in step order. `from` and `to`
// overlap only where MPI's in place would: allreduce, reduce: the same range; allgatherv, gatherv: `from` is
// the member's own part of `to`; reduce_scatter, scatterv: `to` is its own part of `from`. A root may also keep
// its own block of a gatherv or scatterv where it is by giving it no elements.

struct Schedule {
  std::int32_t rank = 0, size = 1;
  std::int64_t scratch = 0;             // elements of scratch
  std::vector<Step> steps;              // a step's dependencies come before it
  std::vector<Range> operands;
  std::vector<Part> parts;
  std::vector<std::uint32_t> after;
};

// A line for the rank, then one per step, each with what it waits for; for people, tests and coll-info.
std::string to_text(const Schedule&);
// One step of it, without its dependencies.
std::string to_text(const Schedule&, std::size_t step);

}  // namespace libcoll::sched
