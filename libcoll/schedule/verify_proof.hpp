// The proof in progress, shared by the parts of verify. Private to verify*.cpp.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "libcoll/schedule/verify.hpp"
#include "libcoll/schedule/verify_values.hpp"

namespace libcoll::sched {

// Where a range lies: a memory of the rank, and elements of it.
struct Place {
  int memory = -1;
  std::int64_t first = 0, count = 0;
  std::int64_t end() const { return first + count; }
};

struct Proof {
  Proof(const Problem& problem, std::span<const Schedule> schedules, std::vector<bool> in_place_by_rank)
      : p(problem), all(schedules), in_place(std::move(in_place_by_rank)), terms(problem.size, problem.commutative) {}

  const Problem& p;
  std::span<const Schedule> all;
  std::vector<bool> in_place;
  Terms terms;
  std::string error;
  std::vector<Memories> memories;             // by rank; then by memory_of

  // Steps of all ranks in one numbering.
  std::vector<std::uint32_t> base;            // by rank; one more at the end
  std::vector<std::uint32_t> partner;         // by step: the step at the other end of the message
  struct Meeting {                            // one native operation of a group
    int group = 0;
    std::vector<std::uint32_t> steps;         // by member
  };
  std::vector<Meeting> meetings;
  std::vector<std::uint32_t> meeting_of;      // by step
  // Events in an order that is possible: 2 s: step s starts; 2 s + 1: it ends; from 2 * steps: meetings.
  std::vector<std::uint32_t> events;

  std::uint32_t steps() const { return base.back(); }
  int rank_of(std::uint32_t step) const;
  const Step& step(std::uint32_t s) const { const int r = rank_of(s); return all[at(r)].steps[s - base[at(r)]]; }
  static std::size_t at(int i) { return static_cast<std::size_t>(i); }

  template <class... A>
  bool fail(std::uint32_t s, fmt::format_string<A...> f, A&&... a) {
    return fail_text(s, fmt::format(f, std::forward<A>(a)...));
  }
  bool fail_text(std::uint32_t step, const std::string& why);

  // The phases, each relying on those before. False: `error` says why.
  bool check_shape();      // ranks, dependencies, ranges inside their buffers
  bool match_messages();
  bool match_natives();
  bool order_events();
  bool check_hazards();
  bool run();
  bool check_results();
  bool check_barrier();

  // Layout (verify_layout.cpp).
  void lay_out();
  int memory_of(int rank, Space space, int block) const;
  Place place(int rank, const Range&) const;  // memory -1: no such buffer

 private:
  bool check_ranges(std::uint32_t s, const Schedule& of, const Step& step);
  bool check_native(const Meeting&);
  bool read(std::uint32_t s, const Range&, Pieces& out, std::int64_t from = 0, std::int64_t count = -1);
  bool write(std::uint32_t s, const Range&, std::span<const Piece> values, std::int64_t from = 0, std::int64_t count = -1);
  bool combine(std::uint32_t s, const std::vector<Pieces>& operands, std::int64_t count, Pieces& out);
  bool run_meeting(const Meeting&);
  bool expect(int rank, const Range& where, std::int64_t origin, Run who, bool finished, Pieces* same_as = nullptr);
  void explain_deadlock(const std::vector<std::pair<std::uint32_t, std::uint32_t>>& edges, const std::vector<std::uint32_t>& waiting);
};

// The buffers of a step with what it does to them: calls f(range, writes).
template <class F>
void each_access(const Schedule& s, const Step& step, F&& f) {
  switch (step.kind) {
    case Kind::send: f(step.from, false); break;
    case Kind::recv: f(step.to, true); break;
    case Kind::copy: f(step.from, false), f(step.to, true); break;
    case Kind::reduce:
      for (std::uint32_t i = 0; i < step.many; ++i) f(s.operands[step.first + i], false);
      f(step.to, true);
      break;
    case Kind::finish: f(step.to, true); break;
    case Kind::native: f(step.from, false), f(step.to, true); break;
  }
}

}  // namespace libcoll::sched
