#include "transports/shm/small.hpp"

namespace libcoll::xport::shm {

namespace {

// Lies in an eager buffer of the leader; its descriptor says which. The header says that the whole group made the same call; it
// stays behind when the leader met a mismatch and gave the operation up.
struct Bundle {
  std::atomic<std::uint64_t> header;
  alignas(64) std::byte payloads[1];  // of the group's members in the order of my_group()
};

Bundle& bundle_of(Group& g, std::uint64_t q, int leader) { return *reinterpret_cast<Bundle*>(g.eager(g.slot(q, leader), leader)); }

// Everybody's contribution, by rank, through the leaders. Returns with all ranks known to be in q.
template <class Visit>
void exchange(Group& g, std::uint64_t q, std::uint64_t header, std::uint64_t bytes, Visit visit) {
  const std::vector<int>& mine = g.my_group();
  if (mine[0] == g.rank()) {
    Bundle& bundle = bundle_of(g, q, g.rank());
    for (std::size_t i = 0; i < mine.size(); ++i) {
      const Slot& s = mine[i] == g.rank() ? g.slot(q) : g.wait_slot(q, mine[i], header);
      std::memcpy(bundle.payloads + i * bytes, s.payload, bytes);
    }
    bundle.header.store(header, std::memory_order_relaxed);
    g.advance(g.mine().control->progress.staged, at_step(q, 1));
  }
  for (const std::vector<int>& group : g.groups()) {
    const int leader = group[0];
    const Bundle& bundle = bundle_of(g, q, leader);
    if (leader != g.rank()) {
      g.wait_word(g.peer(leader).control->progress.staged, at_step(q, 1), leader);
      if (bundle.header.load(std::memory_order_relaxed) != header) g.group_mismatch(q, leader, header);
    }
    for (std::size_t i = 0; i < group.size(); ++i) visit(group[i], bundle.payloads + i * bytes);
  }
  g.saw_all(q);
}

}  // namespace

void barrier_grouped(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args), header = Group::header_of(q, plan);
  Slot& mine = g.slot(q);
  mine.source = Where::nowhere;
  if (g.my_group()[0] == g.rank()) g.claim_eager(q);
  g.publish(mine, header);
  exchange(g, q, header, 0, [](int, const std::byte*) {});
  g.finish(q);
}

void allreduce_grouped(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args), header = Group::header_of(q, plan);
  Slot& mine = g.slot(q);
  std::memcpy(mine.payload, args.send, plan.bytes);
  mine.source = Where::inlined;
  if (g.my_group()[0] == g.rank()) g.claim_eager(q);
  g.publish(mine, header);
  exchange(g, q, header, plan.bytes, [&](int r, const std::byte* payload) { g.operands[static_cast<std::size_t>(r)] = payload; });
  plan.reduce_small(args.recv, g.operands.data(), g.size(), static_cast<std::size_t>(plan.call.count), g.size());
  g.finish(q);
}

}  // namespace libcoll::xport::shm
