// Program: a Schedule made ready to run for one Call in one communicator: peers are ranks of the world,
// native steps know their group and kernels, dependencies are counted. May run many times.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "libcoll/core/plan.hpp"
#include "libcoll/schedule/schedule.hpp"
#include "transports/shm/natives.hpp"

namespace libcoll::exec {

class Queue;
class Run;

using detail::Args;
using detail::Call;
using detail::Plan;

// Immutable but for `idle`, which the communicator's queue guards.

// A group of the communicator whose members share memory; null where this rank is not a member.
struct NativeGroup {
  std::vector<int> ranks;              // of the communicator, in the group's order
  xport::shm::Group* group = nullptr;
};

struct Native {
  Plan plan;
  xport::shm::Native native;
  std::vector<Count> counts, displs;            // of the parts received or sent, where the operation has them
  std::vector<Count> send_counts, send_displs;  // alltoallv
};

struct Program : std::enable_shared_from_this<Program> {
  Call call;
  sched::Schedule schedule;
  std::string text;                        // the recipe
  Queue* queue = nullptr;            // of the communicator it was made for
  std::vector<int> world_rank;             // of the communicator's ranks
  std::vector<Native> natives;             // in step order
  std::vector<std::uint32_t> native_of;    // by step: index into natives
  std::vector<std::uint32_t> needs;        // by step: how many steps it waits for
  std::vector<std::uint32_t> first_next, next;  // by step (one more entry than steps): who waits for it
  kernels::ReduceFn reduce = nullptr;      // sums where the operation is avg: `finish` divides
  kernels::ReduceFn divide = nullptr;      // avg
  std::vector<std::unique_ptr<Run>> idle;  // finished runs, to be started again
  // What happens around the steps. Small floats run in f32 (`call` then says so) and are converted at both
  // ends; a result that is one operand alone still gets the operation's canonical form.
  DType outer_type = DType::byte;          // the caller's
  bool wide = false, canonical = false;
  std::int64_t send_elements = 0, recv_elements = 0;  // of this rank's buffers, of reductions
  std::vector<Count> counts;               // that the schedule was made for (allgatherv, reduce_scatter)

  Program();
  ~Program();
};

// Whether a reduction runs in f32 although its type is smaller.
bool runs_wide(const Call&) noexcept;
// Whether it runs on copies of its operands, so that its schedule is not in place even if the call is: in
// f32, or because nobody knows before how long the blocks are that would have to be put aside.
inline bool runs_apart(const Call& c) noexcept { return runs_wide(c) || c.coll == detail::Coll::alltoallv; }
// `signature`: of the call, equal on all ranks that made the same one. `counts`: of reduce_scatter.
std::shared_ptr<Program> compile(Call, std::uint32_t signature, sched::Schedule, const std::vector<NativeGroup>&, std::vector<int> world_ranks,
                                 std::span<const Count> counts);

}  // namespace libcoll::exec
