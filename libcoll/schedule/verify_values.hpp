// Symbolic values for verify. Private to verify*.cpp.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace libcoll::sched {

struct Run {
  int first = 0, last = 0;  // ranks [first, last)
  friend bool operator==(const Run&, const Run&) = default;
};

// Expressions over the ranks' operands: a leaf per rank, and combinations of an ordered list. Equal
// expressions have equal numbers. A commutative pair has no order: a + b and b + a are the same bits.
class Terms {
 public:
  Terms(int ranks, bool commutative);
  // One operand: itself. -1: `why` says what is wrong (a rank twice; not in rank order).
  int combine(std::span<const int> operands, std::string& why);
  // Ascending, merged.
  const std::vector<Run>& runs(int term) const { return runs_[static_cast<std::size_t>(term)]; }

 private:
  struct Hash {
    std::size_t operator()(const std::vector<int>&) const noexcept;
  };
  bool commutative_;
  std::vector<std::vector<Run>> runs_;  // by term; terms below the number of ranks are leaves
  std::unordered_map<std::vector<int>, int, Hash> known_;
  std::vector<int> key_;
};

// Elements [first, end) of a buffer hold elements origin, origin + 1, ... of a term.
struct Piece {
  std::int64_t first = 0, end = 0;
  std::int64_t origin = 0;
  int term = 0;
  bool finished = false;  // divided (Op::avg)
  // Whether `next` goes on where this ends.
  bool joins(const Piece& next) const {
    return end == next.first && origin + (end - first) == next.origin && term == next.term && finished == next.finished;
  }
};
using Pieces = std::vector<Piece>;  // ascending, disjoint, joined where they join
void append(Pieces&, const Piece&);

struct Memory {
  std::int64_t size = 0;
  bool read_only = false;
  Pieces pieces;
  // Elements [first, first + count) appended to `out`, positions from 0. False: `gap` was never written.
  bool read(std::int64_t first, std::int64_t count, Pieces& out, std::int64_t& gap) const;
  void write(std::int64_t first, std::int64_t count, std::span<const Piece> values);
};

// The buffers of a rank. One for each of 10^4 ranks in a v-form, most of them empty: only those that are not take room.
class Memories {
 public:
  Memory& make(int i);              // from then on there
  Memory& operator[](int i) { return i < few ? first_[static_cast<std::size_t>(i)] : rest_.at(i); }
  const Memory& operator[](int i) const;  // an empty one of size 0 if it was never made

 private:
  static constexpr int few = 3;
  Memory first_[few];
  std::unordered_map<int, Memory> rest_;
};

}  // namespace libcoll::sched
