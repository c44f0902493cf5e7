// Creating, splitting and closing communicators.
#include "libcoll/core/comm_impl.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "libcoll/core/log.hpp"
#include "libcoll/planning/measure.hpp"
#include "transports/shm/calibrate.hpp"

namespace libcoll::detail {

namespace shm = xport::shm;

namespace {

struct Shares { std::int64_t color, key; };
constexpr std::size_t most_groups = 8;  // that one rank is in
const PlanCache no_plans;

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

// What each member tells the others.
struct CommImpl::Card {
  std::uint64_t areas[most_groups];  // of the groups it is in, in the order of the list; 0: no room
  std::uint64_t id;                  // the first member's counts
};

CommImpl::CommImpl(std::shared_ptr<World> world, std::vector<int> world_ranks, const Exchange& exchange)
    : world_(std::move(world)), world_ranks_(std::move(world_ranks)), size_(static_cast<int>(world_ranks_.size())), gate_{.idle = &plans_, .busy = &no_plans} {
  rank_ = static_cast<int>(std::find(world_ranks_.begin(), world_ranks_.end(), world_->rank) - world_ranks_.begin());
  hierarchy_ = topo::restrict_to(world_->hierarchy, world_ranks_);
  define_groups();
  join_groups(exchange);
  std::vector<shm::Group*> groups;
  for (const auto& g : mine_) groups.push_back(g.get());
  queue_.reset(new exec::Queue(*world_->engine, gate_, std::move(groups), id_, world_ranks_, rank_));
  if (!world_->uses_gpus) return;
  // Nothing is found by the quick way: each call asks where its buffers lie.
  note_ways();
  to_start_ = &no_plans;
  devices_ = std::make_unique<DeviceSide>(*this);
}

void CommImpl::note_ways() noexcept {
  gate_.idle = gate_.busy;
  gate_.now = gate_.busy;
}

CommImpl::~CommImpl() {
  if (mailbox_) mailbox_->shut_down();
  if (mailbox_) mailbox_->leave();
  queue_->shut_down();
}

// The list of groups and levels is the same on all ranks.
void CommImpl::define_groups() {
  const std::vector<int>& domain = hierarchy_.colors[static_cast<std::size_t>(Level::host)];
  std::vector<std::vector<int>> hosts(static_cast<std::size_t>(1 + *std::max_element(domain.begin(), domain.end())));
  for (int r = 0; r < size_; ++r) hosts[static_cast<std::size_t>(domain[static_cast<std::size_t>(r)])].push_back(r);
  std::vector<std::vector<int>> lists;
  const auto add = [&](std::vector<int> g) {
    if (g.size() > 1 && std::find(lists.begin(), lists.end(), g) == lists.end()) lists.push_back(std::move(g));
  };
  for (std::vector<int>& g : hosts) lists.push_back(std::move(g));
  for (const TopologyLevel& l : hierarchy_.levels) {
    if (l.level == Level::world) continue;
    sched::Problem::LevelView view{.level = l.level, .members = {}, .leader = {}, .group_of = std::vector<int>(static_cast<std::size_t>(size_))};
    for (const TopologyGroup& g : l.groups) {
      for (const int r : g.ranks) view.group_of[static_cast<std::size_t>(r)] = static_cast<int>(view.members.size());
      view.members.push_back(g.ranks);
      view.leader.push_back(g.leader);
    }
    if (l.level <= Level::host) {
      for (const TopologyGroup& g : l.groups) add(g.ranks);
      // The leaders of each narrower level inside each group.
      for (const auto& inner : levels_)
        for (const TopologyGroup& g : l.groups) {
          std::vector<int> leaders;
          for (std::size_t i = 0; i < inner.members.size(); ++i)
            if (std::binary_search(g.ranks.begin(), g.ranks.end(), inner.leader[i])) leaders.push_back(inner.leader[i]);
          add(std::move(leaders));
        }
    }
    levels_.push_back(std::move(view));
  }
  for (std::vector<int>& g : lists) groups_.push_back({std::move(g), nullptr});
}

void CommImpl::join_groups(const Exchange& exchange) {
  shm::Heap& heap = world_->host->heap();
  std::vector<std::size_t> joined;
  for (std::size_t i = 0; i < groups_.size() && joined.size() < most_groups; ++i)
    if (std::find(groups_[i].ranks.begin(), groups_[i].ranks.end(), rank_) != groups_[i].ranks.end()) joined.push_back(i);
  Card mine{};
  for (std::size_t k = 0; k < joined.size(); ++k) {
    const int n = static_cast<int>(groups_[joined[k]].ranks.size());
    areas_.push_back(mine.areas[k] = heap.allocate(shm::shape_for(n, *world_->host).area_bytes()));
  }
  mine.id = static_cast<std::uint64_t>(world_->rank) << 32 | world_->communicators.fetch_add(1);
  std::vector<Card> cards(world_ranks_.size());
  exchange(&mine, cards.data(), sizeof mine);
  id_ = cards[0].id;
  // Which of a member's areas belongs to a group: as many as the groups before it that the member is in.
  std::vector<std::size_t> seen(world_ranks_.size());
  std::size_t k = 0;
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    std::vector<std::uint64_t> areas;
    std::vector<int> places;
    for (const int r : groups_[i].ranks) {
      const std::size_t at = seen[static_cast<std::size_t>(r)]++;
      const std::uint64_t area = at < most_groups ? cards[static_cast<std::size_t>(r)].areas[at] : 0;
      if (area == 0 && at < most_groups) {
        for (const std::uint64_t a : areas_) heap.release(a);
        throw Error(Errc::system, fmt::format("libcoll: rank {}: no room for another communicator in the arena of rank {}; close some or raise "
                                              "LIBCOLL_ARENA_BYTES", rank_, r), r);
      }
      areas.push_back(area);
      places.push_back(world_->place(world_ranks_[static_cast<std::size_t>(r)]));
    }
    if (k == joined.size() || joined[k] != i) continue;
    const auto me = std::find(groups_[i].ranks.begin(), groups_[i].ranks.end(), rank_) - groups_[i].ranks.begin();
    const shm::Shape shape = shm::shape_for(static_cast<int>(areas.size()), *world_->host);
    mine_.push_back(std::make_unique<shm::Group>(*world_->host, shape, static_cast<int>(me), areas, places));
    groups_[i].group = mine_.back().get();
    if (static_cast<int>(areas.size()) != size_) groups_[i].group->set_names(groups_[i].ranks, size_);
    ++k;
  }
  group_ = mine_.front().get();  // the host's
  group_->set_groups(groups_of(topo::restrict_to(hierarchy_, groups_[joined[0]].ranks)));
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
    comm->measure_costs(bootstrap);
    comm->close();
    comm = std::make_unique<CommImpl>(world, ranks, exchange);
  }
  return comm;
}

