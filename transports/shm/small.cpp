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

inline void announce(Group& g, std::uint64_t q, const Plan& plan) {
  Slot& mine = g.slot(q);
  mine.source = Where::nowhere;
  g.publish(mine, Group::header_of(q, plan));
}

inline void send_inline(Group& g, std::uint64_t q, std::uint64_t header, const Args& args, const Plan& plan) {
  Slot& mine = g.slot(q);
  copy_small(mine.payload, args.send, plan.bytes);
  mine.source = Where::inlined;
  g.publish(mine, header);
}

// Of two ranks: without a loop and with as few loads as it takes.
inline void reduce_pair(Group& g, std::uint64_t q, std::uint64_t header, const Args& args, const Plan& plan) {
  const std::size_t me = static_cast<std::size_t>(g.rank());
  const void* operands[2];
  operands[me] = g.slot(q).payload;
  operands[1 - me] = g.wait_slot(q, static_cast<int>(1 - me), header).payload;
  plan.reduce_small(args.recv, operands, 2, static_cast<std::size_t>(plan.call.count), 2);
  g.saw_all(q);
  g.finish(q);
}

}  // namespace

// Everybody stores a line, everybody reads all lines: one hop.
std::uint64_t post_barrier(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin_free(plan, args);
  announce(g, q, plan);
  return q;
}

void complete_barrier(Group& g, std::uint64_t q, const Args&, const Plan& plan) {
  const std::uint64_t header = Group::header_of(q, plan);
  for (int k = 1, n = g.size(); k < n; ++k) g.wait_slot(q, after(g.rank(), k, n), header);
  g.saw_all(q);
  g.finish(q);
}

void barrier_flat(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args);
  announce(g, q, plan);
  complete_barrier(g, q, args, plan);
}

// The payload travels in the line that announces it: one hop, no acknowledgement.
std::uint64_t post_inline(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin_free(plan, args);
  send_inline(g, q, Group::header_of(q, plan), args, plan);
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

void allreduce_inline(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args);
  send_inline(g, q, Group::header_of(q, plan), args, plan);
  complete_inline(g, q, args, plan);
}

void complete_pair(Group& g, std::uint64_t q, const Args& args, const Plan& plan) { reduce_pair(g, q, Group::header_of(q, plan), args, plan); }

void allreduce_pair(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args), header = Group::header_of(q, plan);
  send_inline(g, q, header, args, plan);
  reduce_pair(g, q, header, args, plan);
}

}  // namespace libcoll::xport::shm
