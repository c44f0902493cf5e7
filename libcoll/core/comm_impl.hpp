// What a Comm owns. One thread at a time, but for what exec::Queue guards.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libcoll/core/device_side.hpp"
#include "libcoll/core/plan_cache.hpp"
#include "libcoll/core/world.hpp"
#include "libcoll/execution/mailbox.hpp"
#include "libcoll/execution/queue.hpp"
#include "libcoll/planning/select.hpp"
#include "libcoll/request.hpp"
#include "transports/shm/group.hpp"

namespace libcoll::detail {

class CommImpl {
 public:
  // Exchanges `bytes` per rank among the members of the communicator to be made.
  using Exchange = std::function<void(const void* send, void* recv, std::size_t bytes)>;

  // Collective over the members. Throws on all or on none.
  CommImpl(std::shared_ptr<World>, std::vector<int> world_ranks, const Exchange&);
  ~CommImpl();
  static std::unique_ptr<CommImpl> make_world(Bootstrap&, const Config&);
  // Collective over this communicator; null for a negative color.
  std::unique_ptr<CommImpl> split(int color, int key);
  // Collective over `members`, ranks of this communicator in the order of the new one; this rank is one.
  std::unique_ptr<CommImpl> subset(std::span<const int> members, const Exchange&) const;
  // Collective: lets everybody leave, then gives the areas back.
  void close();
  // Never waits, never throws: false while a member has not called it; then the areas are given back. One that breaks
  // meanwhile is closed at once.
  bool try_close() noexcept;

  int rank() const noexcept { return rank_; }
  int size() const noexcept { return size_; }
  World& world() const noexcept { return *world_; }
  std::shared_ptr<World> world_ptr() const noexcept { return world_; }
  // The members that share memory with this rank.
  xport::shm::Group& group() noexcept { return *group_; }
  std::uint64_t lent_buffers() const noexcept;
  // All of them do.
  bool local() const noexcept { return group_->size() == size_; }
  const std::vector<int>& world_ranks() const noexcept { return world_ranks_; }
  const Topology& topology();
  int color_at(Level level) const;
  // Why nothing works any more, or nothing. Throwing form: Queue::require_usable.
  const std::string& broken() const;
  exec::Queue& queue() const noexcept { return *queue_; }
  // Of messages; made when the first is asked for.
  exec::Mailbox& mailbox();
  // Null in worlds that use no GPUs.
  DeviceSide* devices() const noexcept { return devices_.get(); }
  // Not collective, see Comm.
  void abort(std::string_view why);

  // The plan of a valid call, if nothing that was started is still under way. Not cached yet: validates,
  // then builds. An invalid call is announced to the peers, so that none waits for this rank in vain,
  // and throws.
  const Plan* cached_plan(const Call& call) const noexcept { return static_cast<const PlanCache*>(gate_.now)->find_quickly(call); }
  const Plan& plan(const Call& call, std::span<const Count> counts = {}) {
    const Plan* p = cached_plan(call);
    return p != nullptr && counts.empty() ? *p : settled_plan(call, counts);
  }
  // The same for a call that will only be started.
  const Plan* cached_plan_to_start(const Call& call) const noexcept { return to_start_->find_quickly(call); }
  const Plan& plan_to_start(const Call& call, std::span<const Count> counts = {});
  // The problem that a call poses; `counts` of allgatherv and reduce_scatter.
  sched::Problem problem_of(const Call& call, std::span<const Count> counts) const;
  planning::Wish wish_for(const Call& call) const;

  // -- How a call would run. None of these tells the peers anything.
  // What is wrong with the call, or nothing.
  std::string objection(const Call& call) const;
  // As one native step of the shared-memory transport; else by a recipe.
  bool runs_natively(const Call& call, const planning::Wish&, std::span<const Count> counts) const;
  Result<planning::Choice> choose(const sched::Problem&, const Call&, const planning::Wish&) const;
  // Of the way that a valid call takes in host memory, whose ways are known to be possible.
  double predicted_us(const Call&, std::span<const Count> counts) const;
  // Not refused for the problem, and it sends messages only where the world has a network.
  bool can_follow(const sched::Problem&, const algo::Recipe&) const;
  // Of an element while the schedule runs: small floats run in f32.
  static std::uint32_t planned_bytes(const Call& call);
  const char* native_shape(const Call& call) { return native_plan(call).shape; }
  // Of blocking calls, once asked for: nothing is found by the quick way any more, and the slow one takes notes.
  void note_ways() noexcept;
  const char* last_way() const noexcept { return last_way_; }
  void took_way(const char* way) noexcept { last_way_ = way; }

