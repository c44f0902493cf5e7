#include "transports/shm/framed.hpp"

namespace libcoll::xport::shm {

using detail::Coll;

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

// Everybody's block, each in a place of its own; then one pass in rank order.
void reduce_operands(Group& g, std::uint64_t q, std::uint64_t header, const Plan& plan, bool one_for_all, const void* own, void* to) {
  for (int k = 1; k < g.size(); ++k) {
    const int r = after(g.rank(), k, g.size());
    receive_frames(g, q, header, r, one_for_all, g.unframed(r), plan.bytes);
    g.operands[static_cast<std::size_t>(r)] = g.unframed(r);
  }
  g.operands[static_cast<std::size_t>(g.rank())] = own;
  g.results[0] = to;
  plan.reduce({g.results.data(), 1, g.operands.data(), g.size(), static_cast<std::size_t>(plan.call.count), g.size(), false});
}

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

enum class Who { all, root, others };

// How a collective's blocks travel.
struct Flow {
  Who senders = Who::all, readers = Who::all;
  bool one_for_all = true;  // a source frames one block for all readers, or one for each
  bool reduces = false;
};
constexpr Flow flow_of(Coll c) {
  switch (c) {
    case Coll::bcast: return {Who::root, Who::others};
    case Coll::gather: return {Who::others, Who::root};
    case Coll::scatter: return {Who::root, Who::all, false};
    case Coll::alltoall: return {Who::all, Who::all, false};
    case Coll::allreduce: return {Who::all, Who::all, true, true};
    case Coll::reduce: return {Who::others, Who::root, true, true};
    case Coll::reduce_scatter_block: return {Who::all, Who::all, false, true};
    default: return {};
  }
}

template <Who who>
bool among(const Group& g, const Plan& plan) {
  if constexpr (who == Who::all) return true;
  const bool am_root = g.rank() == static_cast<int>(plan.call.root);
  return am_root == (who == Who::root);
}

template <Coll coll>
void send(Group& g, std::uint64_t q, const Args& args, const Plan& plan) {
  constexpr Flow flow = flow_of(coll);
  const std::uint64_t header = Group::header_of(q, plan);
  if (!among<flow.senders>(g, plan)) publish_behind(g, q, header);
  else if constexpr (flow.one_for_all) send_one(g, q, header, coll == Coll::bcast ? args.recv : args.send, plan.bytes);
  else send_each(g, q, header, args.send, plan.bytes);
}

template <Coll coll>
std::uint64_t post(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin_free(plan, args);
  send<coll>(g, q, args, plan);
  return q;
}

template <Coll coll>
void complete(Group& g, std::uint64_t q, const Args& args, const Plan& plan) {
  constexpr Flow flow = flow_of(coll);
  if (among<flow.readers>(g, plan)) {
    const std::uint64_t header = Group::header_of(q, plan);
    const auto* own = static_cast<const std::byte*>(args.send);
    if constexpr (coll == Coll::bcast || coll == Coll::scatter) {
      const int root = static_cast<int>(plan.call.root);
      if (g.rank() != root) receive_frames(g, q, header, root, flow.one_for_all, static_cast<std::byte*>(args.recv), plan.bytes);
      else if (own += static_cast<std::uint64_t>(root) * plan.bytes; own != args.recv) copy_tail(static_cast<std::byte*>(args.recv), own, plan.bytes);
    } else {
      if constexpr (!flow.one_for_all) own += static_cast<std::uint64_t>(g.rank()) * plan.bytes;
      if constexpr (flow.reduces) reduce_operands(g, q, header, plan, flow.one_for_all, own, args.recv);
      else receive_each(g, q, header, flow.one_for_all, args.recv, own, plan.bytes);
      g.saw_all(q);
    }
  }
  g.finish(q);
}

template <Coll coll>
void run(Group& g, const Args& args, const Plan& plan) {
  const std::uint64_t q = g.begin(plan, args);
  send<coll>(g, q, args, plan);
  complete<coll>(g, q, args, plan);
}

template <Coll coll>
constexpr Native native_of() {
  return {run<coll>, "framed", post<coll>, complete<coll>};
}

}  // namespace

bool can_frame(const Group& g, bool one_for_all, std::uint64_t bytes) {
  const std::size_t blocks = one_for_all ? 1 : static_cast<std::size_t>(g.size() - 1);
  return bytes != 0 && g.size() <= most_readers && blocks * lines_of(bytes) <= framed_lines && bytes <= framed_max;
}

Native framed(Coll coll) {
  switch (coll) {
    case Coll::bcast: return native_of<Coll::bcast>();
    case Coll::reduce: return native_of<Coll::reduce>();
    case Coll::allreduce: return native_of<Coll::allreduce>();
    case Coll::reduce_scatter_block: return native_of<Coll::reduce_scatter_block>();
    case Coll::allgather: return native_of<Coll::allgather>();
    case Coll::gather: return native_of<Coll::gather>();
    case Coll::scatter: return native_of<Coll::scatter>();
    case Coll::alltoall: return native_of<Coll::alltoall>();
    default: return {};
  }
}

}  // namespace libcoll::xport::shm