// Each host measures its memory, then hosts measure the network between them; all agree on the medians.
void CommImpl::measure_costs(Bootstrap& bootstrap) {
  World& w = *world_;
  shm::Costs mine = w.host->costs();
  if (group_->size() > 1) {
    mine = shm::calibrate(*group_, [&](const void* s, void* r, std::size_t n) {
      const Plan p = native_plan({.coll = Coll::allgather, .dtype = DType::byte, .root = ~std::uint32_t{0}, .count = static_cast<std::int64_t>(n)});
      p.run(*group_, {.send = s, .recv = r}, p);
    });
  }
  const auto share = [&](const auto& value) {
    std::vector<std::decay_t<decltype(value)>> all(static_cast<std::size_t>(w.size));
    bootstrap.allgather(&value, all.data(), sizeof value);
    return all;
  };
  w.host->set_costs(shm::agree(share(mine)));
  planning::NetworkCosts network;
  if (w.engine->messenger() != nullptr)
    network = planning::agree(share(planning::measure_network(*w.engine->messenger(), w.domain_of, w.rank, id_, [&] { share(char{}); })));
  w.costs = planning::costs_from(w.host->costs(), network, w.ranks_per_cpu);
  if (w.rank == 0) log().debug("costs: {}", planning::to_text(w.costs));
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
  std::unique_ptr<CommImpl> child;
  const Card nothing{};
  if (color >= 0) child = std::make_unique<CommImpl>(world_, std::move(ranks), exchange);
  else exchange(&nothing, nullptr, sizeof nothing);
  if (devices_) devices_->split_into(child ? child->devices_.get() : nullptr, color, key);
  return child;
}

std::unique_ptr<CommImpl> CommImpl::subset(std::span<const int> members, const Exchange& exchange) const {
  std::vector<int> ranks;
  for (const int r : members) ranks.push_back(world_ranks_[static_cast<std::size_t>(r)]);
  return std::make_unique<CommImpl>(world_, std::move(ranks), exchange);
}

bool CommImpl::try_close() noexcept {
  try {
    return !broken().empty() || leave_step_by_step();
  } catch (const std::exception& error) {
    // Nobody is left to whom it could matter but the peers, which must not wait for this rank.
    log().warn("rank {} of {}: while the communicator was closed: {}", rank_, size_, error.what());
    abort(fmt::format("it could not close: {}", error.what()));
    return true;
  }
}

bool CommImpl::leave_step_by_step() {
  if (leaving_ == Leaving::no) {
    if (mailbox_) mailbox_->shut_down();
    if (!local()) farewell_ = start_barrier();
    leaving_ = Leaving::farewell;
  }
  if (leaving_ == Leaving::farewell) {
    if (!farewell_.test()) return false;
    queue_->drain();
    queue_->shut_down();
    forget_messages();
    for (const auto& g : mine_) g->depart();
    leaving_ = Leaving::departed;
  }
  if (!std::all_of(mine_.begin(), mine_.end(), [](const auto& g) { return g->all_departed(); })) return false;
  if (devices_ && !devices_->try_close()) return false;
  if (mailbox_) mailbox_->give_back();
  for (const std::uint64_t area : areas_) world_->host->heap().release(area);
  return true;
}

