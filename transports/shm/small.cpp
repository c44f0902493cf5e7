#include "transports/shm/small.hpp"

namespace libcoll::xport::shm {

namespace {

// At most inline_bytes; no call, no loop.
inline void copy_small(void* to, const void* from, std::uint64_t n) {
  auto* t = static_cast<char*>(to);
  auto* f = static_cast<const char*>(from);
  if (n == 8) {
    std::memcpy(t, f, 8);
  } else if (n >= 16) {
    std::memcpy(t, f, 16);
    if (n > 32) std::memcpy(t + 16, f + 16, 16);
    std::memcpy(t + n - 16, f + n - 16, 16);
  } else if (n > 8) {
    std::memcpy(t, f, 8);
    std::memcpy(t + n - 8, f + n - 8, 8);
  } else if (n >= 4) {
    std::memcpy(t, f, 4);
    std::memcpy(t + n - 4, f + n - 4, 4);
  } else if (n > 0) {
    t[0] = f[0];
    if (n > 1) t[1] = f[1];
    if (n > 2) t[2] = f[2];
  }
}

}  // namespace

// Everybody stores a line, everybody reads all lines: one hop.
std::uint64_t post_barrier(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args);
  Slot& mine = g.slot(q);
  mine.source = Where::nowhere;
  g.publish(mine, Group::header_of(q, plan));
  return q;
}

void complete_barrier(Group& g, std::uint64_t q, const Args&, const Plan& plan) {
  const std::uint64_t header = Group::header_of(q, plan);
  for (int k = 1, n = g.size(); k < n; ++k) g.wait_slot(q, after(g.rank(), k, n), header);
  g.saw_all(q);
  g.finish(q);
}

void barrier_flat(Group& g, const Args& args, const Plan& plan) { complete_barrier(g, post_barrier(g, args, plan), args, plan); }

// The payload travels in the line that announces it: one hop, no acknowledgement.
std::uint64_t post_inline(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args);
  Slot& mine = g.slot(q);
  copy_small(mine.payload, args.send, plan.bytes);
  mine.source = Where::inlined;
  g.publish(mine, Group::header_of(q, plan));
  return q;
}

void complete_inline(Group& g, std::uint64_t q, const Args& args, const Plan& plan) {
  const std::uint64_t header = Group::header_of(q, plan);
  const int n = g.size(), me = g.rank();
  const void** operands = g.operands.data();
  for (int r = 0; r < n; ++r) operands[r] = r == me ? g.slot(q).payload : g.wait_slot(q, r, header).payload;
  plan.reduce_small(args.recv, operands, n, static_cast<std::size_t>(plan.call.count), n);
  g.saw_all(q);
  g.finish(q);
}

void allreduce_inline(Group& g, const Args& args, const Plan& plan) { complete_inline(g, post_inline(g, args, plan), args, plan); }

// The same for two ranks, without the loop and with as few loads as it takes.
void allreduce_pair(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args), header = Group::header_of(q, plan);
  Slot& mine = g.slot(q);
  copy_small(mine.payload, args.send, plan.bytes);
  mine.source = Where::inlined;
  g.publish(mine, header);
  const std::size_t me = static_cast<std::size_t>(g.rank());
  const void* operands[2];
  operands[me] = mine.payload;
  operands[1 - me] = g.wait_slot(q, static_cast<int>(1 - me), header).payload;
  plan.reduce_small(args.recv, operands, 2, static_cast<std::size_t>(plan.call.count), 2);
  g.saw_all(q);
  g.finish(q);
}

}  // namespace libcoll::xport::shm
