#include "coll_bench/mpi_side.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <limits>
#include <optional>
#include <stdexcept>
#include <vector>

#include "libcoll/mpi.hpp"

namespace bench::mpi {

namespace {

using libcoll::DType;
using libcoll::Op;

std::optional<MPI_Datatype> type_of(DType t) {
  switch (t) {
    case DType::i8:
      return MPI_SIGNED_CHAR;
    case DType::i16:
      return MPI_INT16_T;
    case DType::i32:
      return MPI_INT;
    case DType::i64:
      return MPI_INT64_T;
    case DType::u8:
      return MPI_UINT8_T;
    case DType::u16:
      return MPI_UINT16_T;
    case DType::u32:
      return MPI_UINT32_T;
    case DType::u64:
      return MPI_UINT64_T;
    case DType::f32:
      return MPI_FLOAT;
    case DType::f64:
      return MPI_DOUBLE;
    case DType::c64:
      return MPI_C_FLOAT_COMPLEX;
    case DType::c128:
      return MPI_C_DOUBLE_COMPLEX;
    case DType::boolean:
      return MPI_C_BOOL;
    case DType::byte:
      return MPI_BYTE;
    default:
      return {};  // f16, bf16, fp8
  }
}

std::optional<MPI_Op> op_of(Op op) {
  switch (op) {
    case Op::sum:
      return MPI_SUM;
    case Op::prod:
      return MPI_PROD;
    case Op::min:
      return MPI_MIN;
    case Op::max:
      return MPI_MAX;
    case Op::land:
      return MPI_LAND;
    case Op::lor:
      return MPI_LOR;
    case Op::lxor:
      return MPI_LXOR;
    case Op::band:
      return MPI_BAND;
    case Op::bor:
      return MPI_BOR;
    case Op::bxor:
      return MPI_BXOR;
    default:
      return {};  // avg
  }
}

void check(int code) {
  if (code == MPI_SUCCESS) [[likely]]
    return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw std::runtime_error(fmt::format("MPI: {}", text));
}

int to_int(Count n) {
  if (n > std::numeric_limits<int>::max())
    throw std::runtime_error(fmt::format("MPI: count {} does not fit an int", n));
  return static_cast<int>(n);
}

// The functions by one of their two names: MPI_, which preloaded libraries see, or PMPI_, which they do not.
#define COLL_BENCH_NAMES(prefix)                                                                                            \
  struct prefix##Names {                                                                                                    \
    static constexpr auto Barrier = &prefix##_Barrier;                                                                      \
    static constexpr auto Bcast = &prefix##_Bcast;                                                                          \
    static constexpr auto Reduce = &prefix##_Reduce;                                                                        \
    static constexpr auto Allreduce = &prefix##_Allreduce;                                                                  \
    static constexpr auto Reduce_scatter_block = &prefix##_Reduce_scatter_block;                                            \
    static constexpr auto Scan = &prefix##_Scan;                                                                            \
    static constexpr auto Exscan = &prefix##_Exscan;                                                                        \
    static constexpr auto Allgather = &prefix##_Allgather;                                                                  \
    static constexpr auto Gather = &prefix##_Gather;                                                                        \
    static constexpr auto Scatter = &prefix##_Scatter;                                                                      \
    static constexpr auto Alltoall = &prefix##_Alltoall;                                                                    \
    static constexpr auto Allgatherv = &prefix##_Allgatherv;                                                                \
    static constexpr auto Gatherv = &prefix##_Gatherv;                                                                      \
    static constexpr auto Scatterv = &prefix##_Scatterv;                                                                    \
    static constexpr auto Alltoallv = &prefix##_Alltoallv;                                                                  \
  }
COLL_BENCH_NAMES(MPI);
COLL_BENCH_NAMES(PMPI);
#undef COLL_BENCH_NAMES

template <class Names>
class MpiLibrary final : public Library {
 public:
  void barrier() override { check(Names::Barrier(comm_)); }
  void run(const Shape&, Loop&) override;

