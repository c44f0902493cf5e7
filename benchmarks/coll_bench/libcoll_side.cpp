// libcoll's three forms of every collective: blocking, started, persistent.
#include <unordered_map>

#include "coll_bench/library.hpp"
#include "coll_bench/overlap.hpp"

namespace bench {

namespace {

using libcoll::CallOptions;
using libcoll::Comm;

// A form has one function per collective: (send, recv) in, nothing, a Request or a Persistent out.
struct Form {
  Comm& c;
  const CallOptions o;
};

struct Blocking : Form {
  void barrier(const Shape&, void*, void*) const { c.barrier(o); }
  void bcast(const Shape& s, void*, void* b) const { c.bcast(b, s.count, s.dtype, s.root, o); }
  void reduce(const Shape& s, void* a, void* b) const { c.reduce(a, b, s.count, s.dtype, s.op, s.root, o); }
  void allreduce(const Shape& s, void* a, void* b) const { c.allreduce(a, b, s.count, s.dtype, s.op, o); }
  void reduce_scatter(const Shape& s, void* a, void* b) const { c.reduce_scatter_block(a, b, s.count, s.dtype, s.op, o); }
  void allgather(const Shape& s, void* a, void* b) const { c.allgather(a, b, s.count, s.dtype, o); }
  void gather(const Shape& s, void* a, void* b) const { c.gather(a, b, s.count, s.dtype, s.root, o); }
  void scatter(const Shape& s, void* a, void* b) const { c.scatter(a, b, s.count, s.dtype, s.root, o); }
  void alltoall(const Shape& s, void* a, void* b) const { c.alltoall(a, b, s.count, s.dtype, o); }
  void scan(const Shape& s, void* a, void* b) const { c.scan(a, b, s.count, s.dtype, s.op, o); }
  void exscan(const Shape& s, void* a, void* b) const { c.exscan(a, b, s.count, s.dtype, s.op, o); }
  void allgatherv(const Shape& s, void* a, void* b) const { c.allgatherv(a, s.count, b, s.counts, s.displs, s.dtype, o); }
  void gatherv(const Shape& s, void* a, void* b) const { c.gatherv(a, s.count, b, s.counts, s.displs, s.dtype, s.root, o); }
  void scatterv(const Shape& s, void* a, void* b) const { c.scatterv(a, s.counts, s.displs, b, s.count, s.dtype, s.root, o); }
  void alltoallv(const Shape& s, void* a, void* b) const { c.alltoallv(a, s.counts, s.displs, b, s.counts, s.displs, s.dtype, o); }
};

struct Started : Form {
  auto barrier(const Shape&, void*, void*) const { return c.ibarrier(o); }
  auto bcast(const Shape& s, void*, void* b) const { return c.ibcast(b, s.count, s.dtype, s.root, o); }
  auto reduce(const Shape& s, void* a, void* b) const { return c.ireduce(a, b, s.count, s.dtype, s.op, s.root, o); }
  auto allreduce(const Shape& s, void* a, void* b) const { return c.iallreduce(a, b, s.count, s.dtype, s.op, o); }
  auto reduce_scatter(const Shape& s, void* a, void* b) const { return c.ireduce_scatter_block(a, b, s.count, s.dtype, s.op, o); }
  auto allgather(const Shape& s, void* a, void* b) const { return c.iallgather(a, b, s.count, s.dtype, o); }
  auto gather(const Shape& s, void* a, void* b) const { return c.igather(a, b, s.count, s.dtype, s.root, o); }
  auto scatter(const Shape& s, void* a, void* b) const { return c.iscatter(a, b, s.count, s.dtype, s.root, o); }
  auto alltoall(const Shape& s, void* a, void* b) const { return c.ialltoall(a, b, s.count, s.dtype, o); }
  auto scan(const Shape& s, void* a, void* b) const { return c.iscan(a, b, s.count, s.dtype, s.op, o); }
  auto exscan(const Shape& s, void* a, void* b) const { return c.iexscan(a, b, s.count, s.dtype, s.op, o); }
  auto allgatherv(const Shape& s, void* a, void* b) const { return c.iallgatherv(a, s.count, b, s.counts, s.displs, s.dtype, o); }
  auto gatherv(const Shape& s, void* a, void* b) const { return c.igatherv(a, s.count, b, s.counts, s.displs, s.dtype, s.root, o); }
  auto scatterv(const Shape& s, void* a, void* b) const { return c.iscatterv(a, s.counts, s.displs, b, s.count, s.dtype, s.root, o); }
  auto alltoallv(const Shape& s, void* a, void* b) const { return c.ialltoallv(a, s.counts, s.displs, b, s.counts, s.displs, s.dtype, o); }
};

struct Planned : Form {
  auto barrier(const Shape&, void*, void*) const { return c.plan_barrier(o); }
  auto bcast(const Shape& s, void*, void* b) const { return c.plan_bcast(b, s.count, s.dtype, s.root, o); }
  auto reduce(const Shape& s, void* a, void* b) const { return c.plan_reduce(a, b, s.count, s.dtype, s.op, s.root, o); }
  auto allreduce(const Shape& s, void* a, void* b) const { return c.plan_allreduce(a, b, s.count, s.dtype, s.op, o); }
  auto reduce_scatter(const Shape& s, void* a, void* b) const { return c.plan_reduce_scatter_block(a, b, s.count, s.dtype, s.op, o); }
  auto allgather(const Shape& s, void* a, void* b) const { return c.plan_allgather(a, b, s.count, s.dtype, o); }
  auto gather(const Shape& s, void* a, void* b) const { return c.plan_gather(a, b, s.count, s.dtype, s.root, o); }
  auto scatter(const Shape& s, void* a, void* b) const { return c.plan_scatter(a, b, s.count, s.dtype, s.root, o); }
  auto alltoall(const Shape& s, void* a, void* b) const { return c.plan_alltoall(a, b, s.count, s.dtype, o); }
  auto scan(const Shape& s, void* a, void* b) const { return c.plan_scan(a, b, s.count, s.dtype, s.op, o); }
  auto exscan(const Shape& s, void* a, void* b) const { return c.plan_exscan(a, b, s.count, s.dtype, s.op, o); }
  auto allgatherv(const Shape& s, void* a, void* b) const { return c.plan_allgatherv(a, s.count, b, s.counts, s.displs, s.dtype, o); }
  auto gatherv(const Shape& s, void* a, void* b) const { return c.plan_gatherv(a, s.count, b, s.counts, s.displs, s.dtype, s.root, o); }
  auto scatterv(const Shape& s, void* a, void* b) const { return c.plan_scatterv(a, s.counts, s.displs, b, s.count, s.dtype, s.root, o); }
  auto alltoallv(const Shape& s, void* a, void* b) const { return c.plan_alltoallv(a, s.counts, s.displs, b, s.counts, s.displs, s.dtype, o); }
};

// go(call) with the shape's collective in that form.
template <class F, class Go>
void with_call(const F& form, const Shape& s, const Go& go) {
  switch (s.coll) {
    case Coll::barrier: return go([&](void* a, void* b) { return form.barrier(s, a, b); });
    case Coll::bcast: return go([&](void* a, void* b) { return form.bcast(s, a, b); });
    case Coll::reduce: return go([&](void* a, void* b) { return form.reduce(s, a, b); });
    case Coll::allreduce: return go([&](void* a, void* b) { return form.allreduce(s, a, b); });
    case Coll::reduce_scatter: return go([&](void* a, void* b) { return form.reduce_scatter(s, a, b); });
    case Coll::allgather: return go([&](void* a, void* b) { return form.allgather(s, a, b); });
    case Coll::gather: return go([&](void* a, void* b) { return form.gather(s, a, b); });
    case Coll::scatter: return go([&](void* a, void* b) { return form.scatter(s, a, b); });
    case Coll::alltoall: return go([&](void* a, void* b) { return form.alltoall(s, a, b); });
    case Coll::scan: return go([&](void* a, void* b) { return form.scan(s, a, b); });
    case Coll::exscan: return go([&](void* a, void* b) { return form.exscan(s, a, b); });
    case Coll::allgatherv: return go([&](void* a, void* b) { return form.allgatherv(s, a, b); });
    case Coll::gatherv: return go([&](void* a, void* b) { return form.gatherv(s, a, b); });
    case Coll::scatterv: return go([&](void* a, void* b) { return form.scatterv(s, a, b); });
    case Coll::alltoallv: return go([&](void* a, void* b) { return form.alltoallv(s, a, b); });
  }
}

class LibcollLibrary : public Library {
 public:
  LibcollLibrary(Comm& comm, const std::string& algorithm) : comm_(comm), algorithm_(algorithm) {}
  void barrier() override { comm_.barrier(); }

