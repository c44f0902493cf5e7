#include "libcoll/core/comm_impl.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "libcoll/core/arguments.hpp"
#include "transports/shm/calibrate.hpp"
#include "transports/shm/natives.hpp"
#include "transports/shm/source.hpp"

namespace libcoll::detail {

namespace shm = xport::shm;

namespace {

// What ranks compare of each other's calls: everything but their own buffer layout. Never all ones,
// which announces a refused call.
std::uint32_t signature_of(Call call) {
  call.in_place = 0;
  const CallWords k = words_of(call);
  std::uint64_t h = 0;
  for (const std::uint64_t w : k.w) h = (h ^ w) * 0x9e3779b97f4a7c15u, h ^= h >> 29;
  const auto s = static_cast<std::uint32_t>(h >> 32);
  return s == shm::refused_signature ? 0 : s;
}

struct Shares { std::int64_t color, key; };

// Groups for the latency-bound operations of many ranks: the widest level of the machine whose groups
// have at most 16 ranks, else 16 ranks in a row. Equal on all ranks, since the hierarchy is.
std::vector<std::vector<int>> groups_of(const topo::Hierarchy& h) {
  constexpr std::size_t most = 16;
  std::vector<std::vector<int>> groups;
  for (const TopologyLevel& level : h.levels) {
    const auto small = [](const TopologyGroup& g) { return g.ranks.size() <= most; };
    if (level.groups.size() < 2 || !std::all_of(level.groups.begin(), level.groups.end(), small)) continue;
    groups.clear();
    for (const TopologyGroup& g : level.groups) {
      groups.push_back(g.ranks);
      // The leader first; the others in rank order.
      std::rotate(groups.back().begin(), std::find(groups.back().begin(), groups.back().end(), g.leader),
                  std::find(groups.back().begin(), groups.back().end(), g.leader) + 1);
    }
  }
  if (!groups.empty()) return groups;
  const int block = h.size > static_cast<int>(most) ? static_cast<int>(most) : std::max(1, (h.size + 1) / 2);
  for (int r = 0; r < h.size; ++r) {
    if (r % block == 0) groups.emplace_back();
    groups.back().push_back(r);
  }
  return groups;
}

}  // namespace

CommImpl::CommImpl(std::shared_ptr<World> world, std::vector<int> world_ranks, const Exchange& exchange)
    : world_(std::move(world)), world_ranks_(std::move(world_ranks)) {
  const auto me = std::find(world_ranks_.begin(), world_ranks_.end(), world_->rank) - world_ranks_.begin();
  const shm::Shape shape = shm::shape_for(static_cast<int>(world_ranks_.size()), *world_->host);
  area_ = world_->host->heap().allocate(shape.area_bytes());
  std::vector<std::uint64_t> areas(world_ranks_.size());
  exchange(&area_, areas.data(), sizeof area_);
  if (const auto none = std::find(areas.begin(), areas.end(), 0); none != areas.end()) {
    world_->host->heap().release(area_);
    throw Error(Errc::system, fmt::format("libcoll: rank {}: no room for another communicator in the arena of rank {}; close some or raise "
                                          "LIBCOLL_ARENA_BYTES", me, none - areas.begin()), static_cast<int>(none - areas.begin()));
  }
  // On one host a rank's place in the world is its place on the host.
  group_ = std::make_unique<shm::Group>(*world_->host, shape, static_cast<int>(me), areas, world_ranks_);
  group_->set_groups(groups_of(topo::restrict_to(world_->hierarchy, world_ranks_)));
}

std::unique_ptr<CommImpl> CommImpl::make_world(Bootstrap& bootstrap, const Config& config) {
  auto world = World::create(bootstrap, config);
  std::vector<int> ranks(static_cast<std::size_t>(world->size));
  std::iota(ranks.begin(), ranks.end(), 0);
  const Exchange exchange = [&](const void* s, void* r, std::size_t n) { bootstrap.allgather(s, r, n); };
  auto comm = std::make_unique<CommImpl>(world, ranks, exchange);
  if (config.calibrate && world->size > 1) {
    // Thresholds follow from the costs, and buffer shapes from the thresholds: measure on a first
    // communicator, then make the one that is kept.
    CommImpl& first = *comm;
    world->host->set_costs(shm::calibrate(*first.group_, [&](const void* s, void* r, std::size_t n) { first.allgather_bytes(s, r, n); }));
    comm->close();
    comm = std::make_unique<CommImpl>(world, ranks, exchange);
  }
  return comm;
}

std::unique_ptr<CommImpl> CommImpl::split(int color, int key) {
  const Shares mine{color, key};
  std::vector<Shares> all(static_cast<std::size_t>(size()));
  allgather_bytes(&mine, all.data(), sizeof mine);
  std::vector<int> members;
  for (int r = 0; r < size(); ++r)
    if (color >= 0 && all[static_cast<std::size_t>(r)].color == color) members.push_back(r);
  std::stable_sort(members.begin(), members.end(), [&](int a, int b) { return all[static_cast<std::size_t>(a)].key < all[static_cast<std::size_t>(b)].key; });
  std::vector<int> ranks;
  for (const int r : members) ranks.push_back(world_ranks_[static_cast<std::size_t>(r)]);
  // All ranks of the parent take part in the exchange, whatever their color.
  const Exchange exchange = [&](const void* s, void* r, std::size_t n) {
    std::vector<std::byte> everyone(n * static_cast<std::size_t>(size()));
    allgather_bytes(s, everyone.data(), n);
    for (std::size_t i = 0; i < members.size(); ++i)
      std::memcpy(static_cast<std::byte*>(r) + i * n, everyone.data() + static_cast<std::size_t>(members[i]) * n, n);
  };
  if (color >= 0) return std::make_unique<CommImpl>(world_, std::move(ranks), exchange);
  const std::uint64_t nothing = 1;
  exchange(&nothing, nullptr, sizeof nothing);
  return nullptr;
}

void CommImpl::close() {
  if (group_->leave()) world_->host->heap().release(area_);
}

const Topology& CommImpl::topology() {
  if (!topology_) {
    std::vector<topo::RankRecord> records;
    for (const int r : world_ranks_) records.push_back(world_->fabric.records[static_cast<std::size_t>(r)]);
    topology_ = topo::make_topology(topo::build_fabric(std::move(records)), topo::restrict_to(world_->hierarchy, world_ranks_));
  }
  return *topology_;
}

int CommImpl::color_at(Level level) const { return world_->hierarchy.group_of(level, world_->rank); }

void CommImpl::allgather_bytes(const void* send, void* recv, std::size_t bytes) {
  // No caller's allgather has this root: the two are never taken for each other.
  const Call call{.coll = Coll::allgather, .dtype = DType::byte, .root = ~std::uint32_t{0}, .count = static_cast<std::int64_t>(bytes)};
  const Plan* p = plans_.find(call);
  if (!p) {
    Plan made{.call = call, .group = group_.get(), .signature = signature_of(call), .bytes = bytes};
    made.run = shm::find_native(call, *group_).run;
    p = &plans_.insert(made);
  }
  Args args{.send = send, .recv = recv};
  p->run(*group_, args, *p);
}

void CommImpl::announce_refusal(Coll coll) {
  if (!group_->broken()) group_->announce_refusal(Call{.coll = coll});
}

void CommImpl::refuse(Coll coll, const std::string& what) {
  announce_refusal(coll);
  throw Error(Errc::invalid_argument, fmt::format("libcoll: rank {} of {}: {}: {}", rank(), size(), name_of(coll), what));
}

void CommImpl::validate(const Call& call) {
  const auto dtype = static_cast<int>(call.dtype);
  if (!counts_are_hashed(call.coll)) require_count(*this, call.coll, call.count, call.element_bytes, static_cast<std::uint64_t>(size()));
  if (dtype >= dtype_count) refuse(call.coll, fmt::format("type {} is unknown", dtype));
  if (call.root >= static_cast<std::uint32_t>(size()))
    refuse(call.coll, fmt::format("root is {}; it must be from 0 to {}", static_cast<std::int32_t>(call.root), size() - 1));
  const bool can_slice = call.coll == Coll::allreduce || call.coll == Coll::reduce;
  const bool can_group = call.coll == Coll::barrier || (call.coll == Coll::allreduce && call.op != Op::custom &&
                                                        static_cast<std::uint64_t>(call.count) * call.element_bytes <= shm::inline_bytes);
  if (call.algorithm != Algorithm::automatic && !(call.algorithm == Algorithm::grouped ? can_group : can_slice))
    refuse(call.coll, fmt::format("algorithm {} is not available for this call", name_of(call.algorithm)));
  const bool reduces = call.coll == Coll::reduce || call.coll == Coll::allreduce || call.coll == Coll::scan || call.coll == Coll::exscan ||
                       call.coll == Coll::reduce_scatter || call.coll == Coll::reduce_scatter_block;
  if (!reduces) return;
  if (static_cast<int>(call.op) > op_count) refuse(call.coll, fmt::format("operation {} is unknown", static_cast<int>(call.op)));
  if (call.op != Op::custom && !is_defined(call.op, call.dtype))
    refuse(call.coll, fmt::format("operation {} is not defined on type {}", name_of(call.op), name_of(call.dtype)));
  if (call.op == Op::avg && (call.coll == Coll::scan || call.coll == Coll::exscan))
    refuse(call.coll, "operation avg makes no sense in a scan: ranks would divide partial sums by the number of all ranks");
  const std::uint64_t most = shm::largest_piece(group_->shape(), size() - 1);
  if (call.element_bytes > most) refuse(call.coll, fmt::format("elements of {} bytes are too large; at most {} on {} ranks", call.element_bytes, most, size()));
}

const Plan& CommImpl::make_plan(const Call& call) {
  if (group_->broken()) throw Error(Errc::closed, fmt::format("libcoll: the communicator is broken since: {}", group_->broken_reason()));
  validate(call);
  Plan p{.call = call, .group = group_.get(), .signature = signature_of(call)};
  if (!counts_are_hashed(call.coll)) p.bytes = static_cast<std::uint64_t>(call.count) * call.element_bytes;
  if (call.op != Op::custom) {
    p.reduce = kernels::find_reduce(call.dtype, call.op);
    p.reduce_small = kernels::find_reduce_small(call.dtype, call.op);
  }
  const shm::Native native = shm::find_native(call, *group_);
  p.run = native.run;
  p.shape = native.shape;
  if (world_->config.check && size() > 1) {
    check_across_ranks(call);
    return uncached_ = p;
  }
  return plans_.insert(p);
}

// LIBCOLL_CHECK: the odd ones are those that differ from the most frequent call.
void CommImpl::check_across_ranks(const Call& call) {
  Call mine = call;
  mine.in_place = 0;
  std::vector<Call> all(static_cast<std::size_t>(size()));
  allgather_bytes(&mine, all.data(), sizeof mine);
  const auto votes = [&](const Call& c) { return std::count(all.begin(), all.end(), c); };
  const auto usual = std::max_element(all.begin(), all.end(), [&](const Call& a, const Call& b) { return votes(a) < votes(b); });
  std::string odd;
  int first = -1;
  for (int r = 0; r < size(); ++r) {
    const Call& c = all[static_cast<std::size_t>(r)];
    if (c == *usual) continue;
    if (first < 0) first = r;
    odd += fmt::format("; rank {}: {}", r, to_text(c));
  }
  if (first >= 0)
    throw Error(Errc::mismatch, fmt::format("libcoll: rank {} of {}: ranks disagree (LIBCOLL_CHECK): most call {}{}", rank(), size(), to_text(*usual), odd), first);
}

}  // namespace libcoll::detail
