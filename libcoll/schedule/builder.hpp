// Builder: an algorithm says what happens in program order; the dependencies follow from the ranges.
// Two steps of a rank are ordered exactly when one writes what the other reads or writes, so that all
// else may overlap.
#pragma once

#include <map>
#include <span>

#include "libcoll/schedule/problem.hpp"

namespace libcoll::sched {

class Builder {
 public:
  Builder(int rank, int size);

  int rank() const { return schedule_.rank; }
  int size() const { return schedule_.size; }
  // Room that nothing else in this schedule uses.
  Range scratch(std::int64_t count);

  // Moves and reductions of no elements emit nothing (whole_block may turn out to be none: it counts).
  void send(int peer, const Range& from);
  void recv(int peer, const Range& to);
  void copy(const Range& to, const Range& from);  // equal ranges: nothing
  // `to` may be exactly one of the operands, and must not overlap them otherwise. One operand: a copy.
  void reduce(const Range& to, std::span<const Range> operands);
  void reduce(const Range& to, const Range& a, const Range& b);
  void finish(const Range& to);
  // See Schedule for what `to`, `from` and the parts mean. All members of the group must emit it.
  void native(Coll, int group, int root, const Range& to, const Range& from, std::span<const Part> parts = {});
  // A message without data, for barriers.
  void send_signal(int peer);
  void recv_signal(int peer);
  // Every later step waits for every earlier one: what ranges cannot say (signals carry no data).
  void fence();

  Schedule take();  // the builder is empty afterwards

 private:
  // What touched [its key, end) last: one writer, then readers.
  struct Segment {
    std::int64_t end = 0;
    std::int64_t writer = -1;
    std::vector<std::uint32_t> readers;
  };
  using Track = std::map<std::int64_t, Segment>;
  void touch(const Range&, bool write);
  Step& begin(Kind);
  void end();

  Schedule schedule_;
  std::map<std::pair<Space, std::int32_t>, Track> tracks_;
  std::vector<std::int32_t> sent_, received_;      // messages so far, by peer
  std::vector<std::uint32_t> waits_;               // of the step being made
  std::vector<std::pair<Range, bool>> touched_;    // by the step being made
  std::uint32_t fence_from_ = 0, fence_to_ = 0;    // steps that the steps since the last fence wait for
};

}  // namespace libcoll::sched