 protected:
  template <class F>
  F form() const { return F{{comm_, CallOptions{.algorithm = algorithm_}}}; }

 private:
  Comm& comm_;
  const std::string algorithm_;
};

class BlockingLibrary final : public LibcollLibrary {
  using LibcollLibrary::LibcollLibrary;
  void run(const Shape& s, Loop& loop) override {
    with_call(form<Blocking>(), s, [&](const auto& call) { timed_loop(loop, call); });
  }
};

class StartedLibrary final : public LibcollLibrary {
  using LibcollLibrary::LibcollLibrary;
  void run(const Shape& s, Loop& loop) override {
    with_call(form<Started>(), s, [&](const auto& call) { timed_loop(loop, [&](void* send, void* recv) { call(send, recv).wait(); }); });
  }
};

// One Persistent per pair of buffers, made outside the timed part.
class PersistentLibrary final : public LibcollLibrary {
  using LibcollLibrary::LibcollLibrary;
  void run(const Shape& s, Loop& loop) override {
    std::unordered_map<void*, libcoll::Persistent> plans;
    libcoll::Persistent* plan = nullptr;
    with_call(form<Planned>(), s, [&](const auto& make) {
      const auto prepare = [&](void* send, void* recv) {
        const auto found = plans.find(recv);
        plan = found != plans.end() ? &found->second : &plans.emplace(recv, make(send, recv)).first->second;
      };
      timed_loop(loop, [&](void*, void*) { plan->start(), plan->wait(); }, prepare);
    });
  }
};

}  // namespace

std::unique_ptr<Library> libcoll_library(Comm& comm, const std::string& algorithm) { return std::make_unique<BlockingLibrary>(comm, algorithm); }
std::unique_ptr<Library> started_library(Comm& comm, const std::string& algorithm) { return std::make_unique<StartedLibrary>(comm, algorithm); }
std::unique_ptr<Library> persistent_library(Comm& comm, const std::string& algorithm) { return std::make_unique<PersistentLibrary>(comm, algorithm); }

void run_with_computation(Comm& comm, const std::string& algorithm, const Shape& s, ComputeLoop& loop) {
  with_call(Started{{comm, CallOptions{.algorithm = algorithm}}}, s, [&](const auto& call) { computing_loop(loop, call); });
}

}  // namespace bench
