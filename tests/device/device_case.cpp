#include "tests/device/device_case.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace libcoll::test {

namespace {

constexpr unsigned char untouched = 0xA5;

// Element 0..: how many elements rank `to` gets of rank `from` in v-forms; both sides know.
Count some(const DeviceCase& c, int from, int to) {
  const std::uint64_t h = mixed(c.tag, static_cast<std::uint64_t>(from), static_cast<std::uint64_t>(to));
  return h % 4 == 0 ? 0 : static_cast<Count>((h >> 8) % static_cast<std::uint64_t>(2 * c.count + 1));
}

// With gaps of one element between blocks.
std::vector<Count> spread(const std::vector<Count>& counts) {
  std::vector<Count> displs;
  Count at = 1;
  for (const Count n : counts) displs.push_back(std::exchange(at, at + n + 1));
  return displs;
}
Count room(const std::vector<Count>& counts) { return std::accumulate(counts.begin(), counts.end(), Count{0}) + static_cast<Count>(counts.size()) + 1; }

}  // namespace

std::string DeviceCase::text() const {
  std::string out = std::string(name_of(which)) + " of " + std::to_string(count) + " " + libcoll::name_of(dtype);
  if (reduces(which)) out += std::string(" ") + libcoll::name_of(op);
  if (rooted(which)) out += ", root " + std::to_string(root);
  return out + (in_place ? ", in place" : "") + ", tag " + std::to_string(tag);
}

DeviceArguments::DeviceArguments(const DeviceCase& given, int rank_, int size_) : c(given), rank(rank_), size(size_) {
  const bool is_root = rank == c.root;
  in_place_here = c.in_place && (!rooted(c.which) || is_root) && c.which != Which::bcast && c.which != Which::barrier;
  const Count n = c.count, all = n * size;
  Count to_send = n, to_recv = n;
  switch (c.which) {
    case Which::barrier: to_send = to_recv = 0; break;
    case Which::bcast: to_send = 0; break;
    case Which::reduce_scatter_block: to_send = all; to_recv = in_place_here ? all : n; break;
    case Which::reduce_scatter:
      for (int r = 0; r < size; ++r) counts.push_back(some(c, 0, r));
      to_send = std::accumulate(counts.begin(), counts.end(), Count{0});
      to_recv = in_place_here ? to_send : counts[static_cast<std::size_t>(rank)];
      break;
    case Which::allgather:
    case Which::gather: to_recv = all; break;
    case Which::scatter: to_send = all; break;
    case Which::alltoall: to_send = to_recv = all; break;
    case Which::allgatherv:
    case Which::gatherv:
    case Which::scatterv:
      for (int r = 0; r < size; ++r) counts.push_back(some(c, 0, r));
      displs = spread(counts);
      to_send = c.which == Which::scatterv ? room(counts) : counts[static_cast<std::size_t>(rank)];
      to_recv = c.which == Which::scatterv ? counts[static_cast<std::size_t>(rank)] : room(counts);
      break;
    case Which::alltoallv:
      for (int r = 0; r < size; ++r) {
        // In place both directions of a pair have one size.
        send_counts.push_back(c.in_place ? some(c, std::min(rank, r), std::max(rank, r)) : some(c, rank, r));
        counts.push_back(c.in_place ? send_counts.back() : some(c, r, rank));
      }
      displs = spread(counts);
      send_displs = spread(send_counts);
      to_send = room(send_counts);
      to_recv = room(counts);
      break;
    default: break;
  }
  const std::size_t element = size_of(c.dtype);
  send.assign(static_cast<std::size_t>(to_send) * element, untouched);
  recv.assign(static_cast<std::size_t>(to_recv) * element, untouched);
  const bool operand_in_recv = (in_place_here && c.which != Which::scatter && c.which != Which::scatterv) || (c.which == Which::bcast && is_root);
  Bytes& operand = operand_in_recv ? recv : send;
  if (reduces(c.which)) fill_operand(operand.data(), operand.size() / element, c.dtype, c.op, Values::exact, c.tag, rank);
  else if (operand.size() != 0) fill_block(operand.data(), operand.size(), c.tag, rank, -1);
}

void DeviceArguments::make(Comm& comm, void* send_at, void* recv_at, const CallOptions& o) const {
  const void* in = in_place_here ? libcoll::in_place : send_at;
  const DType t = c.dtype;
  const Count n = c.count;
  const bool is_root = rank == c.root;
  const auto me = static_cast<std::size_t>(rank);
  switch (c.which) {
    case Which::barrier: return comm.barrier(o);
    case Which::bcast: return comm.bcast(recv_at, n, t, c.root, o);
    case Which::reduce: return comm.reduce(in, is_root ? recv_at : nullptr, n, t, c.op, c.root, o);
    case Which::allreduce: return comm.allreduce(in, recv_at, n, t, c.op, o);
    case Which::reduce_scatter_block: return comm.reduce_scatter_block(in, recv_at, n, t, c.op, o);
    case Which::reduce_scatter: return comm.reduce_scatter(in, recv_at, counts, t, c.op, o);
    case Which::allgather: return comm.allgather(in, recv_at, n, t, o);
    case Which::allgatherv: return comm.allgatherv(in, counts[me], recv_at, counts, displs, t, o);
    case Which::gather: return comm.gather(in, is_root ? recv_at : nullptr, n, t, c.root, o);
    case Which::gatherv:
      return is_root ? comm.gatherv(in, counts[me], recv_at, counts, displs, t, c.root, o) : comm.gatherv(in, counts[me], nullptr, {}, {}, t, c.root, o);
    case Which::scatter: return comm.scatter(is_root ? send_at : nullptr, in_place_here ? const_cast<void*>(static_cast<const void*>(libcoll::in_place)) : recv_at, n, t, c.root, o);
    case Which::scatterv: {
      void* out = in_place_here ? const_cast<void*>(static_cast<const void*>(libcoll::in_place)) : recv_at;
      return is_root ? comm.scatterv(send_at, counts, displs, out, counts[me], t, c.root, o) : comm.scatterv(nullptr, {}, {}, out, counts[me], t, c.root, o);
    }
    case Which::alltoall: return comm.alltoall(in, recv_at, n, t, o);
    case Which::alltoallv: return comm.alltoallv(in, send_counts, send_displs, recv_at, counts, displs, t, o);
    case Which::scan: return comm.scan(in, recv_at, n, t, c.op, o);
    case Which::exscan: return comm.exscan(in, recv_at, n, t, c.op, o);
  }
}

}  // namespace libcoll::test
