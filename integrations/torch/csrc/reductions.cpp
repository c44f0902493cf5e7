// The reducing collectives of ProcessGroupLibcoll.
#include <utility>

#include <c10/util/Exception.h>

#include "backend.hpp"

namespace libcoll::torch_door {
namespace {

using Ptr = ProcessGroupLibcoll::Ptr;
using Issue = std::function<void(Starter&)>;

struct InPlaceReduction {
  Issue issue;
  std::function<void()> conclude;  // null where the tensor was reduced where it lies
};

InPlaceReduction allreduce_of(const char* name, const at::Tensor& t, const c10d::ReduceOp& op) {
  require_dense(name, "tensor", t);
  const Reduction r = Reduction::of(name, op, t.scalar_type());
  const at::Tensor data = r.scaled(flat(t));
  InPlaceReduction p;
  p.issue = [data, r](Starter& s) {
    s.allreduce(in_place, data.data_ptr(), data.numel(), r.type, r.op);
  };
  p.conclude = copy_back(data, t);
  return p;
}

}  // namespace

Ptr ProcessGroupLibcoll::allreduce(Tensors& tensors, const c10d::AllreduceOptions& o) {
  require_one("allreduce", "tensors", tensors.size());
  if (tensors[0].layout() == at::kSparse) return allreduce_sparse(tensors, o);
  InPlaceReduction p = allreduce_of("allreduce", tensors[0], o.reduceOp);
  return submit({.type = c10d::OpType::ALLREDUCE, .title = "libcoll:all_reduce", .inputs = tensors, .outputs = tensors, .timeout = o.timeout,
                 .issue = std::move(p.issue), .conclude = std::move(p.conclude)}, o.asyncOp);
}

// By way of dense tensors: their size, not the number of values, is what it costs, and values that add up to zero are not kept.
Ptr ProcessGroupLibcoll::allreduce_sparse(Tensors& tensors, const c10d::AllreduceOptions& o) {
  require_one("allreduce_sparse", "tensors", tensors.size());
  const at::Tensor sparse = tensors[0];
  TORCH_CHECK_VALUE(sparse.layout() == at::kSparse && (sparse.is_cpu() || sparse.is_cuda()), "libcoll: allreduce_sparse: the tensor is ", sparse.layout(), " on ",
                    sparse.device(), "; it has to be sparse COO on a CPU or a CUDA device");
  // Where a rank has no value it has zero, which other reductions would take for one.
  const auto op = o.reduceOp.op_;
  TORCH_CHECK_VALUE(op == c10d::ReduceOp::SUM || op == c10d::ReduceOp::AVG || op == c10d::ReduceOp::PREMUL_SUM,
                    "libcoll: allreduce_sparse: SUM, AVG and PREMUL_SUM are what is defined on sparse tensors");
  const Reduction r = Reduction::of("allreduce_sparse", o.reduceOp, sparse.scalar_type());
  const at::Tensor dense = r.scaled(sparse.to_dense().contiguous());
  Task task{.type = c10d::OpType::_ALLREDUCE_SPARSE, .title = "libcoll:sparse_all_reduce", .inputs = tensors, .outputs = tensors, .timeout = o.timeout,
            .issue = [dense, r](Starter& s) { s.allreduce(in_place, dense.data_ptr(), dense.numel(), r.type, r.op); }};
  auto conclude = [dense, sparse]() mutable { sparse.copy_(dense.to_sparse(sparse.sparse_dim())); };
  if (sparse.is_cpu()) {
    task.conclude = conclude;
    return submit(std::move(task), o.asyncOp);
  }
  // How many values there are, the host has to wait for: after the call, and never inside of it, where others would wait with it.
  require_no_capture(sparse.device(), "libcoll: allreduce_sparse");
  const Ptr work = submit(std::move(task), false);
  work->wait();
  const at::AutoDispatchBelowADInplaceOrView raw;
  conclude();
  event_on(current_stream(sparse.device()))->synchronize();
  return work;
}

Ptr ProcessGroupLibcoll::allreduce_coalesced(Tensors& tensors, const c10d::AllreduceCoalescedOptions& o) {
  std::vector<InPlaceReduction> parts;
  for (const at::Tensor& t : tensors) {
    require_same_device("allreduce_coalesced", "a tensor", t, tensors[0]);
    parts.push_back(allreduce_of("allreduce_coalesced", t, o.reduceOp));
  }
  return submit({.type = c10d::OpType::ALLREDUCE_COALESCED, .title = "libcoll:all_reduce", .inputs = tensors, .outputs = tensors, .timeout = o.timeout,
                 .issue = [parts](Starter& s) { for (const auto& p : parts) p.issue(s); },
                 .conclude = [parts] { for (const auto& p : parts) if (p.conclude) p.conclude(); }}, o.asyncOp);
}

Ptr ProcessGroupLibcoll::reduce(Tensors& tensors, const c10d::ReduceOptions& o) {
  require_one("reduce", "tensors", tensors.size());
  require_root("reduce", o.rootRank);
  require_dense("reduce", "tensor", tensors[0]);
  const Reduction r = Reduction::of("reduce", o.reduceOp, tensors[0].scalar_type());
  const at::Tensor data = r.scaled(flat(tensors[0]));
  const int root = static_cast<int>(o.rootRank);
  const bool here = root == rank_;
  Task task{.type = c10d::OpType::REDUCE, .title = "libcoll:reduce", .inputs = tensors, .outputs = tensors, .timeout = o.timeout,
            .issue = [data, r, root, here](Starter& s) {
              if (here) s.reduce(in_place, data.data_ptr(), data.numel(), r.type, r.op, root);
              else s.reduce(data.data_ptr(), nullptr, data.numel(), r.type, r.op, root);
            }};
  if (here) task.conclude = copy_back(data, tensors[0]);
  return submit(std::move(task), o.asyncOp);
}

Task ProcessGroupLibcoll::reduce_scatter_task(const char* title, const at::Tensor& out, const at::Tensor& in, const c10d::ReduceOp& op) const {
  require_dense("reduce_scatter", "output", out);
  require_dense("reduce_scatter", "input", in);
  require_like("reduce_scatter", "input", in, out);
  TORCH_CHECK_VALUE(in.numel() == out.numel() * size_, "libcoll: rank ", rank_, " of ", size_, ": reduce_scatter: input has ", in.numel(),
                    " elements; with an output of ", out.numel(), " it has to have ", out.numel() * size_);
  const Reduction r = Reduction::of("reduce_scatter", op, in.scalar_type());
  const at::Tensor from = r.scaled(flat(in));
  // FSDP lets a rank's output be its own part of the input.
  at::Tensor to = flat_target(out);
  if (!apart_from(to, from.data_ptr(), bytes_of(from)).is_same(to)) to = at::empty(out.sizes(), out.options());
  Task task{.type = c10d::OpType::_REDUCE_SCATTER_BASE, .title = title, .inputs = {in}, .outputs = {out},
            .issue = [from, to, r](Starter& s) {
              s.reduce_scatter_block(from.data_ptr(), to.data_ptr(), to.numel(), r.type, r.op);
            }};
  task.conclude = copy_back(to, out);
  return task;
}

Ptr ProcessGroupLibcoll::_reduce_scatter_base(at::Tensor& out, at::Tensor& in, const c10d::ReduceScatterOptions& o) {
  Task task = reduce_scatter_task("libcoll:_reduce_scatter_base", out, in, o.reduceOp);
  task.timeout = o.timeout;
  return submit(std::move(task), o.asyncOp);
}

Ptr ProcessGroupLibcoll::reduce_scatter_tensor_coalesced(Tensors& outs, Tensors& ins, const c10d::ReduceScatterOptions& o) {
  TORCH_CHECK_VALUE(outs.size() == ins.size(), "libcoll: reduce_scatter_tensor_coalesced: ", outs.size(), " outputs and ", ins.size(), " inputs");
  std::vector<Task> parts;
  for (std::size_t i = 0; i < outs.size(); ++i) {
    require_same_device("reduce_scatter_tensor_coalesced", "an input", ins[i], ins[0]);
    parts.push_back(reduce_scatter_task("libcoll:reduce_scatter", outs[i], ins[i], o.reduceOp));
  }
  return submit({.type = c10d::OpType::REDUCE_SCATTER_TENSOR_COALESCED, .title = "libcoll:reduce_scatter_tensor_coalesced", .inputs = ins, .outputs = outs,
                 .timeout = o.timeout, .issue = [parts](Starter& s) { for (const auto& p : parts) p.issue(s); },
                 .conclude = [parts] { for (const auto& p : parts) if (p.conclude) p.conclude(); }}, o.asyncOp);
}

// Parts may be of different sizes.
Ptr ProcessGroupLibcoll::reduce_scatter(Tensors& outs, TensorLists& ins, const c10d::ReduceScatterOptions& o) {
  require_one("reduce_scatter", "outputs", outs.size());
  require_one("reduce_scatter", "inputs", ins.size());
  TORCH_CHECK_VALUE(ins[0].size() == static_cast<std::size_t>(size_), "libcoll: rank ", rank_, " of ", size_, ": reduce_scatter: the input list has ",
                    ins[0].size(), " tensors; it has to have one per rank");
  const at::Tensor out = outs[0];
  require_dense("reduce_scatter", "output", out);
  std::vector<at::Tensor> flats;
  std::vector<Count> counts;
  for (const at::Tensor& t : ins[0]) {
    require_dense("reduce_scatter", "input", t);
    require_like("reduce_scatter", "an input", t, out);
    flats.push_back(t.reshape({-1}));
    counts.push_back(t.numel());
  }
  TORCH_CHECK_VALUE(counts[static_cast<std::size_t>(rank_)] == out.numel(), "libcoll: rank ", rank_, " of ", size_, ": reduce_scatter: the output has ",
                    out.numel(), " elements, this rank's input ", counts[static_cast<std::size_t>(rank_)]);
  const Reduction r = Reduction::of("reduce_scatter", o.reduceOp, out.scalar_type());
  const at::Tensor from = r.scaled(at::cat(flats));
  const at::Tensor to = flat_target(out);
  Task task{.type = c10d::OpType::REDUCE_SCATTER, .title = "libcoll:reduce_scatter", .inputs = ins[0], .outputs = outs, .timeout = o.timeout,
            .issue = [from, to, r, counts](Starter& s) {
              s.reduce_scatter(from.data_ptr(), to.data_ptr(), counts, r.type, r.op);
            }};
  task.conclude = copy_back(to, out);
  return submit(std::move(task), o.asyncOp);
}

}  // namespace libcoll::torch_door