  // Throws Error{invalid_argument}: "libcoll: rank 1 of 4: allreduce: count is -3 ...".
  [[noreturn]] void refuse(Coll coll, const std::string& what);
  // The same where all ranks should refuse, since what is wrong must be equal on all of them.
  [[noreturn]] void refuse_alike(Coll coll, const std::string& what);
  // Its first half. Where others may have given the call to NCCL, looks whether all refuse; else the communicator ends.
  void announce_refusal_alike(Coll coll = static_cast<Coll>(coll_count));
  // A call with these options begins; see DeviceSide::set_goes_alone.
  void note_options(const CallOptions&) noexcept;
  // While one of these lives, a refused call is no part of the sequence of operations: nobody waits for it.
  class Unannounced {
   public:
    explicit Unannounced(CommImpl& c) : c_(c) { ++c_.unannounced_; }
    Unannounced(const Unannounced& other) : Unannounced(other.c_) {}
    Unannounced& operator=(const Unannounced&) = delete;
    ~Unannounced() { --c_.unannounced_; }

   private:
    CommImpl& c_;
  };
  // Tells the peers that this rank cannot take part in the next operation, whichever it is.
  void announce_refusal(Coll coll = static_cast<Coll>(coll_count));
  void allgather_bytes(const void* send, void* recv, std::size_t bytes);
  // `all` is what any rank has set.
  void allreduce_bits(std::uint8_t bits, std::uint8_t& all);
  // What the caller or the environment want of calls on GPU memory: a device recipe, "staged", or nothing.
  std::string device_wish_for(const Call&) const;
  static bool is_for_devices(std::string_view recipe);

 private:
  struct Card;
  const Plan& settled_plan(const Call& call, std::span<const Count> counts);
  const Plan& find_plan(const Call& call, std::span<const Count> counts, bool checked);
  const Plan& make_plan(const Call& call, std::span<const Count> counts, bool checked);
  Plan native_plan(const Call& call);
  Plan program_plan(const Call& call, exec::Program& program);
  std::shared_ptr<exec::Program> make_program(const Call& call, std::span<const Count> counts);
  void check_across_ranks(const Call& call);
  void validate(const Call& call);
  std::string text_of_refusal(Coll coll, const std::string& what) const;
  Request start_barrier();
  bool leave_step_by_step();
  void define_groups();
  const Plan& own_plan(const Call&);
  void join_groups(const Exchange&);
  void measure_costs(Bootstrap&);
  void forget_messages();

  std::shared_ptr<World> world_;
  std::vector<int> world_ranks_;
  int rank_ = 0, size_ = 1;
  exec::Gate gate_;                   // to plans_, or to an empty cache while started operations are under way
  xport::shm::Group* group_ = nullptr;  // the first of mine_
  std::uint64_t id_ = 0;              // unique in the world
  topo::Hierarchy hierarchy_;         // of the members
  // Groups of members that share memory: their hosts', then narrower ones that algorithms compose over;
  // the same list on all ranks. Areas and groups of those that this rank is in.
  std::vector<exec::NativeGroup> groups_;
  std::vector<std::uint64_t> areas_;
  std::vector<std::unique_ptr<xport::shm::Group>> mine_;
  std::vector<sched::Problem::LevelView> levels_;
  std::unique_ptr<exec::Queue, exec::Queue::Disown> queue_;
  PlanCache plans_;
  PlanTable<1> own_plans_{1u << 31};            // of the library's exchanges, which happen between the finding of a plan and its run
  const PlanCache* to_start_ = &plans_;  // or an empty cache, where buffers have to be looked at
  std::unique_ptr<DeviceSide> devices_;
  const char* last_way_ = "";         // of a plan that lives at least until the next call
  int unannounced_ = 0;
  Request farewell_;                  // of try_close: a barrier, where messages may still come
  enum class Leaving : std::uint8_t { no, farewell, departed } leaving_ = Leaving::no;
  Plan uncached_;                     // the plan in use while LIBCOLL_CHECK bypasses the cache
  std::shared_ptr<exec::Program> uncached_program_;
  std::optional<Topology> topology_;
  std::unique_ptr<exec::Mailbox, exec::Mailbox::Disown> mailbox_;
};

}  // namespace libcoll::detail
