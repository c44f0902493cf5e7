// What a Comm owns. One thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libcoll/core/plan_cache.hpp"
#include "libcoll/core/world.hpp"
#include "transports/shm/group.hpp"

namespace libcoll::detail {

class CommImpl {
 public:
  // Exchanges `bytes` per rank among the members of the communicator to be made.
  using Exchange = std::function<void(const void* send, void* recv, std::size_t bytes)>;

  // Collective over the members. Throws on all or on none.
  CommImpl(std::shared_ptr<World>, std::vector<int> world_ranks, const Exchange&);
  static std::unique_ptr<CommImpl> make_world(Bootstrap&, const Config&);
  // Collective over this communicator; null for a negative color.
  std::unique_ptr<CommImpl> split(int color, int key);
  // Collective: lets everybody leave, then gives the area back.
  void close();

  int rank() const noexcept { return group_->rank(); }
  int size() const noexcept { return group_->size(); }
  World& world() const noexcept { return *world_; }
  std::shared_ptr<World> world_ptr() const noexcept { return world_; }
  xport::shm::Group& group() noexcept { return *group_; }
  const std::vector<int>& world_ranks() const noexcept { return world_ranks_; }
  const Topology& topology();
  int color_at(Level level) const;

  // The plan of a valid call. Not cached yet: validates, then builds. An invalid call is announced
  // to the peers, so that none waits for this rank in vain, and throws.
  const Plan* cached_plan(const Call& call) const noexcept { return plans_.find(call); }
  const Plan& plan(const Call& call) {
    const Plan* p = plans_.find(call);
    return p != nullptr ? *p : make_plan(call);
  }
  // Throws Error{invalid_argument}: "libcoll: rank 1 of 4: allreduce: count is -3 ...".
  [[noreturn]] void refuse(Coll coll, const std::string& what);
  // Tells the peers that this rank cannot take part in the next operation, whichever it is.
  void announce_refusal(Coll coll = static_cast<Coll>(coll_count));
  void allgather_bytes(const void* send, void* recv, std::size_t bytes);

 private:
  const Plan& make_plan(const Call& call);
  void check_across_ranks(const Call& call);
  void validate(const Call& call);

  std::shared_ptr<World> world_;
  std::vector<int> world_ranks_;
  std::uint64_t area_ = 0;
  std::unique_ptr<xport::shm::Group> group_;
  PlanCache plans_;
  Plan uncached_;                 // the plan in use while LIBCOLL_CHECK bypasses the cache
  std::optional<Topology> topology_;
};

}  // namespace libcoll::detail
