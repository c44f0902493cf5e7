#include "transports/shm/framed.hpp"

namespace libcoll::xport::shm {

namespace {

constexpr std::size_t frame_bytes = sizeof Framed::payload;
constexpr int most_readers = 16;  // beyond, polling every line of everybody costs more than a hop

std::size_t lines_of(std::uint64_t bytes) { return (bytes + frame_bytes - 1) / frame_bytes; }

// Where the lines for `reader` begin; a source frames nothing for itself.
std::size_t first_line(bool one_for_all, int source, int reader, std::size_t lines) {
  return one_for_all ? 0 : static_cast<std::size_t>(reader < source ? reader : reader - 1) * lines;
}

// memcpy without the call where sizes are small, as they are for the last line.
inline void copy_tail(std::byte* to, const std::byte* from, std::uint64_t n) {
  if (n == 8) std::memcpy(to, from, 8);
  else if (n == 16) std::memcpy(to, from, 16);
  else std::memcpy(to, from, n);
}

void frame(Framed* lines, const std::byte* from, std::uint64_t bytes, std::uint64_t header) {
  for (; bytes >= frame_bytes; bytes -= frame_bytes, from += frame_bytes, ++lines) {
    std::memcpy(lines->payload, from, frame_bytes);
    lines->header.store(header, std::memory_order_release);
  }
  if (bytes == 0) return;
  copy_tail(lines->payload, from, bytes);
  lines->header.store(header, std::memory_order_release);
}

bool arrived(const Framed* lines, std::size_t count, std::uint64_t header) {
  std::uint64_t differs = 0;
  for (std::size_t i = 0; i < count; ++i) differs |= lines[i].header.load(std::memory_order_acquire) ^ header;
  return differs == 0;
}

void unframe(std::byte* to, const Framed* lines, std::uint64_t bytes) {
  for (; bytes >= frame_bytes; bytes -= frame_bytes, to += frame_bytes, ++lines) std::memcpy(to, lines->payload, frame_bytes);
  if (bytes != 0) copy_tail(to, lines->payload, bytes);
}

// Frames this rank's blocks and publishes its descriptor behind them: a rank that has to wait longer,
// or called something else, finds the descriptor.
void send_frames(Group& g, std::uint64_t q, std::uint64_t header, std::span<const Block> blocks, bool one_for_all) {
  Framed* lines = g.framed(q, g.rank());
  for (std::size_t d = 0; d < blocks.size(); ++d) {
    if (!one_for_all && static_cast<int>(d) == g.rank()) continue;
    frame(lines + first_line(one_for_all, g.rank(), static_cast<int>(d), lines_of(blocks[d].bytes)), blocks[d].data, blocks[d].bytes, header);
  }
  Slot& mine = g.slot(q);
  mine.source = Where::nowhere;
  g.publish(mine, header);
}

// Waits for rank r's block for this rank and copies it out of its lines.
void receive_frames(Group& g, std::uint64_t q, std::uint64_t header, int r, bool one_for_all, std::byte* to, std::uint64_t bytes) {
  const std::size_t count = lines_of(bytes);
  const Framed* lines = g.framed(q, r) + first_line(one_for_all, r, g.rank(), count);
  for (int polls = 0; !arrived(lines, count, header); Group::relax(polls)) {
    if (++polls <= g.spins()) continue;
    g.wait_slot(q, r, header);  // the lines were stored before it
    break;
  }
  unframe(to, lines, bytes);
}

// Everybody's block, each where reduce_framed and its kin put it; then one pass in rank order.
void reduce_operands(Group& g, std::uint64_t q, std::uint64_t header, const Plan& plan, bool one_for_all, const void* own, void* to) {
  for (int k = 1; k < g.size(); ++k) {
    const int r = after(g.rank(), k, g.size());
    receive_frames(g, q, header, r, one_for_all, g.unframed(r), plan.bytes);
    g.operands[static_cast<std::size_t>(r)] = g.unframed(r);
  }
  g.operands[static_cast<std::size_t>(g.rank())] = own;
  g.results[0] = to;
  plan.reduce({g.results.data(), 1, g.operands.data(), g.size(), static_cast<std::size_t>(plan.call.count), g.size(), false});
  g.saw_all(q);
}

}  // namespace

bool can_frame(const Group& g, bool one_for_all, std::uint64_t bytes) {
  const std::size_t blocks = one_for_all ? 1 : static_cast<std::size_t>(g.size() - 1);
  return bytes != 0 && g.size() <= most_readers && blocks * lines_of(bytes) <= framed_lines && bytes <= framed_max;
}

void move_framed(Group& g, std::uint64_t q, const Plan& plan, const Transfer& t) {
  const std::uint64_t header = Group::header_of(q, plan);
  send_frames(g, q, header, t.offer.blocks, t.one_for_all);
  if (t.reads) {
    const Wanted& own = g.wanted[static_cast<std::size_t>(g.rank())];
    if (own.bytes != 0 && !t.offer.blocks.empty()) {
      const Block& b = t.offer.blocks[t.one_for_all ? 0 : static_cast<std::size_t>(g.rank())];
      if (b.data != own.to) copy_tail(own.to, b.data, own.bytes);
    }
    for (int k = 1; k < g.size(); ++k) {
      const int r = after(g.rank(), k, g.size());
      if (t.only_source >= 0 && r != t.only_source) continue;
      const Wanted& w = g.wanted[static_cast<std::size_t>(r)];
      receive_frames(g, q, header, r, t.one_for_all, w.to, w.bytes);
    }
    if (t.only_source < 0) g.saw_all(q);
  }
  g.finish(q);
}

void allreduce_framed(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args), header = Group::header_of(q, plan);
  const Block block{static_cast<const std::byte*>(args.send), plan.bytes};
  send_frames(g, q, header, {&block, 1}, true);
  reduce_operands(g, q, header, plan, true, args.send, args.recv);
  g.finish(q);
}

void reduce_framed(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args), header = Group::header_of(q, plan);
  const bool root = g.rank() == static_cast<int>(plan.call.root);
  const Block block{static_cast<const std::byte*>(args.send), plan.bytes};
  send_frames(g, q, header, root ? std::span<const Block>() : std::span<const Block>(&block, 1), true);
  if (root) reduce_operands(g, q, header, plan, true, args.send, args.recv);
  g.finish(q);
}

void reduce_scatter_framed(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args), header = Group::header_of(q, plan);
  const auto* send = static_cast<const std::byte*>(args.send);
  for (int r = 0; r < g.size(); ++r) g.blocks[static_cast<std::size_t>(r)] = {send + static_cast<std::uint64_t>(r) * plan.bytes, plan.bytes};
  send_frames(g, q, header, g.blocks, false);
  reduce_operands(g, q, header, plan, false, send + static_cast<std::uint64_t>(g.rank()) * plan.bytes, args.recv);
  g.finish(q);
}

}  // namespace libcoll::xport::shm
