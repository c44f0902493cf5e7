// Run: one execution of a Program. Advances without blocking: posts what is ready, looks at what is in
// flight, and lets the fiber of the communicator work on its native steps, one at a time in step order.
#pragma once

#include <memory>
#include <vector>

#include "libcoll/execution/fiber.hpp"
#include "libcoll/execution/program.hpp"
#include "transports/messenger.hpp"

namespace libcoll::exec {

// The number that the native steps of an operation count on from in their groups. Successive operations use different
// slots (number modulo slot_count), two each: a rank that is done with one waits for nobody before it begins the next.
inline std::uint64_t first_native(std::uint32_t sequence) { return (std::uint64_t{sequence} << 12) + (sequence % 2) * 2; }

class Run {
 public:
  // All that does not depend on the arguments; may be started again once finished.
  explicit Run(const Program&);  // which must outlive it
  ~Run();
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  // Arguments are copied (counts and displacements too).
  void start(const Args&, std::uint64_t communicator, std::uint32_t sequence);
  // Does what can be done now. True if anything happened. Native steps only with a fiber, that is when no
  // earlier operation of the communicator has any left. Throws what a step threw.
  bool advance(xport::Messenger*, Fiber*);
  bool has_transfers() const { return !inflight_.empty(); }
  bool can_go_on() const { return !ready_.empty(); }  // without news: a native step has just made others ready
  bool finished() const { return ended_; }
  bool natives_left() const { return next_native_ < natives_.size(); }
  bool natives_begun() const { return next_native_ > 0; }
  bool native_ready() const { return natives_left() && needs_[natives_[next_native_]] == 0; }
  bool may_block() const;  // nothing is in flight that needs this rank's help
  // Runs its next native step to the end, on the caller's stack and with the group's own way of waiting: for
  // blocking calls that have nothing else to do meanwhile. `listen` is called while it waits. False if
  // something else could be done.
  bool run_native_blocking(const xport::shm::Group::Hook& listen);
  // Whether only the network can move it on: the caller may sleep on the messenger's descriptor.
  bool waits_for_network_only() const { return !inflight_.empty() && !native_running_; }
  // Of a run that makes no progress: whom it waits for.
  int first_missing() const;
  std::string describe() const;  // "libcoll: rank 1 of 4: allreduce #17"
  std::uint32_t sequence() const { return sequence_; }
  bool native_running() const { return native_running_; }
  std::string stuck(double limit_s) const;
  // Gives everything in flight up. Buffers are the caller's again.
  void cancel(xport::Messenger*);

 private:
  const std::vector<sched::Step>& steps() const { return program_->schedule.steps; }
  std::byte* at(const sched::Range&) const;
  std::uint64_t bytes(const sched::Range&) const;
  void complete(std::uint32_t step);
  void post(std::uint32_t step, xport::Messenger&);
  void compute(const sched::Step&);
  bool look_at_transfers();
  bool run_natives(Fiber&);
  void finish();
  [[noreturn]] void fail(const xport::Transfer&, int peer) const;
  Args args_of(std::uint32_t step) const;

  const Program* const program_;
  Args args_;
  std::vector<Count> tables_[4];               // copies of the arguments' counts and displacements
  std::uint64_t communicator_ = 0;
  std::uint32_t sequence_ = 0;
  std::vector<std::byte> scratch_;
  std::vector<std::uint32_t> needs_;
  std::vector<std::uint32_t> ready_;           // steps that may start, but for natives
  std::vector<std::uint32_t> inflight_;        // sends and receives
  std::vector<std::uint32_t> natives_;         // native steps in order
  std::size_t next_native_ = 0;
  bool native_running_ = false;
  std::unique_ptr<xport::Transfer[]> transfers_;  // by step
  std::vector<const void*> operands_;
  std::vector<std::byte> sum_;                 // of user operations
  std::size_t done_ = 0;
  bool ended_ = false;
  std::vector<std::byte> put_aside_;           // the operands of an alltoallv in place
  std::vector<float> wide_send_, wide_recv_;   // of programs that run in f32
  void* outer_recv_ = nullptr;
};

}  // namespace libcoll::exec
