// The mutation check: deliberate defects in right schedules. verify alone must catch every one of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>

#include "libcoll/algorithms/device.hpp"
#include "tests/support/draft.hpp"
#include "tests/support/proofs.hpp"

namespace libcoll::algo {
namespace {

using sched::Kind;
using sched::Step;
using test::conflict;
using test::Draft;
using test::each_range;
using test::Line;
using test::ordered;
using test::between;
using test::flat_problem;
using test::Random;

using Drafts = std::vector<Draft>;
struct Spot {
  std::size_t rank, step;
};

struct Subject {
  std::string name;
  Problem p;
  std::vector<Schedule> right;
};

// A random step that fits; false: there is none.
bool pick(Random& random, const Drafts& all, const std::function<bool(const Draft&, std::size_t)>& fits, Spot& spot) {
  std::vector<Spot> found;
  for (std::size_t r = 0; r < all.size(); ++r)
    for (std::size_t i = 0; i < all[r].lines.size(); ++i)
      if (fits(all[r], i)) found.push_back({r, i});
  if (found.empty()) return false;
  spot = found[static_cast<std::size_t>(between(random, 0, static_cast<int>(found.size()) - 1))];
  return true;
}
auto of_kind(Kind k) {
  return [k](const Draft& d, std::size_t i) { return d.lines[i].step.kind == k; };
}
bool native_of(const Line& l, std::initializer_list<Coll> any) {
  return l.step.kind == Kind::native && std::find(any.begin(), any.end(), l.step.native) != any.end();
}
// The step at the other end.
Spot other_end(const Drafts& all, Spot s) {
  const Step& step = all[s.rank].lines[s.step].step;
  const auto peer = static_cast<std::size_t>(step.peer);
  for (std::size_t i = 0; i < all[peer].lines.size(); ++i) {
    const Step& o = all[peer].lines[i].step;
    if (o.kind == (step.kind == Kind::send ? Kind::recv : Kind::send) && o.peer == static_cast<int>(s.rank) && o.message == step.message) return {peer, i};
  }
  return s;
}
struct Mutation {
  const char* name;
  std::function<bool(Random&, Drafts&, const Problem&)> apply;  // false: no place for it here
};

Line& at(Drafts& all, Spot s) { return all[s.rank].lines[s.step]; }

// A change to one random step of a kind.
Mutation change(const char* name, Kind kind, std::function<bool(Line&, const Problem&)> edit) {
  return {name, [=](Random& random, Drafts& all, const Problem& p) {
    Spot s;
    return pick(random, all, of_kind(kind), s) && edit(at(all, s), p);
  }};
}

const Mutation mutations[] = {
    change("send to a wrong peer", Kind::send, [](Line& l, const Problem& p) { return l.step.peer = (l.step.peer + 1) % p.size, true; }),
    change("receive from a wrong peer", Kind::recv, [](Line& l, const Problem& p) { return l.step.peer = (l.step.peer + 1) % p.size, true; }),
    change("wrong message number", Kind::recv, [](Line& l, const Problem&) { return ++l.step.message, true; }),
    change("send from a wrong offset", Kind::send, [](Line& l, const Problem&) { return l.step.from.offset += l.step.from.offset > 0 ? -1 : 1, l.step.from.count != 0; }),
    change("receive to a wrong offset", Kind::recv, [](Line& l, const Problem&) { return l.step.to.offset += l.step.to.offset > 0 ? -1 : 1, l.step.to.count != 0; }),
    change("reduce to a wrong offset", Kind::reduce, [](Line& l, const Problem&) { return l.step.to.offset += l.step.to.offset > 0 ? -1 : 1, true; }),
    change("reduce from a wrong offset", Kind::reduce, [](Line& l, const Problem&) { return l.operands[0].offset += l.operands[0].offset > 0 ? -1 : 1, true; }),
    change("copy from a wrong offset", Kind::copy, [](Line& l, const Problem&) { return l.step.from.offset += l.step.from.offset > 0 ? -1 : 1, true; }),
    change("send too little", Kind::send, [](Line& l, const Problem&) { return l.step.from.count-- > 0; }),
    change("receive too little", Kind::recv, [](Line& l, const Problem&) { return l.step.to.count-- > 0; }),
    change("reduce too little", Kind::reduce, [](Line& l, const Problem&) {
      for (Range& o : l.operands) --o.count;
      return l.step.to.count-- > 0;
    }),
    change("copy too little", Kind::copy, [](Line& l, const Problem&) { return --l.step.from.count, l.step.to.count-- > 0; }),
    change("operand twice", Kind::reduce, [](Line& l, const Problem&) { return l.operands[1] = l.operands[0], true; }),
    change("operand forgotten", Kind::reduce, [](Line& l, const Problem&) { return l.operands.size() > 2 && (l.operands.pop_back(), true); }),
    change("operands swapped", Kind::reduce, [](Line& l, const Problem& p) { return std::swap(l.operands[0], l.operands[1]), !p.commutative; }),
    change("native with other counts", Kind::native, [](Line& l, const Problem&) { return l.step.native != Coll::barrier && l.step.to.count-- > 0; }),
    change("native from a wrong offset", Kind::native, [](Line& l, const Problem&) {
      if (l.step.from.count == 0) return false;
      l.step.from.offset += l.step.from.offset > 0 ? -1 : 1;
      return true;
    }),
    change("another native operation", Kind::native, [](Line& l, const Problem&) {
      if (!native_of(l, {Coll::allgatherv, Coll::reduce_scatter})) return false;
      l.step.native = l.step.native == Coll::allgatherv ? Coll::reduce_scatter : Coll::allgatherv;
      return true;
    }),
    {"native with another root", [](Random& random, Drafts& all, const Problem& p) {
      Spot s;
      if (!pick(random, all, [](const Draft& d, std::size_t i) { return native_of(d.lines[i], {Coll::reduce, Coll::bcast, Coll::gatherv, Coll::scatterv}); }, s)) return false;
      Step& step = at(all, s).step;
      step.root = (step.root + 1) % static_cast<int>(p.groups[static_cast<std::size_t>(step.group)].size());
      return true;
    }},
    {"native with another root on all members", [](Random& random, Drafts& all, const Problem& p) {
      Spot s;
      if (!pick(random, all, [](const Draft& d, std::size_t i) { return native_of(d.lines[i], {Coll::reduce, Coll::bcast}) && d.lines[i].step.to.count != 0; }, s)) return false;
      const Step which = at(all, s).step;
      for (const int r : p.groups[static_cast<std::size_t>(which.group)])
        for (Line& l : all[static_cast<std::size_t>(r)].lines)
          if (l.step.kind == Kind::native && l.step.group == which.group && l.step.native == which.native)
            l.step.root = (which.root + 1) % static_cast<int>(p.groups[static_cast<std::size_t>(which.group)].size());
      return true;
    }},
    {"native in another group", [](Random& random, Drafts& all, const Problem& p) {
      Spot s;
      if (p.groups.size() < 2 || !pick(random, all, of_kind(Kind::native), s)) return false;
      at(all, s).step.group = (at(all, s).step.group + 1) % static_cast<int>(p.groups.size());
      return true;
    }},
    {"native left out by one member", [](Random& random, Drafts& all, const Problem&) {
      Spot s;
      if (!pick(random, all, of_kind(Kind::native), s)) return false;
      all[s.rank].erase(s.step);
      return true;
    }},
    {"natives in another order on one rank", [](Random& random, Drafts& all, const Problem& p) {
      Spot s;
      // The root of a broadcast has it already: for it, and for nobody else, the order may not matter.
      const auto sender = [&](const Line& l) {
        return native_of(l, {Coll::bcast}) && p.groups[static_cast<std::size_t>(l.step.group)][static_cast<std::size_t>(l.step.root)] == static_cast<int>(s.rank);
      };
      if (!pick(random, all, [](const Draft& d, std::size_t i) { return d.lines[i].step.kind == Kind::native && i > 0; }, s)) return false;
      for (std::size_t i = s.step; i-- > 0;)
        if (all[s.rank].lines[i].step.kind == Kind::native) {
          if (sender(all[s.rank].lines[i]) || sender(at(all, s))) return false;
          std::swap(all[s.rank].lines[i].step, at(all, s).step);
          std::swap(all[s.rank].lines[i].parts, at(all, s).parts);
          return true;
        }
      return false;
    }},
    {"step left out", [](Random& random, Drafts& all, const Problem&) {
      Spot s;
      if (!pick(random, all, [](const Draft& d, std::size_t i) { return d.lines[i].step.kind != Kind::native; }, s)) return false;
      all[s.rank].erase(s.step);
      return true;
    }},
    {"message left out at both ends", [](Random& random, Drafts& all, const Problem&) {
      Spot s;
      if (!pick(random, all, of_kind(Kind::send), s)) return false;
      const Spot other = other_end(all, s);
      all[s.rank].erase(s.step);
      all[other.rank].erase(other.step);
      return true;
    }},
    {"message shortened at both ends", [](Random& random, Drafts& all, const Problem&) {
      Spot s;
      if (!pick(random, all, of_kind(Kind::send), s) || at(all, s).step.from.count < 1) return false;
      const Spot other = other_end(all, s);
      return --at(all, s).step.from.count, --at(all, other).step.to.count, true;
    }},
    {"message sent twice", [](Random& random, Drafts& all, const Problem&) {
      Spot s;
      if (!pick(random, all, of_kind(Kind::send), s)) return false;
      Line again = at(all, s);
      for (const Line& l : all[s.rank].lines)
        if (l.step.kind == Kind::send && l.step.peer == again.step.peer) again.step.message = std::max(again.step.message, l.step.message + 1);
      all[s.rank].lines.push_back(again);
      return true;
    }},
    {"reduction done twice", [](Random& random, Drafts& all, const Problem&) {
      Spot s;
      if (!pick(random, all, of_kind(Kind::reduce), s)) return false;
      // Into the result again: whoever used the result waited for the step, and now for this one too.
      Line& l = at(all, s);
      const bool in_place = std::find(l.operands.begin(), l.operands.end(), l.step.to) != l.operands.end();
      l.operands.insert(l.operands.end(), in_place ? l.operands.begin() : l.operands.begin() + 1, l.operands.end());
      return true;
    }},
    {"dependency forgotten", [](Random& random, Drafts& all, const Problem& p) {
      // One that no other path replaces; those of signals are the barrier's own test.
      for (int tries = 0; tries < 50 && p.coll != Coll::barrier; ++tries) {
        Spot s;
        if (!pick(random, all, [](const Draft& d, std::size_t i) { return !d.lines[i].after.empty(); }, s)) return false;
        Line& l = at(all, s);
        const auto victim = static_cast<std::ptrdiff_t>(between(random, 0, static_cast<int>(l.after.size()) - 1));
        const auto early = l.after[static_cast<std::size_t>(victim)];
        if (!conflict(l, all[s.rank].lines[early])) continue;  // a fence
        const Line before = l;
        l.after.erase(l.after.begin() + victim);
        if (!ordered(all[s.rank], early, s.step)) return true;
        l = before;
      }
      return false;
    }},
    {"dependency on a later step", [](Random& random, Drafts& all, const Problem&) {
      Spot s;
      if (!pick(random, all, [](const Draft& d, std::size_t i) { return i + 1 < d.lines.size(); }, s)) return false;
      at(all, s).after.push_back(static_cast<std::uint32_t>(s.step + 1));
      return true;
    }},
    {"receive into what is being sent", [](Random& random, Drafts& all, const Problem&) {
      Spot s;
      const auto sending = [](const Draft& d, std::size_t i) {  // an earlier send of a buffer that may be written
        if (d.lines[i].step.kind != Kind::recv) return std::size_t{0};
        for (std::size_t k = i; k-- > 0;) {
          const Step& o = d.lines[k].step;
          if (o.kind == Kind::send && o.from.space != Space::send && o.from.space != Space::send_block && o.from.count >= d.lines[i].step.to.count &&
              d.lines[i].step.to.count > 0 && !ordered(d, k, i))
            return k + 1;
        }
        return std::size_t{0};
      };
      if (!pick(random, all, [&](const Draft& d, std::size_t i) { return sending(d, i) > 0; }, s)) return false;
      const Range target = all[s.rank].lines[sending(all[s.rank], s.step) - 1].step.from;
      at(all, s).step.to = sched::part(target, 0, at(all, s).step.to.count);
      return true;
    }},
    {"everyone sends before it receives", [](Random&, Drafts& all, const Problem&) {
      // Pairs that exchange: the receive waits for the end of the send, at both.
      std::set<std::pair<int, int>> told;
      bool both = false;
      for (Draft& d : all)
        for (std::size_t i = 0; i + 1 < d.lines.size(); ++i) {
          const Step &a = d.lines[i].step, &b = d.lines[i + 1].step;
          if (a.kind != Kind::send || b.kind != Kind::recv || a.peer != b.peer || a.message != b.message) continue;
          d.lines[i + 1].after.push_back(static_cast<std::uint32_t>(i));
          told.emplace(d.head.rank, a.peer);
          both = both || told.contains({a.peer, d.head.rank});
        }
      return both;
    }},
    {"too little scratch", [](Random& random, Drafts& all, const Problem&) {
      Spot s;
      const auto uses = [](const Draft& d, std::size_t i) {
        bool any = false;
        each_range(d.lines[i], [&](const Range& r, bool) { any = any || (r.space == Space::scratch && r.count > 0); });
        return any;
      };
      if (!pick(random, all, uses, s)) return false;
      std::int64_t end = 0;  // of what the rank uses
      for (const Line& l : all[s.rank].lines)
        each_range(l, [&](const Range& r, bool) { if (r.space == Space::scratch && r.count > 0) end = std::max(end, r.offset + r.count); });
      all[s.rank].head.scratch = end - 1;
      return true;
    }},
    {"no division", [](Random& random, Drafts& all, const Problem&) {
      Spot s;
      if (!pick(random, all, of_kind(Kind::finish), s)) return false;
      all[s.rank].erase(s.step);
      return true;
    }},
    {"divided twice", [](Random& random, Drafts& all, const Problem&) {
      Spot s;
      if (!pick(random, all, of_kind(Kind::finish), s)) return false;
      Line again = at(all, s);
      again.after.push_back(static_cast<std::uint32_t>(s.step));
      all[s.rank].lines.push_back(again);
      return true;
    }},
    {"written where the caller's operand is", [](Random& random, Drafts& all, const Problem& p) {
      Spot s;
      if (!pick(random, all, [](const Draft& d, std::size_t i) { return d.lines[i].step.to.count > 0; }, s) || p.coll == Coll::bcast) return false;
      at(all, s).step.to.space = Space::send;
      return true;
    }},
    {"two members' parts swapped", [](Random& random, Drafts& all, const Problem&) {
      Spot s;
      if (!pick(random, all, [](const Draft& d, std::size_t i) { return native_of(d.lines[i], {Coll::allgatherv, Coll::reduce_scatter}); }, s)) return false;
      auto& parts = at(all, s).parts;
      return std::swap(parts.front(), parts.back()), parts.front() != parts.back();
    }},
    {"native left out by all members", [](Random& random, Drafts& all, const Problem& p) {
      Spot s;
      if (!pick(random, all, [](const Draft& d, std::size_t i) { return d.lines[i].step.kind == Kind::native && d.lines[i].step.native != Coll::barrier; }, s)) return false;
      const int group = at(all, s).step.group;
      for (const int r : p.groups[static_cast<std::size_t>(group)]) {  // the first of the group, to be the same everywhere
        Draft& d = all[static_cast<std::size_t>(r)];
        const auto line = std::find_if(d.lines.begin(), d.lines.end(), [&](const Line& l) { return l.step.kind == Kind::native && l.step.group == group; });
        d.erase(static_cast<std::size_t>(line - d.lines.begin()));
      }
      return true;
    }},
};

std::vector<Subject> subjects() {
  std::vector<Subject> out;
  const auto add = [&](const char* name, const Problem& p, const char* text) {
    const Recipe recipe = *parse_recipe(text);
    EXPECT_EQ(refuses(p, recipe), "") << name;
    out.push_back({std::string(name) + " by " + text, p, test::build_all(p, recipe)});
  };
  Problem p = flat_problem(Coll::allreduce, 7, 40);
  p.commutative = false;
  add("recursive doubling, not commutative", p, "recursive_doubling");
  add("ordered", p, "ordered");
  add("k_nomial, radix 4", p, "k_nomial:radix=4");
  p = flat_problem(Coll::allreduce, 8, 64);
  p.averages = true;
  add("rabenseifner, average", p, "rabenseifner");
  add("swing, average", p, "swing");
  p = flat_problem(Coll::allreduce, 6, 60);
  add("ring", p, "ring");
  p.in_place = true;
  add("circulant in place", p, "circulant");
  p = flat_problem(Coll::allreduce, 12, 480);
  test::set_hosts(p, 3, 4, true);
  p.averages = true;
  add("large form over hosts", p, "host/rabenseifner:slices=all");
  add("large form over hosts in chunks", p, "host/ring:slices=all,chunk=200");
  add("small form over hosts", p, "host/recursive_doubling");
  p = flat_problem(Coll::allreduce, 12, 48);
  p.commutative = false;
  test::set_levels(p, {{Level::numa, {{0, 1}, {2, 3, 4}, {5}, {6, 7, 8}, {9, 10}, {11}}}, {Level::host, {{0, 1, 2, 3, 4, 5}, {6, 7, 8, 9, 10, 11}}}});
  add("two levels, not commutative", p, "numa,host/recursive_doubling");
  p.coll = Coll::scan;
  add("scan over hosts", p, "host/recursive_doubling");
  p.coll = Coll::reduce;
  p.root = 4;
  add("reduce over two levels", p, "numa,host/k_nomial");
  p = flat_problem(Coll::reduce_scatter_block, 12, 5);
  test::set_hosts(p, 3, 4, true);
  add("reduce_scatter, large form", p, "host/circulant:slices=all");
  add("reduce_scatter, small form", p, "host/pairwise");
  p = flat_problem(Coll::bcast, 12, 48, 5);
  test::set_hosts(p, 3, 4);
  add("bcast over hosts", p, "host/k_nomial");
  p.coll = Coll::allgather;
  p.root = 0;
  for (const char* recipe : {"ring", "host/ring"}) add("allgather", p, recipe);
  p.coll = Coll::alltoall;
  for (const char* recipe : {"pairwise", "host/pairwise"}) add("alltoall", p, recipe);
  return out;
}

// Natives of NCCL, on islands whose ranks follow each other and on others.
std::vector<Subject> device_subjects() {
  std::vector<Subject> out;
  for (const auto& groups : {device_groups({{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10, 11}}), device_groups({{0, 9, 4, 2}, {7, 1, 3, 11}, {6, 10, 8, 5}})})
    for (const Coll coll : {Coll::allreduce, Coll::bcast, Coll::reduce, Coll::allgather, Coll::reduce_scatter_block, Coll::alltoall})
      for (const char* text : {"nccl", "island/nccl", "island/nccl:chunk=16", "island/nccl:slices=1"}) {
        Problem p = flat_problem(coll, 12, 50, 7);
        p.groups = device_group_list(p.size, groups);
        const DeviceRecipe recipe = *parse_device_recipe(text);
        if (!refuses_device(p, groups, recipe).empty()) continue;
        out.push_back({std::string(detail::name_of(coll)) + " on devices by " + text, p,
                       test::build_all(p, [&](const Problem& mine, int r) { return build_device(mine, groups, recipe, r); })});
      }
  return out;
}

void check(const std::vector<Subject>& all, int least) {
  std::vector<int> applied(std::size(mutations));
  for (const Subject& subject : all) {
    ASSERT_TRUE(sched::verify(subject.p, subject.right)) << subject.name;
    const Drafts drafts(subject.right.begin(), subject.right.end());
    for (std::size_t m = 0; m < std::size(mutations); ++m)
      for (std::uint64_t seed = 0; seed < 8; ++seed) {
        Random random(seed * 1000 + m);
        Drafts wrong = drafts;
        if (!mutations[m].apply(random, wrong, subject.p)) continue;
        ++applied[m];
        std::vector<Schedule> schedules;
        for (const Draft& d : wrong) schedules.push_back(d.done());
        EXPECT_FALSE(sched::verify(subject.p, schedules)) << mutations[m].name << " in " << subject.name << ", seed " << seed;
      }
  }
  int enough = 0;
  for (const int n : applied) enough += n >= 8;
  EXPECT_GE(enough, least);
}

TEST(Mutations, VerifyCatchesThemAll) {
  static_assert(std::size(mutations) >= 20);
  check(subjects(), std::size(mutations));
}
// Devices neither reduce nor divide in steps of their own.
TEST(Mutations, VerifyCatchesThoseOfDevices) { check(device_subjects(), 20); }

}  // namespace
}  // namespace libcoll::algo