 private:
  MPI_Comm comm_ = MPI_COMM_WORLD;
};

template <class Names>
void MpiLibrary<Names>::run(const Shape& s, Loop& loop) {
  // Types that MPI lacks are moved as bytes; parse() refused to reduce them.
  const MPI_Comm comm = comm_;
  const bool as_bytes = !type_of(s.dtype);
  const MPI_Datatype t = as_bytes ? MPI_BYTE : *type_of(s.dtype);
  const MPI_Op op = op_of(s.op).value_or(MPI_SUM);
  const Count scale = as_bytes ? static_cast<Count>(s.element_bytes()) : 1;
  const int n = to_int(s.count * scale), root = s.root;
  std::vector<int> count_list, displ_list;
  for (const Count c : s.counts) count_list.push_back(to_int(c * scale));
  for (const Count d : s.displs) displ_list.push_back(to_int(d * scale));
  const int *counts = count_list.data(), *displs = displ_list.data();
  switch (s.coll) {
    case Coll::barrier:
      return timed_loop(loop, [&](void*, void*) { check(Names::Barrier(comm)); });
    case Coll::bcast:
      return timed_loop(loop, [&](void*, void* recv) { check(Names::Bcast(recv, n, t, root, comm)); });
    case Coll::reduce:
      return timed_loop(loop,
                        [&](void* send, void* recv) { check(Names::Reduce(send, recv, n, t, op, root, comm)); });
    case Coll::allreduce:
      return timed_loop(loop,
                        [&](void* send, void* recv) { check(Names::Allreduce(send, recv, n, t, op, comm)); });
    case Coll::reduce_scatter:
      return timed_loop(
          loop, [&](void* send, void* recv) { check(Names::Reduce_scatter_block(send, recv, n, t, op, comm)); });
    case Coll::allgather:
      return timed_loop(loop,
                        [&](void* send, void* recv) { check(Names::Allgather(send, n, t, recv, n, t, comm)); });
    case Coll::gather:
      return timed_loop(
          loop, [&](void* send, void* recv) { check(Names::Gather(send, n, t, recv, n, t, root, comm)); });
    case Coll::scatter:
      return timed_loop(
          loop, [&](void* send, void* recv) { check(Names::Scatter(send, n, t, recv, n, t, root, comm)); });
    case Coll::alltoall:
      return timed_loop(loop,
                        [&](void* send, void* recv) { check(Names::Alltoall(send, n, t, recv, n, t, comm)); });
    case Coll::scan:
      return timed_loop(loop, [&](void* send, void* recv) { check(Names::Scan(send, recv, n, t, op, comm)); });
    case Coll::exscan:
      return timed_loop(loop, [&](void* send, void* recv) { check(Names::Exscan(send, recv, n, t, op, comm)); });
    case Coll::allgatherv:
      return timed_loop(loop, [&](void* send, void* recv) {
        check(Names::Allgatherv(send, n, t, recv, counts, displs, t, comm));
      });
    case Coll::gatherv:
      return timed_loop(loop, [&](void* send, void* recv) {
        check(Names::Gatherv(send, n, t, recv, counts, displs, t, root, comm));
      });
    case Coll::scatterv:
      return timed_loop(loop, [&](void* send, void* recv) {
        check(Names::Scatterv(send, counts, displs, t, recv, n, t, root, comm));
      });
    case Coll::alltoallv:
      return timed_loop(loop, [&](void* send, void* recv) {
        check(Names::Alltoallv(send, counts, displs, t, recv, counts, displs, t, comm));
      });
  }
}

}  // namespace

const bool built_in = true;

bool can_reduce(DType dtype, Op op) { return type_of(dtype) && op_of(op); }

std::string version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(text, &length);
  std::string all(text);
  std::string first = all.substr(0, all.find('\n'));
  // Open MPI puts everything on its first line; MPICH's is "MPICH Version:", a tab and the number.
  if (first.starts_with("MPICH Version:"))
    first = fmt::format("MPICH {}", first.substr(first.find_last_of(" \t") + 1));
  return first.substr(0, first.find(", package:"));
}

std::string waiting() {
  // Which kind of variable it is, is up to the MPI: small integers all of them.
  int provided = 0, index = 0, count = 0;
  if (MPI_T_init_thread(MPI_THREAD_SINGLE, &provided) != MPI_SUCCESS) return {};
  std::string text;
  MPI_T_cvar_handle handle = MPI_T_CVAR_HANDLE_NULL;
  if (MPI_T_cvar_get_index("mpi_yield_when_idle", &index) == MPI_SUCCESS && MPI_T_cvar_handle_alloc(index, nullptr, &handle, &count) == MPI_SUCCESS) {
    long long value = 0;
    if (count == 1 && MPI_T_cvar_read(handle, &value) == MPI_SUCCESS)
      text = value != 0 ? "waiting ranks yield (mpi_yield_when_idle 1)" : "waiting ranks do not yield (mpi_yield_when_idle 0)";
    MPI_T_cvar_handle_free(&handle);
  }
  MPI_T_finalize();
  return text;
}

void start() {
  MPI_Init(nullptr, nullptr);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
}
void stop() { MPI_Finalize(); }
void abort() {
  MPI_Abort(MPI_COMM_WORLD, 1);
  std::_Exit(1);
}

int rank() {
  int r = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &r);
  return r;
}

int size() {
  int n = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &n);
  return n;
}

void allgather(const void* send, void* recv, std::size_t bytes) {
  const int n = to_int(static_cast<Count>(bytes));
  check(MPI_Allgather(send, n, MPI_BYTE, recv, n, MPI_BYTE, MPI_COMM_WORLD));
}

libcoll::Comm make_comm() { return libcoll::Comm::from_mpi(MPI_COMM_WORLD); }

std::unique_ptr<Library> library() { return std::make_unique<MpiLibrary<MPINames>>(); }
std::unique_ptr<Library> profiled_library() { return std::make_unique<MpiLibrary<PMPINames>>(); }

}  // namespace bench::mpi
