// Entry: one call of a collective, from the handle to its end. Every collective here reads: enter, look at what all
// ranks see alike, look at this rank's own arguments, run; whatever is not ours goes down.
#pragma once

#include <exception>

#include "settings.hpp"
#include "state.hpp"

namespace libcoll::pmpi {

class Entry {
 public:
  Entry(Coll coll, MPI_Comm comm) noexcept : coll_(coll), comm_(comm), watched_(mode() != Mode::on && mode() != Mode::off) {
    if (watched_) [[unlikely]] begun_ns_ = clock_ns();
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
    if (watched_) [[unlikely]] count(coll_, why, 0, clock_ns() - begun_ns_, 0);
    return code;
  }
  // Errors of libcoll become errors of MPI, seen by the communicator's error handler.
  template <class Body>
  int run(std::int64_t bytes, const Body& body) noexcept {
    const std::uint64_t lent_before = watched_ ? state_->comm.lent_buffers() : 0;
    try {
      body(state_->comm);
    } catch (const std::exception& e) {
      return raise(comm_, e.what());
    }
    if (watched_) [[unlikely]] count(coll_, Reason::handled, static_cast<std::uint64_t>(bytes), clock_ns() - begun_ns_, state_->comm.lent_buffers() - lent_before);
    return MPI_SUCCESS;
  }

 private:
  Coll coll_;
  MPI_Comm comm_;
  bool watched_;
  std::uint64_t begun_ns_ = 0;
  State* state_ = nullptr;
  Reason why_ = Reason::handled;
};

}  // namespace libcoll::pmpi
