// Device schedules of blocks over islands of g GPUs: every rank carries the blocks of its rail over the network. R islands,
// blocks of n elements.
//
// reduce_scatter_block  Idea: reduce_scatter in the island of what each rail's ranks get, then along the rail.
//                       Invariant: after the first phase member j has the island's sums of the R blocks of rail j.
//                       g - 1 + R - 1 ring steps instead of g R - 1; (R - 1) n elements per rank cross the network, the
//                       lower bound for g cards an island.
// allgather             The mirror: along the rail, then in the island.
// alltoall              Idea: what goes to a rank of another island goes first to the own island's member on that rank's
//                       rail, which sends each island all that its members have for the rank, in one message.
//                       R - 1 messages of g blocks cross the network per rank, instead of g (R - 1) of one.
// Slices=1: allgather in the island, then of whole islands along every rail (reduce_scatter_block: the reverse). Two calls on
// the callers' buffers, but every card carries g times as much: for small blocks. Only where each island's blocks follow each other.
// A native of an island wants the parts of its members one after the other, by rails. Where ranks are dealt round robin the
// callers' blocks lie so; where each island's blocks follow each other they do so island by island: R natives, no copies;
// else, and in chunks of blocks, blocks are copied.
// Sources: textbook; Cho, Finkler, Kung, Hunter, "BlueConnect", MLSys 2019; alltoall: Nie et al., "HetuMoE", 2022 (hierarchical).
#include <algorithm>

#include "libcoll/algorithms/cluster.hpp"
#include "libcoll/algorithms/device_build.hpp"

namespace libcoll::algo {

namespace {

constexpr std::size_t at(int i) { return static_cast<std::size_t>(i); }

struct Blocks {
  Site s;
  const DevicePlace& here;
  BlockOrder order;
  bool scatters;  // reduce_scatter_block; else allgather

