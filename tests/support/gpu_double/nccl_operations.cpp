// Operations, groups and the rest of the NCCL table.
#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "tests/support/gpu_double/comm.hpp"

namespace libcoll::test::gpu_double {

using nccl::Code;
using nccl::Type;

namespace {

const char* text_of(Code c) {
  switch (c) {
    case Code::success: return "FAKE NCCL: no error";
    case Code::unhandled_cuda_error: return "FAKE NCCL: unhandled CUDA error";
    case Code::system_error: return "FAKE NCCL: system error";
    case Code::internal_error: return "FAKE NCCL: internal error";
    case Code::invalid_argument: return "FAKE NCCL: invalid argument";
    case Code::invalid_usage: return "FAKE NCCL: invalid usage";
    case Code::remote_error: return "FAKE NCCL: remote error";
    case Code::in_progress: return "FAKE NCCL: in progress";
  }
  return "FAKE NCCL: unknown result code";
}

bool valid_type(const State& s, Type t) {
  const int v = static_cast<int>(t);
  return v >= 0 && v < (s.options.nccl_version >= 22400 ? nccl::type_count : static_cast<int>(Type::f8e4m3));
}

// Buffers that overlap only in part, or elsewhere than NCCL's in-place forms do.
bool overlaps(const Op& op) {
  const std::size_t bytes = op.count * size_of(dtype_of(op.type)), ranks = static_cast<std::size_t>(op.comm->group->size());
  const std::size_t mine = bytes * static_cast<std::size_t>(op.comm->rank);
  const auto send = reinterpret_cast<std::uintptr_t>(op.send), recv = reinterpret_cast<std::uintptr_t>(op.recv);
  const bool root = op.comm->rank == op.root;
  std::size_t send_bytes = bytes, recv_bytes = bytes;
  bool in_place = send == recv;
  switch (op.operation) {
    case Operation::all_gather: recv_bytes = bytes * ranks, in_place = send == recv + mine; break;
    case Operation::reduce_scatter: send_bytes = bytes * ranks, in_place = recv == send + mine; break;
    case Operation::broadcast:
    case Operation::reduce:
      if (!root) return false;  // one of the two counts for nothing
      break;
    case Operation::send:
    case Operation::recv: return false;
    case Operation::all_reduce: break;
  }
  return bytes != 0 && !in_place && send < recv + recv_bytes && recv < send + send_bytes;
}

// Sets what the operation is to use; "" or what is wrong.
std::string complete(State& s, Op& op, Comm& c) {
  if (!valid_type(s, op.type)) return "no such type";
  const bool rooted = op.operation == Operation::broadcast || op.operation == Operation::reduce || op.operation == Operation::send || op.operation == Operation::recv;
  if (rooted && (op.root < 0 || op.root >= c.group->size())) return fmt::format("no rank {}", op.root);
  if (op.redop < 0) return "no such operation";
  if (op.redop >= nccl::builtin_redop_count) {
    const auto r = c.redops.find(op.redop);
    if (r == c.redops.end()) return "an operation of another communicator, or none";
    if (r->second.type != op.type) return "an operation of another type";
    op.scalar = r->second.scalar;
    op.device_scalar = r->second.device_scalar;
    op.redop = premulsum;
  }
  if (op.stream->device != c.device) return fmt::format("a stream of device {} where the communicator is of device {}", op.stream->device, c.device);
  if (overlaps(op)) return "the buffers overlap";
  return {};
}

Code call(const char* function, Op op, nccl::Comm handle, cuda::Stream stream) {
  return nccl_call([&](State& s, Lock& lock) {
    const auto refuse = [&](Code code) {
      if (local().group_depth > 0) local().group_error = code;
      return code;
    };
    const Use use = use_comm(s, handle, function, true);
    if (!use.comm) return refuse(use.code);
    cuda::Error error;
    const auto on = s.stream_of(stream, error, function);
    if (!on) return refuse(Code::invalid_argument);
    op.comm = use.comm;
    op.stream = on.get();
    if (std::string wrong = complete(s, op, *use.comm); !wrong.empty()) {
      s.report(fmt::format("{} ({}): {}", function, text_of(*use.comm), wrong));
      return refuse(Code::invalid_argument);
    }
    if (local().group_depth > 0) {
      use.comm->grouped_by = std::this_thread::get_id();
      local().group_ops.push_back(std::move(op));
      return Code::success;
    }
    const Code code = issue(s, lock, {std::move(op)});
    if (code != Code::success || use.comm->blocking) return code;
    use.comm->polls = 1;
    return Code::in_progress;
  });
}

Code end_group(State& s, Lock& lock) {
  Local& me = local();
  if (me.group_depth == 0) {
    s.report("ncclGroupEnd without ncclGroupStart");
    return Code::invalid_usage;
  }
  if (--me.group_depth > 0) return Code::success;
  std::vector<Op> ops = std::exchange(me.group_ops, {});
  Code code = std::exchange(me.group_error, Code::success);
  bool pending = false;
  std::vector<std::shared_ptr<Comm>> comms;
  for (const Op& op : ops) {
    op.comm->grouped_by = {};
    comms.push_back(op.comm);
  }
  if (const Code e = end_joins(s, lock); e == Code::in_progress) pending = true;
  else if (code == Code::success) code = e;
  if (code != Code::success) return code;
  if (code = ops.empty() ? code : issue(s, lock, std::move(ops)); code != Code::success) return code;
  for (const auto& c : comms)
    if (!c->blocking) pending = true, c->polls = 1;
  return pending ? Code::in_progress : Code::success;
}

Code make_redop(State& s, nccl::RedOp* out, void* scalar, Type type, nccl::Residence residence, nccl::Comm handle) {
  const Use use = use_comm(s, handle, "ncclRedOpCreatePreMulSum", true);
  if (!use.comm) return use.code;
  if (!out || !scalar || !valid_type(s, type)) return Code::invalid_argument;
  const std::size_t bytes = size_of(dtype_of(type));
  Redop r{type, {}, nullptr};
  if (residence == nccl::Residence::device) {
    if (std::string wrong = s.memory.fault_of(scalar, bytes, false); !wrong.empty()) {
      s.report("ncclRedOpCreatePreMulSum: " + wrong);
      return Code::invalid_argument;
    }
    r.device_scalar = scalar;
  } else {
    r.scalar.resize(bytes);
    std::memcpy(r.scalar.data(), scalar, bytes);
  }
  const int number = s.next_redop++;
  use.comm->redops[number] = std::move(r);
  *out = static_cast<nccl::RedOp>(number);
  return Code::success;
}

Code free_memory(State& s, void* p) {
  if (!p) return Code::success;
  Block* b = s.memory.find(p);
  if (!b || !b->nccl || b->base != reinterpret_cast<std::uintptr_t>(p)) {
    s.report("ncclMemFree: " + (b ? std::string("not from ncclMemAlloc") : s.memory.fault_of(p, 1, false)));
    return Code::invalid_argument;
  }
  if (b->uses > 0 && !s.dead) s.report(fmt::format("ncclMemFree: {} bytes while {} operations in flight use them", b->bytes, b->uses));
  if (b->registrations > 0) s.report(fmt::format("ncclMemFree: {} bytes that are still registered with a communicator", b->bytes));
  s.memory.release(*b);
  return Code::success;
}

int number(nccl::RedOp op) { return static_cast<int>(op); }

}  // namespace

void fill_operation_functions(nccl::Table& t) {
  using Ptr = const void*;
  using Size = std::size_t;
  t.all_reduce = [](Ptr send, void* recv, Size n, Type type, nccl::RedOp op, nccl::Comm c, cuda::Stream on) {
    return call("ncclAllReduce", {Operation::all_reduce, send, recv, n, type, number(op), 0, nullptr, nullptr, {}, nullptr}, c, on);
  };
  t.broadcast = [](Ptr send, void* recv, Size n, Type type, int root, nccl::Comm c, cuda::Stream on) {
    return call("ncclBroadcast", {Operation::broadcast, send, recv, n, type, 0, root, nullptr, nullptr, {}, nullptr}, c, on);
  };
  t.reduce = [](Ptr send, void* recv, Size n, Type type, nccl::RedOp op, int root, nccl::Comm c, cuda::Stream on) {
    return call("ncclReduce", {Operation::reduce, send, recv, n, type, number(op), root, nullptr, nullptr, {}, nullptr}, c, on);
  };
  t.all_gather = [](Ptr send, void* recv, Size n, Type type, nccl::Comm c, cuda::Stream on) {
    return call("ncclAllGather", {Operation::all_gather, send, recv, n, type, 0, 0, nullptr, nullptr, {}, nullptr}, c, on);
  };
  t.reduce_scatter = [](Ptr send, void* recv, Size n, Type type, nccl::RedOp op, nccl::Comm c, cuda::Stream on) {
    return call("ncclReduceScatter", {Operation::reduce_scatter, send, recv, n, type, number(op), 0, nullptr, nullptr, {}, nullptr}, c, on);
  };
  t.send = [](Ptr from, Size n, Type type, int peer, nccl::Comm c, cuda::Stream on) {
    return call("ncclSend", {Operation::send, from, nullptr, n, type, 0, peer, nullptr, nullptr, {}, nullptr}, c, on);
  };
  t.recv = [](void* to, Size n, Type type, int peer, nccl::Comm c, cuda::Stream on) {
    return call("ncclRecv", {Operation::recv, nullptr, to, n, type, 0, peer, nullptr, nullptr, {}, nullptr}, c, on);
  };
  t.group_start = [] { return nccl_call([](State&, Lock&) { return ++local().group_depth, Code::success; }); };
  t.group_end = [] { return nccl_call([](State& s, Lock& l) { return end_group(s, l); }); };
  t.redop_create_premulsum = [](nccl::RedOp* out, void* scalar, Type type, nccl::Residence r, nccl::Comm c) {
    return nccl_call([&](State& s, Lock&) { return make_redop(s, out, scalar, type, r, c); });
  };
  t.redop_destroy = [](nccl::RedOp op, nccl::Comm c) {
    return nccl_call([&](State& s, Lock&) {
      const Use use = use_comm(s, c, "ncclRedOpDestroy", false);
      if (!use.comm) return use.code;
      return use.comm->redops.erase(number(op)) ? Code::success : Code::invalid_argument;
    });
  };
  t.mem_alloc = [](void** out, Size n) {
    return nccl_call([&](State& s, Lock&) {
      if (!out || n == 0) return Code::invalid_argument;
      *out = s.memory.allocate(n, Kind::device, global_device(s, local().device), true);
      return *out ? Code::success : Code::unhandled_cuda_error;
    });
  };
  t.mem_free = [](void* p) { return nccl_call([&](State& s, Lock&) { return free_memory(s, p); }); };
  t.get_version = [](int* v) {
    return nccl_call([&](State& s, Lock&) {
      if (!v) return Code::invalid_argument;
      *v = s.options.nccl_version;
      return Code::success;
    });
  };
  t.get_error_string = text_of;
  t.get_last_error = [](nccl::Comm handle) -> const char* {
    thread_local std::string text;
    State* s = active();
    if (!s) return "";
    const Lock lock(s->mutex);
    const auto c = s->comms.find(handle);
    text = c && !c->text.empty() ? c->text : s->dead_text;
    return text.c_str();
  };
}

}  // namespace libcoll::test::gpu_double
