// Entry: one call of a collective, from the handle to its end. Every collective here reads: enter, look at what all
// ranks see alike, look at this rank's own arguments, run; whatever is not ours goes down.
#pragma once

#include <exception>

#include "compare.hpp"
#include "settings.hpp"
#include "state.hpp"

namespace libcoll::pmpi {

class Entry {
 public:
  Entry(Coll coll, MPI_Comm comm) noexcept : coll_(coll), comm_(comm), mode_(mode()) {
    if (mode_ == Mode::report) [[unlikely]] begun_ns_ = clock_ns();
    state_ = recently(comm);
    if (state_ == nullptr) state_ = enter(comm, why_);
  }
  explicit operator bool() const noexcept { return state_ != nullptr; }
  int rank() const noexcept { return state_->rank; }
  int size() const noexcept { return state_->size; }
  bool has(int root) const noexcept { return root >= 0 && root < state_->size; }

  template <class Below>
  int down(const Below& below) noexcept { return down(below, why_); }
  template <class Below>
  int down(const Below& below, Reason why) noexcept {
    const int code = below();
    if (mode_ == Mode::report) [[unlikely]] count(coll_, why, 0, clock_ns() - begun_ns_);
    return code;
  }
  // `body` runs it in libcoll and writes `result`. Errors of libcoll become errors of MPI, seen by the communicator's error
  // handler. `below`: the same by the MPI, to compare.
  template <class Result, class Body, class Below>
  int run(std::int64_t bytes, const Result& result, const Body& body, const Below& below) noexcept {
    if (mode_ == Mode::compare) [[unlikely]] {
      Outcome o;
      result.describe(o, comm_);
      return run_both(coll_, *state_, bytes, o, body, below);
    }
    const std::uint64_t lent_before = mode_ == Mode::report ? state_->comm.lent_buffers() : 0;
    try {
      body(state_->comm);
    } catch (const std::exception& e) {
      return raise(comm_, e.what());
    }
    if (mode_ == Mode::report) [[unlikely]]
      count(coll_, Reason::handled, static_cast<std::uint64_t>(bytes), clock_ns() - begun_ns_, state_->comm.last_way(), state_->comm.lent_buffers() - lent_before);
    return MPI_SUCCESS;
  }

 private:
  Coll coll_;
  MPI_Comm comm_;
  Mode mode_;
  std::uint64_t begun_ns_ = 0;
  State* state_ = nullptr;
  Reason why_ = Reason::handled;
};

}  // namespace libcoll::pmpi