  std::int64_t n() const { return s.p.count; }
  bool whole(std::int64_t count) const { return count == n(); }
  // Elements [from, from + count) of the block of member j of island i, in the caller's buffer of all blocks.
  Range block(int i, int j, std::int64_t from, std::int64_t count) const {
    const std::int64_t start = here.islands[at(i)][at(j)] * n();
    if (scatters) return operand(s.p, s.rank(), start + from, count);
    return {Space::recv, 0, start + from, count};
  }
  // Between the caller's blocks and `rails`, where pieces of `count` elements lie by rails, islands in order.
  void copies(const Range& rails, std::int64_t from, std::int64_t count) const {
    std::vector<std::pair<Range, Range>> all;
    for (int j = 0; j < here.members(); ++j)
      for (int i = 0; i < here.many(); ++i) {
        const Range piece = sched::part(rails, (std::int64_t{j} * here.many() + i) * count, count), theirs = block(i, j, from, count);
        if (scatters) all.emplace_back(piece, theirs);
        else if (here.islands[at(i)][at(j)] != s.rank() || !s.p.in_place) all.emplace_back(theirs, piece);
      }
    copy_all(s.b, all);
  }
  // All g R pieces by rails: where they are, or room for them.
  Range by_rails(std::int64_t from, std::int64_t count) const {
    const std::int64_t total = std::int64_t{here.members()} * here.many() * count;
    if (order == BlockOrder::by_rail && whole(count)) return sched::part(block(0, 0, 0, total), from, total);
    return s.room.get(total);
  }
  bool island_by_island(std::int64_t count) const { return order == BlockOrder::by_island && whole(count); }
  std::vector<Part> rail_parts(std::int64_t count) const { return equal_parts(here.many(), count); }
  std::vector<Part> island_parts(std::int64_t each) const { return equal_parts(here.members(), each); }
  void in_island(Coll coll, const Range& to, const Range& from, std::span<const Part> parts) const { s.b.native(coll, here.island_group, 0, to, from, parts); }
};

// The sums of the rail's blocks, in `to`: R pieces of `count` elements.
void reduce_in_island(const Blocks& b, const Range& to, std::int64_t from, std::int64_t count) {
  if (b.island_by_island(count)) {
    const auto parts = b.island_parts(count);
    for (int i = 0; i < b.here.many(); ++i)
      b.in_island(Coll::reduce_scatter, sched::part(to, i * count, count), b.block(i, 0, from, b.here.members() * count), parts);
    return;
  }
  const Range all = b.by_rails(from, count);
  if (all.space == Space::scratch) b.copies(all, from, count);
  b.in_island(Coll::reduce_scatter, to, all, b.island_parts(b.here.many() * count));
}

void build_reduce_scatter(const Blocks& b) {
  std::vector<Range> sums(2);  // of chunks in turn
  const auto sum = [&](std::int64_t from, std::int64_t count) {
    Range& slot = sums[b.s.recipe.chunk > 0 ? static_cast<std::size_t>(from / b.s.recipe.chunk % 2) : 0];
    if (slot.count < b.here.many() * count) slot = b.s.b.scratch(b.here.many() * count);
    return sched::part(slot, 0, b.here.many() * count);
  };
  pipeline(b.s, b.n(), 1, {
    [&](std::int64_t from, std::int64_t count) { reduce_in_island(b, sum(from, count), from, count); },
    [&](std::int64_t from, std::int64_t count) {
      b.s.b.native(Coll::reduce_scatter, b.here.rail_group, 0, {Space::recv, 0, from, count}, sum(from, count), b.rail_parts(count));
    },
  });
}

void build_allgather(const Blocks& b) {
  const int me = b.here.mine.me;
  std::vector<Range> mine(2), all(2);  // of chunks in turn: the rail's pieces, and everyone's unless they go where they belong
  const auto slot = [&](std::int64_t from) { return b.s.recipe.chunk > 0 ? static_cast<std::size_t>(from / b.s.recipe.chunk % 2) : 0; };
  pipeline(b.s, b.n(), 0, {
    [&](std::int64_t from, std::int64_t count) {
      const std::int64_t rail = b.here.many() * count;
      const std::size_t k = slot(from);
      if (b.island_by_island(count)) {
        mine[k] = b.s.room.get(rail);
      } else {
        all[k] = b.by_rails(from, count);
        mine[k] = sched::part(all[k], me * rail, rail);
      }
      b.s.b.native(Coll::allgatherv, b.here.rail_group, 0, mine[k], operand(b.s.p, b.s.rank(), from, count), b.rail_parts(count));
    },
    [&](std::int64_t from, std::int64_t count) {
      const std::size_t k = slot(from);
      if (b.island_by_island(count)) {
        const auto parts = b.island_parts(count);
        for (int i = 0; i < b.here.many(); ++i)
          b.in_island(Coll::allgatherv, b.block(i, 0, from, b.here.members() * count), sched::part(mine[k], i * count, count), parts);
        return;
      }
      b.in_island(Coll::allgatherv, all[k], mine[k], b.island_parts(b.here.many() * count));
      if (all[k].space == Space::scratch) b.copies(all[k], from, count);
    },
  });
}

// -- Slices=1.

void build_unsliced(const Blocks& b) {
  const std::int64_t n = b.n(), island = b.here.members() * n;
  if (n == 0) return;
  const Range home = b.block(b.here.rail.me, 0, 0, island), all = b.block(0, 0, 0, b.here.many() * island);
  const auto members = b.island_parts(n), islands = equal_parts(b.here.many(), island);
  if (b.scatters) {
    const Range sum = b.s.b.scratch(island);
    b.s.b.native(Coll::reduce_scatter, b.here.rail_group, 0, sum, all, islands);
    b.in_island(Coll::reduce_scatter, {Space::recv, 0, 0, n}, sum, members);
  } else {
    b.in_island(Coll::allgatherv, home, operand(b.s.p, b.s.rank(), 0, n), members);
    b.s.b.native(Coll::allgatherv, b.here.rail_group, 0, all, home, islands);
  }
}

}  // namespace

BlockOrder block_order(const std::vector<std::vector<int>>& islands) {
  const int g = static_cast<int>(islands.front().size()), many = static_cast<int>(islands.size());
  bool runs = true, rails = true;
  for (int i = 0; i < many; ++i)
    for (int j = 0; j < g; ++j) {
      runs = runs && islands[at(i)][at(j)] == islands[at(i)][0] + j;
      rails = rails && islands[at(i)][at(j)] == j * many + i;
    }
  return rails ? BlockOrder::by_rail : runs ? BlockOrder::by_island : BlockOrder::mixed;
}

DevicePlace::DevicePlace(const Problem& p, const DeviceGroups& groups, int rank) : islands(groups.islands) {
  const auto home = std::find_if(islands.begin(), islands.end(), [&](const auto& i) { return std::find(i.begin(), i.end(), rank) != i.end(); });
  mine = sched::team_of(*home, rank);
  rail = sched::team_of(groups.rails[at(mine.me)], rank);
  island_group = p.group_with(mine.ranks);
  rail_group = p.group_with(rail.ranks);
}

void build_device_blocks(Site s, const DevicePlace& here, bool sliced) {
  const Blocks blocks{s, here, block_order(here.islands), s.p.coll == Coll::reduce_scatter_block};
  if (!sliced) build_unsliced(blocks);
  else if (blocks.scatters) build_reduce_scatter(blocks);
  else build_allgather(blocks);
}

void build_device_alltoall(Site s, const DevicePlace& here) {
  Builder& b = s.b;
  const std::int64_t n = s.p.count;
  if (n == 0) return;
  const int g = here.members(), many = here.many(), me = here.mine.me, home = here.rail.me;
  const auto& islands = here.islands;
  const Range source = alltoall_source(b, s.p);
  const auto out = [&](int i, int j) { return sched::part(source, islands[at(i)][at(j)] * n, n); };
  const auto in = [&](int i, int j) { return recv_block(s.p, islands[at(i)][at(j)]); };
  // For each rank of the rail, what the members of this island have for it, members in order.
  const Range brought = b.scratch(std::int64_t{many} * g * n);
  const auto piece = [&](const Range& room, int i, int j) { return sched::part(room, (std::int64_t{i} * g + j) * n, n); };
  if (!s.p.in_place) b.copy(in(home, me), out(home, me));
  for (int i = 0; i < many; ++i)
    if (i != home) b.copy(piece(brought, i, me), out(i, me));
  for (int k = 1; k < g; ++k) {
    const int next = (me + k) % g, last = (me - k + g) % g;
    for (int i = 0; i < many; ++i) {
      b.send(here.mine.rank(next), out(i, next));
      b.recv(here.mine.rank(last), i == home ? in(home, last) : piece(brought, i, last));
    }
  }
  const bool runs = block_order(islands) == BlockOrder::by_island;
  const Range came = runs ? Range{} : b.scratch(std::int64_t{many} * g * n);
  std::vector<std::pair<Range, Range>> unpack;
  for (int k = 1; k < many; ++k) {
    const int next = (home + k) % many, last = (home - k + many) % many;
    b.send(here.rail.rank(next), sched::part(brought, std::int64_t{next} * g * n, g * n));
    b.recv(here.rail.rank(last), runs ? sched::part(in(last, 0), 0, g * n) : sched::part(came, std::int64_t{last} * g * n, g * n));
    for (int j = 0; j < g && !runs; ++j) unpack.emplace_back(in(last, j), piece(came, last, j));
  }
  copy_all(b, unpack);
}

}  // namespace libcoll::algo
