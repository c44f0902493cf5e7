// Device schedules of whole vectors over islands of g GPUs: what crosses the network is cut by g, and every rank's own
// network card carries its part. R islands, m elements.
//
// allreduce  Idea: reduce_scatter in the island, allreduce of each part along its rail, allgather in the island.
//            Invariant: after the first phase member j of an island has part j of the island's sum; after the second, of all.
//            2 (g - 1) + 2 (R - 1) ring steps instead of 2 (g R - 1); per rank 2 (R - 1)/R m/g elements cross the network,
//            the lower bound for g cards an island. Slices=1: allreduce in the island, then along every rail: two calls
//            instead of three, but every card carries m elements.
// bcast      Sliced: the root scatters over its island by messages, parts go along the rails, islands collect.
//            Slices=1: along the root's rail, then in each island: two calls, but m elements by one card.
// reduce     The mirror of bcast.
// Parts of natives are equal, which NCCL does by one call: a bulk that g divides, in chunks that g divides; the fewer than
// g elements after it travel as one small operation more. Chunks overlap: NVLink and network work at the same time.
// Source: textbook; hierarchical reduce_scatter, allreduce, allgather: Cho, Finkler, Kung, Hunter, "BlueConnect", MLSys 2019.
#include <algorithm>

#include "libcoll/algorithms/device_build.hpp"

namespace libcoll::algo {

namespace {

constexpr std::size_t at(int i) { return static_cast<std::size_t>(i); }

Range result(std::int64_t from, std::int64_t count) { return {Space::recv, 0, from, count}; }
Range no_elements(const Range& r) { return sched::part(r, 0, 0); }

struct Vector {
  Site s;
  const DevicePlace& here;
  int root_island = 0, root_member = 0;

  Vector(Site site, const DevicePlace& place) : s(site), here(place) {
    for (std::size_t i = 0; i < place.islands.size(); ++i) {
      const auto& island = place.islands[i];
      const auto member = std::find(island.begin(), island.end(), s.p.root);
      if (member != island.end()) root_island = static_cast<int>(i), root_member = static_cast<int>(member - island.begin());
    }
  }
  bool with_root() const { return here.rail.me == root_island; }
  bool leads() const { return here.mine.me == root_member; }  // of those that slices=1 lets talk
  bool is_root() const { return s.rank() == s.p.root; }

  void in_island(Coll coll, int root, const Range& to, const Range& from, std::span<const Part> parts = {}) const {
    s.b.native(coll, here.island_group, root, to, from, parts);
  }
  void along_rail(Coll coll, int root, const Range& to, const Range& from) const { s.b.native(coll, here.rail_group, root, to, from); }
  std::vector<Part> parts(std::int64_t count) const { return equal_parts(here.members(), count / here.members()); }
  Part own(std::int64_t count) const { return parts(count)[at(here.mine.me)]; }
  Range mine(std::int64_t from, std::int64_t count) const { return sub(result(from, count), own(count)); }
  Range operand_of(std::int64_t from, std::int64_t count) const { return operand(s.p, s.rank(), from, count); }

  void collect(std::int64_t from, std::int64_t count) const {
    in_island(Coll::allgatherv, 0, result(from, count), mine(from, count), parts(count));
  }
  // The members' parts between the root and its island.
  void messages(std::int64_t from, std::int64_t count, const Range& own, bool to_root) const {
    if (!with_root()) return;
    if (!is_root()) return to_root ? s.b.send(s.p.root, own) : s.b.recv(s.p.root, own);
    const auto all = parts(count);
    for (int k = 1; k < here.members(); ++k) {
      const int i = (root_member + k) % here.members();
      const Range theirs = sub(result(from, count), all[at(i)]);
      if (to_root) s.b.recv(here.mine.rank(i), theirs);
      else s.b.send(here.mine.rank(i), theirs);
    }
  }
};

std::vector<Phase> allreduce_phases(const Vector& v) {
  return {
      [&v](std::int64_t from, std::int64_t count) { v.in_island(Coll::reduce_scatter, 0, v.mine(from, count), v.operand_of(from, count), v.parts(count)); },
      [&v](std::int64_t from, std::int64_t count) { v.along_rail(Coll::allreduce, 0, v.mine(from, count), v.mine(from, count)); },
      [&v](std::int64_t from, std::int64_t count) { v.collect(from, count); },
  };
}

std::vector<Phase> bcast_phases(const Vector& v) {
  return {
      [&v](std::int64_t from, std::int64_t count) { v.messages(from, count, v.mine(from, count), false); },
      [&v](std::int64_t from, std::int64_t count) { v.along_rail(Coll::bcast, v.root_island, v.mine(from, count), no_elements(v.mine(from, count))); },
      [&v](std::int64_t from, std::int64_t count) { v.collect(from, count); },
  };
}

// Where a chunk's sums are made: at the root where they belong, else in scratch that chunks use in turn (three are under way).
class Sums {
 public:
  Sums(const Vector& v, bool sliced) : v_(v), sliced_(sliced) {}
  Range of(std::int64_t from, std::int64_t count) {
    const std::int64_t each = sliced_ ? count / v_.here.members() : count;
    if (v_.is_root()) return sliced_ ? v_.mine(from, count) : result(from, count);
    Range& slot = slots_[at(static_cast<int>(v_.s.recipe.chunk > 0 ? from / v_.s.recipe.chunk % 3 : 0))];
    if (slot.count < each) slot = v_.s.b.scratch(each);
    return sched::part(slot, 0, each);
  }

