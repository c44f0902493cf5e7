#include "universe.hpp"

#include <algorithm>
#include <array>
#include <mutex>
#include <random>
#include <vector>

#include "driver.hpp"
#include "on_stream.hpp"

namespace libcoll::torch_door {
namespace {

// Worlds of this process that are still in use. Never destroyed: threads may outlive statics.
struct Registry {
  std::mutex mutex;
  std::vector<std::weak_ptr<Universe>> worlds;
};
Registry& registry() {
  static auto* r = new Registry;
  return *r;
}

// What a rank tells about itself: an id that it proposes, and the worlds it is in. A process in more of them than fit here makes
// new worlds though older ones would do.
struct Record {
  struct Place {
    std::uint64_t id = 0;
    std::int64_t rank = -1;
  };
  std::uint64_t proposal = 0;
  std::array<Place, 8> places;
  const Place* find(std::uint64_t id) const {
    const auto p = std::find_if(places.begin(), places.end(), [id](const Place& q) { return q.rank >= 0 && q.id == id; });
    return p == places.end() ? nullptr : &*p;
  }
};

Record my_record(std::vector<std::shared_ptr<Universe>>& held) {
  Record record;
  std::random_device random;
  record.proposal = (static_cast<std::uint64_t>(random()) << 32) | random();
  const std::lock_guard lock(registry().mutex);
  auto& worlds = registry().worlds;
  std::erase_if(worlds, [](const auto& w) { return w.expired(); });
  for (auto w = worlds.rbegin(); w != worlds.rend() && held.size() < record.places.size(); ++w) {
    const auto u = w->lock();
    if (!u) continue;
    record.places[held.size()] = {u->id, u->comm.rank()};
    held.push_back(u);
  }
  return record;
}

}  // namespace

Universe::~Universe() {
  if (comm) Driver::instance().retire(std::move(comm), gpu());
}

Membership join(Meeting& meeting, int rank, int size) {
  std::vector<std::shared_ptr<Universe>> held;
  const Record mine = my_record(held);
  std::vector<Record> all(static_cast<std::size_t>(size));
  meeting.allgather(&mine, all.data(), sizeof(Record));
  const AllgatherFunction exchange = [&meeting](const void* send, void* recv, std::size_t bytes) { meeting.allgather(send, recv, bytes); };

  for (const Record::Place& place : all[0].places) {
    if (place.rank < 0) break;
    std::vector<int> members;
    for (const Record& r : all)
      if (const auto* p = r.find(place.id)) members.push_back(static_cast<int>(p->rank));
    if (members.size() != all.size()) continue;
    // Ranks that are threads of one process have one registry, and may all have found the same rank of that world.
    std::vector<int> sorted = members;
    std::sort(sorted.begin(), sorted.end());
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) continue;
    for (const auto& u : held)
      if (u->id == place.id) return {u, u->comm.subset(members, exchange)};
  }
  auto universe = std::make_shared<Universe>();
  universe->id = all[0].proposal;
  universe->has_gpus = has_gpus();
  universe->comm = Comm::from_callback(rank, size, exchange);
  for (const TopologyHost& h : universe->comm.topology().hosts) universe->crowded |= h.oversubscribed;
  const std::lock_guard lock(registry().mutex);
  registry().worlds.push_back(universe);
  return {universe, {}};
}

}  // namespace libcoll::torch_door
