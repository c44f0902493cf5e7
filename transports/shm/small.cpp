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
void barrier_flat(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args);
  g.slot(q).source = Where::nowhere;
  g.publish(q);
  for (int r = 0, n = g.size(); r < n; ++r)
    if (r != g.rank()) g.wait_slot(q, r);
  g.saw_all(q);
  g.finish(q);
}

// The payload travels in the line that announces it: one hop, no acknowledgement.
void allreduce_inline(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args);
  Slot& mine = g.slot(q);
  copy_small(mine.payload, args.send, plan.bytes);
  mine.source = Where::inlined;
  g.publish(q);
  const int n = g.size(), me = g.rank();
  const void** operands = g.operands.data();
  for (int r = 0; r < n; ++r) operands[r] = r == me ? mine.payload : g.wait_slot(q, r).payload;
  plan.reduce_small(args.recv, operands, n, static_cast<std::size_t>(plan.call.count), n);
  g.saw_all(q);
  g.finish(q);
}

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

namespace {

void frame(Framed* lines, const std::byte* from, std::uint64_t bytes, std::uint64_t header) {
  for (; bytes >= sizeof lines->payload; bytes -= sizeof lines->payload, from += sizeof lines->payload, ++lines) {
    std::memcpy(lines->payload, from, sizeof lines->payload);
    lines->header.store(header, std::memory_order_release);
  }
  if (bytes == 0) return;
  std::memcpy(lines->payload, from, bytes);
  lines->header.store(header, std::memory_order_release);
}

bool arrived(const Framed* lines, std::size_t count, std::uint64_t header) {
  std::uint64_t differs = 0;
  for (std::size_t i = 0; i < count; ++i) differs |= lines[i].header.load(std::memory_order_acquire) ^ header;
  return differs == 0;
}

void unframe(std::byte* to, const Framed* lines, std::uint64_t bytes) {
  for (; bytes >= sizeof lines->payload; bytes -= sizeof lines->payload, to += sizeof lines->payload, ++lines)
    std::memcpy(to, lines->payload, sizeof lines->payload);
  if (bytes != 0) std::memcpy(to, lines->payload, bytes);
}

}  // namespace

// Payload and flags share lines, and the reader polls all lines at once: one hop, where a flag apart
// from its data would cost two. The descriptor is published too, behind the lines: a rank that has
// to wait longer, or called something else, finds it there.
void allreduce_framed(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args);
  const int n = g.size(), me = g.rank();
  const std::size_t lines = (plan.bytes + sizeof Framed::payload - 1) / sizeof Framed::payload;
  const std::uint64_t header = g.header_of(q);
  frame(g.framed(q, me), static_cast<const std::byte*>(args.send), plan.bytes, header);
  g.slot(q).source = Where::nowhere;
  g.publish(q);
  for (int k = 1; k < n; ++k) {
    const int r = me + k < n ? me + k : me + k - n;
    const Framed* theirs = g.framed(q, r);
    int polls = 0;
    while (!arrived(theirs, lines, header)) {
      if (++polls > g.spins()) {
        g.wait_slot(q, r);
        break;
      }
      Group::relax(polls);
    }
    unframe(g.unframed(r), theirs, plan.bytes);
    g.operands[static_cast<std::size_t>(r)] = g.unframed(r);
  }
  g.operands[static_cast<std::size_t>(me)] = args.send;
  g.results[0] = args.recv;
  plan.reduce({g.results.data(), 1, g.operands.data(), n, static_cast<std::size_t>(plan.call.count), n, false});
  g.saw_all(q);
  g.finish(q);
}

}  // namespace libcoll::xport::shm