 private:
  const Vector& v_;
  const bool sliced_;
  Range slots_[3];
};

std::vector<Phase> reduce_phases(const Vector& v, Sums& sums) {
  return {
      [&](std::int64_t from, std::int64_t count) { v.in_island(Coll::reduce_scatter, 0, sums.of(from, count), v.operand_of(from, count), v.parts(count)); },
      [&](std::int64_t from, std::int64_t count) {
        const Range sum = sums.of(from, count);
        v.along_rail(Coll::reduce, v.root_island, v.with_root() ? sum : no_elements(sum), sum);
      },
      [&](std::int64_t from, std::int64_t count) {
        if (v.with_root()) v.messages(from, count, sums.of(from, count), true);
      },
  };
}

// -- Slices=1.

void allreduce_twice(const Vector& v) {
  pipeline(v.s, v.s.p.count, 1, {
    [&](std::int64_t from, std::int64_t count) { v.in_island(Coll::allreduce, 0, result(from, count), v.operand_of(from, count)); },
    [&](std::int64_t from, std::int64_t count) { v.along_rail(Coll::allreduce, 0, result(from, count), result(from, count)); },
  });
}

void bcast_by_leaders(const Vector& v, std::int64_t begin, std::int64_t count) {
  pipeline(v.s, count, 0, {
    [&](std::int64_t from, std::int64_t many) {
      const Range all = result(begin + from, many);
      if (v.leads()) v.along_rail(Coll::bcast, v.root_island, all, no_elements(all));
    },
    [&](std::int64_t from, std::int64_t many) {
      const Range all = result(begin + from, many);
      v.in_island(Coll::bcast, v.root_member, all, no_elements(all));
    },
  });
}

void reduce_by_leaders(const Vector& v, std::int64_t begin, std::int64_t count) {
  Sums sums(v, false);
  const auto sum = [&](std::int64_t from, std::int64_t many) { return v.leads() ? sums.of(begin + from, many) : Range{}; };
  pipeline(v.s, count, 1, {
    [&](std::int64_t from, std::int64_t many) {
      v.in_island(Coll::reduce, v.root_member, sum(from, many), v.operand_of(begin + from, many));
    },
    [&](std::int64_t from, std::int64_t many) {
      if (v.leads()) v.along_rail(Coll::reduce, v.root_island, v.with_root() ? sum(from, many) : Range{}, sum(from, many));
    },
  });
}

}  // namespace

void build_device_vector(Site s, const DevicePlace& here, bool sliced) {
  const std::int64_t g = here.members(), count = s.p.count, tail = sliced ? count % g : count, bulk = count - tail;
  Recipe recipe = s.recipe;
  if (sliced) recipe.chunk = (recipe.chunk + g - 1) / g * g;
  const Vector v({s.b, s.room, s.p, recipe}, here);
  Sums sums(v, true);
  if (s.p.coll == Coll::allreduce && !sliced) {
    allreduce_twice(v);
  } else if (s.p.coll == Coll::allreduce) {
    if (tail > 0) s.b.native(Coll::allreduce, everyone_group, 0, result(bulk, tail), v.operand_of(bulk, tail));
    pipeline(v.s, bulk, 1, allreduce_phases(v));
  } else if (s.p.coll == Coll::bcast) {
    bcast_by_leaders(v, bulk, tail);
    pipeline(v.s, bulk, 1, bcast_phases(v));
  } else {
    reduce_by_leaders(v, bulk, tail);
    pipeline(v.s, bulk, 1, reduce_phases(v, sums));
  }
}

}  // namespace libcoll::algo
