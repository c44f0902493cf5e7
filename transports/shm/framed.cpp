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

// The descriptor goes out behind the lines: a rank that has to wait longer, or called something else,
// finds it.
inline void publish_behind(Group& g, std::uint64_t q, std::uint64_t header) {
  Slot& mine = g.slot(q);
  mine.source = Where::nowhere;
  g.publish(mine, header);
}

// One block for all readers.
inline void send_one(Group& g, std::uint64_t q, std::uint64_t header, const void* data, std::uint64_t bytes) {
  frame(g.framed(q, g.rank()), static_cast<const std::byte*>(data), bytes, header);
  publish_behind(g, q, header);
}

// A block for each reader, lying behind each other in `data`.
inline void send_each(Group& g, std::uint64_t q, std::uint64_t header, const void* data, std::uint64_t bytes) {
  Framed* lines = g.framed(q, g.rank());
  const std::size_t count = lines_of(bytes);
  const auto* from = static_cast<const std::byte*>(data);
  for (int r = 0; r < g.size(); ++r, from += bytes) {
    if (r == g.rank()) continue;
    frame(lines, from, bytes, header);
    lines += count;
  }
  publish_behind(g, q, header);
}

// Waits for rank r's block for this rank and copies it out of its lines.
void receive_frames(Group& g, std::uint64_t q, std::uint64_t header, int r, bool one_for_all, std::byte* to, std::uint64_t bytes) {
  const Framed* lines = g.framed(q, r) + first_line(one_for_all, r, g.rank(), lines_of(bytes));
  // Line by line: polling those ahead would take them from the source, which is about to store there.
  for (int polls = 0;; ++lines, to += frame_bytes, bytes -= frame_bytes) {
    for (; lines->header.load(std::memory_order_acquire) != header; Group::relax(polls)) {
      if (++polls <= g.spins()) continue;
      g.wait_slot(q, r, header);  // the lines were stored before it
      break;
    }
    if (bytes <= frame_bytes) return copy_tail(to, lines->payload, bytes);
    std::memcpy(to, lines->payload, frame_bytes);
  }
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

void bcast_framed(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args), header = Group::header_of(q, plan);
  const int root = static_cast<int>(plan.call.root);
  if (g.rank() == root) {
    send_one(g, q, header, args.recv, plan.bytes);
  } else {
    publish_behind(g, q, header);
    receive_frames(g, q, header, root, true, static_cast<std::byte*>(args.recv), plan.bytes);
  }
  g.finish(q);
}

namespace {

// Everybody's block for this rank into `recv`, in rank order; `own` is this rank's.
void receive_each(Group& g, std::uint64_t q, std::uint64_t header, bool one_for_all, void* recv, const void* own, std::uint64_t bytes) {
  auto* to = static_cast<std::byte*>(recv);
  std::byte* mine = to + static_cast<std::uint64_t>(g.rank()) * bytes;
  if (own != mine) copy_tail(mine, static_cast<const std::byte*>(own), bytes);
  for (int k = 1; k < g.size(); ++k) {
    const int r = after(g.rank(), k, g.size());
    receive_frames(g, q, header, r, one_for_all, to + static_cast<std::uint64_t>(r) * bytes, bytes);
  }
}

}  // namespace

void allgather_framed(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args), header = Group::header_of(q, plan);
  send_one(g, q, header, args.send, plan.bytes);
  receive_each(g, q, header, true, args.recv, args.send, plan.bytes);
  g.saw_all(q);
  g.finish(q);
}

void gather_framed(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args), header = Group::header_of(q, plan);
  if (g.rank() == static_cast<int>(plan.call.root)) {
    publish_behind(g, q, header);
    receive_each(g, q, header, true, args.recv, args.send, plan.bytes);
    g.saw_all(q);
  } else {
    send_one(g, q, header, args.send, plan.bytes);
  }
  g.finish(q);
}

void scatter_framed(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args), header = Group::header_of(q, plan);
  const int root = static_cast<int>(plan.call.root);
  if (g.rank() == root) {
    send_each(g, q, header, args.send, plan.bytes);
    const auto* own = static_cast<const std::byte*>(args.send) + static_cast<std::uint64_t>(root) * plan.bytes;
    if (own != args.recv) copy_tail(static_cast<std::byte*>(args.recv), own, plan.bytes);
  } else {
    publish_behind(g, q, header);
    receive_frames(g, q, header, root, false, static_cast<std::byte*>(args.recv), plan.bytes);
  }
  g.finish(q);
}

void alltoall_framed(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args), header = Group::header_of(q, plan);
  send_each(g, q, header, args.send, plan.bytes);
  receive_each(g, q, header, false, args.recv, static_cast<const std::byte*>(args.send) + static_cast<std::uint64_t>(g.rank()) * plan.bytes, plan.bytes);
  g.saw_all(q);
  g.finish(q);
}

void allreduce_framed(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args), header = Group::header_of(q, plan);
  send_one(g, q, header, args.send, plan.bytes);
  reduce_operands(g, q, header, plan, true, args.send, args.recv);
  g.finish(q);
}

void reduce_framed(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args), header = Group::header_of(q, plan);
  if (g.rank() == static_cast<int>(plan.call.root)) {
    publish_behind(g, q, header);
    reduce_operands(g, q, header, plan, true, args.send, args.recv);
  } else {
    send_one(g, q, header, args.send, plan.bytes);
  }
  g.finish(q);
}

void reduce_scatter_framed(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args), header = Group::header_of(q, plan);
  send_each(g, q, header, args.send, plan.bytes);
  reduce_operands(g, q, header, plan, false, static_cast<const std::byte*>(args.send) + static_cast<std::uint64_t>(g.rank()) * plan.bytes, args.recv);
  g.finish(q);
}

}  // namespace libcoll::xport::shm
