#include "cases.hpp"

namespace libcoll::test {
namespace {

using c10d::ReduceOp;
constexpr std::int64_t n = 37;

Tensors wait(const Work& work, Tensors results) {
  work->wait();
  return results;
}

at::Tensor in(const Rank& r, const Form& f, std::int64_t count, std::int64_t salt = 0) { return numbers(r, f.device, count, f.type, salt, f.strided); }
at::Tensor out(const Form& f, std::int64_t count) { return blank(f.device, {count}, f.type, f.strided); }
Tensors many(const Rank& r, const std::function<at::Tensor(int)>& make) {
  Tensors all;
  for (int i = 0; i < r.size; ++i) all.push_back(make(i));
  return all;
}

Case allreduce(const char* name, ReduceOp op, bool floats_only = false) {
  return {name, [op](Rank& r, const Form& f) {
            Tensors t{in(r, f, n)};
            return wait(r.group->allreduce(t, {.reduceOp = op, .asyncOp = f.asynchronous}), t);
          }, floats_only};
}

std::vector<Case> reductions() {
  std::vector<Case> cases{allreduce("allreduce", ReduceOp::SUM), allreduce("allreduce PRODUCT", ReduceOp::PRODUCT), allreduce("allreduce MIN", ReduceOp::MIN),
                          allreduce("allreduce MAX", ReduceOp::MAX), allreduce("allreduce AVG", ReduceOp::AVG, true),
                          allreduce("allreduce PREMUL_SUM", c10d::makePreMulSum(0.5), true),
                          allreduce("allreduce PREMUL_SUM by a tensor", c10d::makePreMulSum(at::scalar_tensor(2)), true)};
  cases.push_back({"allreduce_coalesced", [](Rank& r, const Form& f) {
                     Tensors t{in(r, f, n), in(r, f, 1, 1), in(r, f, 0), in(r, f, 100, 2)};
                     c10d::AllreduceCoalescedOptions o;
                     o.asyncOp = f.asynchronous;
                     return wait(r.group->allreduce_coalesced(t, o), t);
                   }});
  cases.push_back({"reduce", [](Rank& r, const Form& f) {
                     Tensors t{in(r, f, n)};
                     r.group->reduce(t, {.rootRank = r.size - 1, .asyncOp = f.asynchronous})->wait();
                     return r.rank == r.size - 1 ? t : Tensors{};
                   }});
  cases.push_back({"_reduce_scatter_base", [](Rank& r, const Form& f) {
                     at::Tensor to = out(f, n), from = in(r, f, n * r.size);
                     return wait(r.group->_reduce_scatter_base(to, from, {.asyncOp = f.asynchronous}), {to});
                   }});
  cases.push_back({"reduce_scatter into the input", [](Rank& r, const Form& f) {
                     at::Tensor from = in(r, f, n * r.size), to = from.narrow(0, r.rank * n, n);
                     return wait(r.group->_reduce_scatter_base(to, from, {.asyncOp = f.asynchronous}), {to});
                   }});
  cases.push_back({"reduce_scatter", [](Rank& r, const Form& f) {  // of different sizes
                     Tensors to{out(f, 5 + r.rank)};
                     std::vector<Tensors> from{many(r, [&](int i) { return in(r, f, 5 + i, i); })};
                     return wait(r.group->reduce_scatter(to, from, {.asyncOp = f.asynchronous}), to);
                   }});
  cases.push_back({"reduce_scatter_tensor_coalesced", [](Rank& r, const Form& f) {
                     Tensors to{out(f, n), out(f, 2)}, from{in(r, f, n * r.size), in(r, f, 2 * r.size, 1)};
                     return wait(r.group->reduce_scatter_tensor_coalesced(to, from, {.asyncOp = f.asynchronous}), to);
                   }});
  return cases;
}

std::vector<Case> gatherings() {
  return {{"broadcast", [](Rank& r, const Form& f) {
             Tensors t{in(r, f, n)};
             return wait(r.group->broadcast(t, {.rootRank = r.size - 1, .asyncOp = f.asynchronous}), t);
           }},
          {"allgather", [](Rank& r, const Form& f) {
             std::vector<Tensors> to{many(r, [&](int) { return out(f, n); })};
             Tensors from{in(r, f, n)};
             return wait(r.group->allgather(to, from, {.asyncOp = f.asynchronous}), to[0]);
           }},
          {"allgather of different sizes", [](Rank& r, const Form& f) {
             std::vector<Tensors> to{many(r, [&](int i) { return out(f, n + i); })};
             Tensors from{in(r, f, n + r.rank)};
             return wait(r.group->allgather(to, from, {.asyncOp = f.asynchronous}), to[0]);
           }},
          {"_allgather_base", [](Rank& r, const Form& f) {
             at::Tensor to = out(f, n * r.size), from = in(r, f, n);
             return wait(r.group->_allgather_base(to, from, {.asyncOp = f.asynchronous}), {to});
           }},
          {"allgather from its place in the output", [](Rank& r, const Form& f) {
             at::Tensor to = out(f, n * r.size), from = to.narrow(0, r.rank * n, n);
             from.copy_(in(r, f, n));
             return wait(r.group->_allgather_base(to, from, {.asyncOp = f.asynchronous}), {to});
           }},
          {"allgather from a wrong place in the output", [](Rank& r, const Form& f) {
             at::Tensor to = out(f, n * r.size), from = to.narrow(0, 0, n);
             from.copy_(in(r, f, n));
             return wait(r.group->_allgather_base(to, from, {.asyncOp = f.asynchronous}), {to});
           }},
          {"allgather_into_tensor_coalesced", [](Rank& r, const Form& f) {
             Tensors to{out(f, n * r.size), out(f, r.size)}, from{in(r, f, n), in(r, f, 1, 1)};
             return wait(r.group->allgather_into_tensor_coalesced(to, from, {.asyncOp = f.asynchronous}), to);
           }},
          {"allgather_coalesced", [](Rank& r, const Form& f) {
             std::vector<Tensors> to(static_cast<std::size_t>(r.size));
             for (Tensors& list : to) list = {out(f, n), out(f, 3)};
             Tensors from{in(r, f, n), in(r, f, 3, 1)};
             r.group->allgather_coalesced(to, from, {.asyncOp = f.asynchronous})->wait();
             Tensors all;
             for (const Tensors& list : to) all.insert(all.end(), list.begin(), list.end());
             return all;
           }},
          {"gather", [](Rank& r, const Form& f) {
             std::vector<Tensors> to;
             if (r.rank == 1) to = {many(r, [&](int) { return out(f, n); })};
             Tensors from{in(r, f, n)};
             r.group->gather(to, from, {.rootRank = 1, .asyncOp = f.asynchronous})->wait();
             return to.empty() ? Tensors{} : to[0];
           }},
          {"scatter", [](Rank& r, const Form& f) {
             std::vector<Tensors> from;
             if (r.rank == 1) from = {many(r, [&](int i) { return in(r, f, n, i); })};
             Tensors to{out(f, n)};
             return wait(r.group->scatter(to, from, {.rootRank = 1, .asyncOp = f.asynchronous}), to);
           }}};
}

std::vector<Case> exchanges() {
  return {{"alltoall", [](Rank& r, const Form& f) {
             Tensors to = many(r, [&](int i) { return out(f, 3 + i + r.rank); }), from = many(r, [&](int i) { return in(r, f, 3 + i + r.rank, i); });
             return wait(r.group->alltoall(to, from, {.asyncOp = f.asynchronous}), to);
           }},
          {"alltoall_base", [](Rank& r, const Form& f) {
             at::Tensor to = out(f, n * r.size), from = in(r, f, n * r.size);
             std::vector<std::int64_t> none;
             return wait(r.group->alltoall_base(to, from, none, none, {.asyncOp = f.asynchronous}), {to});
           }},
          {"alltoall_base with splits", [](Rank& r, const Form& f) {  // nothing to oneself
             std::vector<std::int64_t> splits;
             for (int i = 0; i < r.size; ++i) splits.push_back(i == r.rank ? 0 : 1 + i + r.rank);
             std::int64_t all = 0;
             for (const std::int64_t s : splits) all += s;
             at::Tensor to = out(f, all), from = in(r, f, all);
             return wait(r.group->alltoall_base(to, from, splits, splits, {.asyncOp = f.asynchronous}), {to});
           }},
          {"send and recv", [](Rank& r, const Form& f) {
             Tensors to{out(f, n)}, from{in(r, f, n)};
             const Work sent = r.group->send(from, (r.rank + 1) % r.size, 5);
             const Work received = r.rank % 2 == 0 ? r.group->recv(to, (r.rank + r.size - 1) % r.size, 5) : r.group->recvAnysource(to, 5);
             received->wait();
             EXPECT_EQ(received->sourceRank(), (r.rank + r.size - 1) % r.size);
             sent->wait();
             return to;
           }},
          {"a batch", [](Rank& r, const Form& f) {
             Tensors t{in(r, f, n)}, to{out(f, n)}, from{in(r, f, n, 1)};
             r.group->startCoalescing();
             r.group->allreduce(t, {.asyncOp = f.asynchronous});
             r.group->send(from, (r.rank + 1) % r.size, 6);
             r.group->recv(to, (r.rank + r.size - 1) % r.size, 6);
             return wait(r.group->endCoalescing(), {t[0], to[0]});
           }}};
}

}  // namespace

std::vector<Case> every_collective() {
  std::vector<Case> all = reductions();
  for (const auto& some : {gatherings(), exchanges()}) all.insert(all.end(), some.begin(), some.end());
  return all;
}

}  // namespace libcoll::test
