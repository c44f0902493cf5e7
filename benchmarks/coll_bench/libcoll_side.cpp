#include "coll_bench/library.hpp"

namespace bench {

namespace {

class LibcollLibrary final : public Library {
 public:
  LibcollLibrary(libcoll::Comm& comm, const std::string& algorithm) : comm_(comm), algorithm_(algorithm) {}
  void barrier() override { comm_.barrier(); }
  void run(const Shape& s, Loop& loop) override;

 private:
  libcoll::Comm& comm_;
  std::string algorithm_;
};

void LibcollLibrary::run(const Shape& s, Loop& loop) {
  libcoll::Comm& c = comm_;
  const libcoll::CallOptions o{.algorithm = algorithm_};
  const Count n = s.count;
  const std::span<const Count> counts = s.counts, displs = s.displs;
  switch (s.coll) {
    case Coll::barrier:
      return timed_loop(loop, [&](void*, void*) { c.barrier(o); });
    case Coll::bcast:
      return timed_loop(loop, [&](void*, void* recv) { c.bcast(recv, n, s.dtype, s.root, o); });
    case Coll::reduce:
      return timed_loop(loop,
                        [&](void* send, void* recv) { c.reduce(send, recv, n, s.dtype, s.op, s.root, o); });
    case Coll::allreduce:
      return timed_loop(loop, [&](void* send, void* recv) { c.allreduce(send, recv, n, s.dtype, s.op, o); });
    case Coll::reduce_scatter:
      return timed_loop(
          loop, [&](void* send, void* recv) { c.reduce_scatter_block(send, recv, n, s.dtype, s.op, o); });
    case Coll::allgather:
      return timed_loop(loop, [&](void* send, void* recv) { c.allgather(send, recv, n, s.dtype, o); });
    case Coll::gather:
      return timed_loop(loop, [&](void* send, void* recv) { c.gather(send, recv, n, s.dtype, s.root, o); });
    case Coll::scatter:
      return timed_loop(loop, [&](void* send, void* recv) { c.scatter(send, recv, n, s.dtype, s.root, o); });
    case Coll::alltoall:
      return timed_loop(loop, [&](void* send, void* recv) { c.alltoall(send, recv, n, s.dtype, o); });
    case Coll::scan:
      return timed_loop(loop, [&](void* send, void* recv) { c.scan(send, recv, n, s.dtype, s.op, o); });
    case Coll::exscan:
      return timed_loop(loop, [&](void* send, void* recv) { c.exscan(send, recv, n, s.dtype, s.op, o); });
    case Coll::allgatherv:
      return timed_loop(
          loop, [&](void* send, void* recv) { c.allgatherv(send, n, recv, counts, displs, s.dtype, o); });
    case Coll::gatherv:
      return timed_loop(loop, [&](void* send, void* recv) {
        c.gatherv(send, n, recv, counts, displs, s.dtype, s.root, o);
      });
    case Coll::scatterv:
      return timed_loop(loop, [&](void* send, void* recv) {
        c.scatterv(send, counts, displs, recv, n, s.dtype, s.root, o);
      });
    case Coll::alltoallv:
      return timed_loop(loop, [&](void* send, void* recv) {
        c.alltoallv(send, counts, displs, recv, counts, displs, s.dtype, o);
      });
  }
}

}  // namespace

std::unique_ptr<Library> libcoll_library(libcoll::Comm& comm, const std::string& algorithm) {
  return std::make_unique<LibcollLibrary>(comm, algorithm);
}

}  // namespace bench
