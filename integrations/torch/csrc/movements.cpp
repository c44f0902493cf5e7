// The collectives of ProcessGroupLibcoll that move data: as bytes, so that every element type goes.
#include <utility>

#include <c10/util/Exception.h>

#include "backend.hpp"

namespace libcoll::torch_door {

using Ptr = ProcessGroupLibcoll::Ptr;
using Use = Blocks::Use;

namespace {

void require_all(const char* collective, const char* argument, const std::vector<at::Tensor>& tensors, int size) {
  TORCH_CHECK_VALUE(tensors.size() == static_cast<std::size_t>(size), "libcoll: ", collective, ": ", argument, " has ", tensors.size(),
                    " tensors; the group has ", size, " ranks");
  for (const at::Tensor& t : tensors) require_dense(collective, argument, t);
}

}  // namespace

Ptr ProcessGroupLibcoll::broadcast(Tensors& tensors, const c10d::BroadcastOptions& o) {
  require_one("broadcast", "tensors", tensors.size());
  require_root("broadcast", o.rootRank);
  const at::Tensor t = tensors[0];
  require_dense("broadcast", "tensor", t);
  const int root = static_cast<int>(o.rootRank);
  const at::Tensor data = root == rank_ ? flat(t) : flat_target(t);
  Task task{.type = c10d::OpType::BROADCAST, .title = "libcoll:broadcast", .inputs = tensors, .outputs = tensors, .timeout = o.timeout,
            .issue = [data, root](Starter& s) {
              s.bcast(data.data_ptr(), bytes_of(data), DType::byte, root);
            }};
  if (root != rank_) task.conclude = copy_back(data, t);
  return submit(std::move(task), o.asyncOp);
}

// Adds the gathering of every rank's `in` into as many tensors. Of different sizes: each rank sends as much as the others have room for.
void ProcessGroupLibcoll::add_allgather_list(Task& task, const Tensors& outs, const at::Tensor& in) const {
  require_dense("allgather", "input", in);
  require_all("allgather", "the output list", outs, size_);
  for (const at::Tensor& t : outs) require_like("allgather", "an output", t, in);
  const at::Tensor& place = outs[static_cast<std::size_t>(rank_)];
  TORCH_CHECK_VALUE(place.numel() == in.numel(), "libcoll: rank ", rank_, " of ", size_, ": allgather: the input has ", in.numel(),
                    " elements, its place in the output list ", place.numel());
  auto to = std::make_shared<Blocks>(Blocks::of(outs, Use::write));
  to->pack(Use::write);
  const at::Tensor from = apart_from(flat(in), to->base, to->span(), to->base + to->displs[static_cast<std::size_t>(rank_)]);
  task.inputs.push_back(in);
  task.outputs.insert(task.outputs.end(), outs.begin(), outs.end());
  task.issue = [before = std::move(task.issue), from, to](Starter& s) {
    if (before) before(s);
    if (to->even) s.allgather(from.data_ptr(), to->base, bytes_of(from), DType::byte);
    else s.allgatherv(from.data_ptr(), bytes_of(from), to->base, to->counts, to->displs, DType::byte);
  };
  task.conclude = [before = std::move(task.conclude), to, outs] {
    if (before) before();
    to->spread(outs);
  };
}

Ptr ProcessGroupLibcoll::allgather(TensorLists& outs, Tensors& ins, const c10d::AllgatherOptions& o) {
  require_one("allgather", "outputs", outs.size());
  require_one("allgather", "inputs", ins.size());
  Task task{.type = c10d::OpType::ALLGATHER, .title = "libcoll:all_gather", .timeout = o.timeout};
  add_allgather_list(task, outs[0], ins[0]);
  return submit(std::move(task), o.asyncOp);
}

void ProcessGroupLibcoll::add_allgather(Task& task, const at::Tensor& out, const at::Tensor& in) const {
  require_dense("allgather", "output", out);
  require_dense("allgather", "input", in);
  require_like("allgather", "output", out, in);
  TORCH_CHECK_VALUE(out.numel() == in.numel() * size_, "libcoll: rank ", rank_, " of ", size_, ": allgather: the output has ", out.numel(),
                    " elements; with an input of ", in.numel(), " it has to have ", in.numel() * size_);
  const at::Tensor to = flat_target(out);
  // FSDP gathers from its own place in the output, which libcoll knows for one.
  const at::Tensor from = apart_from(flat(in), to.data_ptr(), bytes_of(to), static_cast<std::byte*>(to.data_ptr()) + rank_ * bytes_of(in));
  task.inputs.push_back(in);
  task.outputs.push_back(out);
  task.issue = [before = std::move(task.issue), from, to](Starter& s) {
    if (before) before(s);
    s.allgather(from.data_ptr(), to.data_ptr(), bytes_of(from), DType::byte);
  };
  if (!to.is_same(out))
    task.conclude = [before = std::move(task.conclude), to, out]() mutable {
      if (before) before();
      out.copy_(to);
    };
}

Ptr ProcessGroupLibcoll::_allgather_base(at::Tensor& out, at::Tensor& in, const c10d::AllgatherOptions& o) {
  Task task{.type = c10d::OpType::_ALLGATHER_BASE, .title = "libcoll:_all_gather_base", .timeout = o.timeout};
  add_allgather(task, out, in);
  return submit(std::move(task), o.asyncOp);
}

Ptr ProcessGroupLibcoll::allgather_into_tensor_coalesced(Tensors& outs, Tensors& ins, const c10d::AllgatherOptions& o) {
  TORCH_CHECK_VALUE(outs.size() == ins.size(), "libcoll: allgather_into_tensor_coalesced: ", outs.size(), " outputs and ", ins.size(), " inputs");
  Task task{.type = c10d::OpType::COALESCED, .title = "libcoll:all_gather_into_tensor_coalesced", .timeout = o.timeout};
  for (std::size_t i = 0; i < outs.size(); ++i) {
    require_same_device("allgather_into_tensor_coalesced", "an input", ins[i], ins[0]);
    add_allgather(task, outs[i], ins[i]);
  }
  if (!task.issue) task.issue = [](Starter&) {};
  return submit(std::move(task), o.asyncOp);
}

// outs[r][i]: what rank r gave as its i-th input.
Ptr ProcessGroupLibcoll::allgather_coalesced(TensorLists& outs, Tensors& ins, const c10d::AllgatherOptions& o) {
  TORCH_CHECK_VALUE(outs.size() == static_cast<std::size_t>(size_), "libcoll: allgather_coalesced: ", outs.size(), " output lists; the group has ", size_, " ranks");
  Task task{.type = c10d::OpType::ALLGATHER_COALESCED, .title = "libcoll:all_gather", .timeout = o.timeout};
  for (std::size_t i = 0; i < ins.size(); ++i) {
    Tensors column;
    for (const auto& list : outs) {
      TORCH_CHECK_VALUE(list.size() == ins.size(), "libcoll: allgather_coalesced: an output list has ", list.size(), " tensors for ", ins.size(), " inputs");
      column.push_back(list[i]);
    }
    require_same_device("allgather_coalesced", "an input", ins[i], ins[0]);
    add_allgather_list(task, column, ins[i]);
  }
  if (!task.issue) task.issue = [](Starter&) {};
  return submit(std::move(task), o.asyncOp);
}

Ptr ProcessGroupLibcoll::gather(TensorLists& outs, Tensors& ins, const c10d::GatherOptions& o) {
  require_one("gather", "inputs", ins.size());
  require_root("gather", o.rootRank);
  require_dense("gather", "input", ins[0]);
  const int root = static_cast<int>(o.rootRank);
  at::Tensor from = flat(ins[0]);
  Task task{.type = c10d::OpType::GATHER, .title = "libcoll:gather", .inputs = ins, .timeout = o.timeout};
  if (root != rank_) {
    TORCH_CHECK_VALUE(outs.empty() || (outs.size() == 1 && outs[0].empty()), "libcoll: rank ", rank_, " of ", size_, ": gather: only the root, rank ", root, ", has outputs");
    task.issue = [from, root](Starter& s) {
      s.gather(from.data_ptr(), nullptr, bytes_of(from), DType::byte, root);
    };
    return submit(std::move(task), o.asyncOp);
  }
  require_one("gather", "outputs", outs.size());
  require_all("gather", "the output list", outs[0], size_);
  const std::vector<at::Tensor> targets = outs[0];
  for (const at::Tensor& t : targets) {
    require_like("gather", "an output", t, ins[0]);
    TORCH_CHECK_VALUE(t.numel() == ins[0].numel(), "libcoll: gather: an output has ", t.numel(), " elements, the input ", ins[0].numel());
  }
  auto to = std::make_shared<Blocks>(Blocks::of(targets, Use::write));
  to->pack(Use::write);
  from = apart_from(from, to->base, to->span(), to->base + to->displs[static_cast<std::size_t>(rank_)]);
  task.outputs = targets;
  task.issue = [from, to, root](Starter& s) {
    s.gather(from.data_ptr(), to->base, bytes_of(from), DType::byte, root);
  };
  task.conclude = [to, targets] { to->spread(targets); };
  return submit(std::move(task), o.asyncOp);
}

Ptr ProcessGroupLibcoll::scatter(Tensors& outs, TensorLists& ins, const c10d::ScatterOptions& o) {
  require_one("scatter", "outputs", outs.size());
  require_root("scatter", o.rootRank);
  const at::Tensor out = outs[0];
  require_dense("scatter", "output", out);
  const int root = static_cast<int>(o.rootRank);
  at::Tensor to = flat_target(out);
  auto from = std::make_shared<Blocks>();
  Task task{.type = c10d::OpType::SCATTER, .title = "libcoll:scatter", .inputs = outs, .outputs = outs, .timeout = o.timeout};
  if (root == rank_) {
    require_one("scatter", "inputs", ins.size());
    require_all("scatter", "the input list", ins[0], size_);
    for (const at::Tensor& t : ins[0]) {
      require_like("scatter", "an input", t, out);
      TORCH_CHECK_VALUE(t.numel() == out.numel(), "libcoll: scatter: an input has ", t.numel(), " elements, the output ", out.numel());
    }
    *from = Blocks::of(ins[0], Use::read);
    from->pack(Use::read);
    if (!apart_from(to, from->base, from->span(), from->base + from->displs[static_cast<std::size_t>(rank_)]).is_same(to)) to = at::empty(out.sizes(), out.options());
    task.inputs = ins[0];
  } else {
    TORCH_CHECK_VALUE(ins.empty() || (ins.size() == 1 && ins[0].empty()), "libcoll: rank ", rank_, " of ", size_, ": scatter: only the root, rank ", root, ", has inputs");
  }
  task.issue = [from, to, root](Starter& s) {
    s.scatter(from->base, to.data_ptr(), bytes_of(to), DType::byte, root);
  };
  task.conclude = copy_back(to, out);
  return submit(std::move(task), o.asyncOp);
}

Ptr ProcessGroupLibcoll::alltoall(Tensors& outs, Tensors& ins, const c10d::AllToAllOptions& o) {
  require_all("alltoall", "the output list", outs, size_);
  require_all("alltoall", "the input list", ins, size_);
  for (const at::Tensor& t : outs) require_like("alltoall", "an output", t, ins[0]);
  for (const at::Tensor& t : ins) require_like("alltoall", "an input", t, ins[0]);
  auto to = std::make_shared<Blocks>(Blocks::of(outs, Use::write));
  std::vector<at::Tensor> sources;
  for (const at::Tensor& t : ins) {
    at::Tensor source = flat(t);
    for (const at::Tensor& target : to->tensors) source = apart_from(source, target.data_ptr(), bytes_of(target));
    sources.push_back(std::move(source));
  }
  auto from = std::make_shared<Blocks>(Blocks::of(sources, Use::read));
  // Host memory has one address space; of a GPU, libcoll takes a buffer to be one piece from its lowest block to its highest.
  if (ins[0].is_cuda()) {
    to->pack(Use::write);
    from->pack(Use::read);
  }
  return submit({.type = c10d::OpType::ALLTOALL, .title = "libcoll:all_to_all", .inputs = ins, .outputs = outs, .timeout = o.timeout,
                 .issue = [from, to](Starter& s) {
                   s.alltoallv(from->base, from->counts, from->displs, to->base, to->counts, to->displs, DType::byte);
                 },
                 .conclude = [to, targets = outs] { to->spread(targets); }}, o.asyncOp);
}

namespace {
// Rows per rank as bytes and where they begin; without splits the tensor is cut evenly.
struct Rows {
  std::vector<Count> counts, displs;
  Rows(const char* argument, const at::Tensor& t, const std::vector<std::int64_t>& splits, int size) {
    const auto ranks = static_cast<std::size_t>(size);
    TORCH_CHECK_VALUE(splits.empty() || splits.size() == ranks, "libcoll: alltoall: ", argument, " splits have ", splits.size(), " entries for ", size, " ranks");
    const std::int64_t rows = t.dim() == 0 ? t.numel() : t.size(0);
    const std::int64_t row = rows == 0 ? 0 : bytes_of(t) / rows;
    TORCH_CHECK_VALUE(!splits.empty() || rows % size == 0, "libcoll: alltoall: ", argument, " has ", rows, " rows, which ", size, " ranks cannot share evenly");
    Count at = 0;
    for (std::size_t r = 0; r < ranks; ++r) {
      const std::int64_t n = splits.empty() ? rows / size : splits[r];
      TORCH_CHECK_VALUE(n >= 0, "libcoll: alltoall: ", argument, " split of rank ", r, " is ", n);
      counts.push_back(n * row);
      displs.push_back(at);
      at += n * row;
    }
    TORCH_CHECK_VALUE(at == bytes_of(t), "libcoll: alltoall: ", argument, " splits make ", row == 0 ? 0 : at / row, " rows of ", rows);
  }
};
}  // namespace

// Without any splits it is the block form: leave them out on all ranks or on none.
Ptr ProcessGroupLibcoll::alltoall_base(at::Tensor& out, at::Tensor& in, std::vector<std::int64_t>& out_splits, std::vector<std::int64_t>& in_splits,
                                       const c10d::AllToAllOptions& o) {
  require_dense("alltoall", "output", out);
  require_dense("alltoall", "input", in);
  require_like("alltoall", "output", out, in);
  const bool even = out_splits.empty() && in_splits.empty();
  const Rows send("input", in, in_splits, size_), recv("output", out, out_splits, size_);
  const at::Tensor to = flat_target(out), from = apart_from(flat(in), to.data_ptr(), bytes_of(to));
  Task task{.type = c10d::OpType::ALLTOALL_BASE, .title = "libcoll:all_to_all", .inputs = {in}, .outputs = {out}, .timeout = o.timeout};
  if (even) {
    TORCH_CHECK_VALUE(bytes_of(in) == bytes_of(out), "libcoll: alltoall: the input has ", in.numel(), " elements, the output ", out.numel());
    task.issue = [from, to, block = bytes_of(in) / size_](Starter& s) {
      s.alltoall(from.data_ptr(), to.data_ptr(), block, DType::byte);
    };
  } else {
    task.issue = [from, to, send, recv](Starter& s) {
      s.alltoallv(from.data_ptr(), send.counts, send.displs, to.data_ptr(), recv.counts, recv.displs, DType::byte);
    };
  }
  task.conclude = copy_back(to, out);
  return submit(std::move(task), o.asyncOp);
}

// Of a group that has used a GPU it is also behind what the current stream of that GPU has.
Ptr ProcessGroupLibcoll::barrier(const c10d::BarrierOptions& o) {
  Task task{.type = c10d::OpType::BARRIER, .title = "libcoll:barrier", .timeout = o.timeout, .after_all = true, .issue = [](Starter& s) { s.barrier(); }};
  if (const auto device = side_streams_.device()) {
    require_no_capture(*device, task.title);
    task.ready = event_on(current_stream(*device));
  }
  return submit(std::move(task), o.asyncOp);
}

}  // namespace libcoll::torch_door