void CommImpl::close() {
  if (mailbox_) mailbox_->shut_down();
  queue_->drain();
  if (devices_ && broken().empty()) devices_->close();
  // Nobody sends to this communicator any more once all have come here.
  if (!local() && broken().empty()) {
    const char token = 0;
    std::vector<char> all(static_cast<std::size_t>(size_));
    allgather_bytes(&token, all.data(), 1);
  }
  queue_->shut_down();
  forget_messages();
  for (std::size_t i = 0; i < mine_.size() && broken().empty(); ++i) {
    mine_[i]->align(exec::first_native(queue_->sequence() + 1));
    if (!mine_[i]->leave()) continue;
    if (i == 0 && mailbox_) mailbox_->give_back();
    world_->host->heap().release(areas_[i]);
  }
}

// Nobody sends to this communicator any more, or nobody will listen.
void CommImpl::forget_messages() {
  xport::Messenger* const messenger = world_->engine->messenger();
  if (messenger != nullptr) messenger->forget(id_);
  if (messenger != nullptr && !local())
    for (const std::uint64_t id : {exec::envelopes_of(id_), exec::payloads_of(id_)}) messenger->forget(id);
  if (mailbox_) mailbox_->leave();
}

exec::Mailbox& CommImpl::mailbox() {
  if (mailbox_) return *mailbox_;
  exec::Mailbox::Setting s{.members = world_ranks_, .places = std::vector<int>(world_ranks_.size(), -1), .rank = rank_, .communicator = id_};
  const auto host = std::find_if(groups_.begin(), groups_.end(), [&](const exec::NativeGroup& g) { return g.group == group_; });
  for (std::size_t i = 0; i < host->ranks.size(); ++i) s.places[static_cast<std::size_t>(host->ranks[i])] = static_cast<int>(i);
  mailbox_.reset(new exec::Mailbox(*world_->engine, *queue_, *group_, std::move(s)));
  return *mailbox_;
}

std::uint64_t CommImpl::lent_buffers() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& g : mine_) sum += g->lent_buffers();
  return sum;
}

void CommImpl::abort(std::string_view why) {
  const std::string text = fmt::format("libcoll: rank {} of {}: aborted: {}", rank_, size_, why);
  queue_->break_off(text);
  if (mailbox_) mailbox_->break_off(rank_, text);
  if (devices_) devices_->abort();
  queue_->push_out();
}

const std::string& CommImpl::broken() const { return queue_->broken(); }

const Topology& CommImpl::topology() {
  if (!topology_) {
    std::vector<topo::RankRecord> records;
    for (const int r : world_ranks_) records.push_back(world_->fabric.records[static_cast<std::size_t>(r)]);
    topology_ = topo::make_topology(topo::build_fabric(std::move(records)), hierarchy_);
  }
  return *topology_;
}

int CommImpl::color_at(Level level) const { return world_->hierarchy.group_of(level, world_->rank); }

void CommImpl::announce_refusal(Coll coll) {
  if (unannounced_ != 0 || !broken().empty()) return;
  queue_->drain();
  if (devices_ && devices_->goes_alone()) return abort("it refused a call that other ranks may have given to NCCL already");
  if (local()) group_->announce_refusal(Call{.coll = coll});
  else queue_->refuse_next();
}

std::string CommImpl::text_of_refusal(Coll coll, const std::string& what) const { return fmt::format("libcoll: rank {} of {}: {}: {}", rank_, size_, name_of(coll), what); }

void CommImpl::refuse(Coll coll, const std::string& what) {
  announce_refusal(coll);
  throw Error(Errc::invalid_argument, text_of_refusal(coll, what));
}

void CommImpl::note_options(const CallOptions& o) noexcept {
  if (devices_) devices_->set_goes_alone(o.memory == Memory::device || (o.stream.given && o.memory == Memory::automatic));
}

void CommImpl::announce_refusal_alike(Coll coll) {
  const bool alone = devices_ && devices_->goes_alone() && unannounced_ == 0 && broken().empty();
  if (devices_) devices_->set_goes_alone(false);
  announce_refusal(coll);
  if (!alone) return;
  // Ranks that make the same mistake make it at about the same time. For others this rank's part is missing for ever.
  constexpr auto patience = std::chrono::seconds(1);
  const auto end = std::chrono::steady_clock::now() + patience;
  exec::Idler idler(*world_->engine);
  using Refusal = shm::Group::Refusal;
  for (unsigned looks = 1; broken().empty(); ++looks) {
    if (queue_->last_refusal() != Refusal::some_to_come) return;
    idler.rest(world_->engine->progress(), false);
    std::string why;
    if (looks % 64 == 0 && queue_->find_lost(why, false) >= 0) return;
    if (std::chrono::steady_clock::now() > end) return abort("it refused a call that other ranks have not refused, and may have given to NCCL already");
  }
}

void CommImpl::refuse_alike(Coll coll, const std::string& what) {
  announce_refusal_alike(coll);
  throw Error(Errc::invalid_argument, text_of_refusal(coll, what));
}

}  // namespace libcoll::detail
