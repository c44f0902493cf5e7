// Comm: a communicator, the handle on every collective.
// Movable, not copyable. One thread at a time per Comm; different Comms may be used by different
// threads at once. All collectives must be called in the same order by every rank of the Comm.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libcoll/bootstrap.hpp"
#include "libcoll/config.hpp"
#include "libcoll/error.hpp"
#include "libcoll/message.hpp"
#include "libcoll/request.hpp"
#include "libcoll/topology.hpp"
#include "libcoll/types.hpp"

namespace libcoll {

using Count = std::int64_t;  // elements; negative counts are refused with a clear Error

// How much the bits of a floating-point reduction may vary. Inside a host every level below gives
// the same bits: reductions always run in rank order, whatever the size, chunking or placement.
enum class Determinism : std::uint8_t { fast, run_to_run, placement };

// Where the buffers of a call lie, on all ranks. Only worlds that use GPUs (Config::gpu) look at it.
enum class Memory : std::uint8_t {
  automatic,  // CUDA is asked, and ranks agree by an exchange before the call; with a stream: device
  host,       // host memory everywhere: nobody asks
  device,     // memory of each rank's GPU everywhere
  mixed,      // host memory here, GPU memory there: copied through host memory where it has to
};

// A CUDA stream: a cudaStream_t, null being the default one. {.stream = my_stream}
struct Stream {
  constexpr Stream() noexcept = default;
  constexpr Stream(std::nullptr_t) noexcept : given(true) {}
  template <class T>
  constexpr Stream(T* s) noexcept : handle(s), given(true) {}
  void* handle = nullptr;
  bool given = false;
};

// Per-call options; must be equal on all ranks (of a stream: that there is one). comm.allreduce(..., {.algorithm = "sliced"}).
struct CallOptions {
  // "" lets the library choose. Inside a host: "direct" (allreduce, reduce: one hop, everyone reads
  // everything), "sliced" (allreduce, reduce: everyone reduces a slice) or "grouped" (barrier, allreduce
  // up to 48 bytes: by way of group leaders). Else a recipe, "ring" or "host/rabenseifner:slices=all"
  // (docs/algorithms.md).
  std::string_view algorithm = {};
  Determinism determinism = Determinism::fast;
  Memory memory = Memory::automatic;
  double timeout_s = 0;                          // 0: the communicator's
  // Buffers are in GPU memory, and the call is work on this stream: it returns once that is enqueued. Without one a
  // call begins at once and returns when its results are there; what a stream still does to its buffers is then the
  // caller's to wait for. Calls that have to pass through host memory (docs/gpu.md) wait for the stream in any case.
  Stream stream = {};
};

// Memory that every rank of the host has mapped: collectives on it need no copies. Frees itself;
// must be freed before the last Comm of its world is gone from this process (it keeps the world alive).
class LIBCOLL_API Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&&) noexcept;
  Buffer& operator=(Buffer&&) noexcept;
  ~Buffer();
  void* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return bytes_; }  // bytes
  template <class T>
  std::span<T> span() const noexcept { return {static_cast<T*>(data_), bytes_ / sizeof(T)}; }

 private:
  friend class Comm;
  std::shared_ptr<void> world_;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// GPU memory that NCCL has been told of (Comm::register_buffer): calls on it may go without copies. Ends with its destructor,
// which must not run while such a call is under way, or with the communicator.
class LIBCOLL_API Registration {
 public:
  Registration() = default;
  Registration(Registration&&) noexcept;
  Registration& operator=(Registration&&) noexcept;
  ~Registration();
  bool active() const noexcept;  // false: this NCCL, or this communicator, has no use for it

 private:
  friend class Comm;
  std::shared_ptr<void> owner_;
  std::uint64_t number_ = 0;
};

// What this rank exchanged with the ranks of one host as messages over the network. Payload only: headers,
// retransmissions and the library's own handshakes are not in it, but for Comm::send: its envelopes are messages of 128
// bytes, and words back of 4. A signal is a message of 0 bytes.
struct HostTraffic {
  std::string host;
  std::uint64_t messages_sent = 0, bytes_sent = 0, messages_received = 0, bytes_received = 0;
};

// One way to run a call (Comm::candidates).
struct Candidate {
  std::string recipe;         // for CallOptions::algorithm; "": one native step in shared memory
  double predicted_us = 0;
  bool chosen = false;        // what the call would do
};

// What was measured to be best for a collective up to a size (Comm::tuning_file).
struct TuningRule {
  std::string collective;     // "allreduce"
  Count up_to = 0;            // elements of a block
  DType type = DType::byte;
  Op op = Op::sum;            // of reductions
  std::string recipe;         // "": the library's own choice
};

namespace detail { class CommImpl; }

class LIBCOLL_API Comm {
 public:
  Comm() noexcept;  // empty; only assignment and destruction are valid
  Comm(Comm&&) noexcept;
  Comm& operator=(Comm&&) noexcept;
  ~Comm();  // never communicates; logs a Comm that was not closed

  // Creation is collective over all ranks of the job. Throws Error on every rank if it fails on one.
  static Comm from_environment(const Config& = Config::from_environment());
  static Comm from_callback(int rank, int size, AllgatherFunction, const Config& = Config::from_environment());
  static Comm from_bootstrap(Bootstrap&, const Config& = Config::from_environment());
  // Needs #include <libcoll/mpi.hpp>; a template so that libcoll.so depends on no MPI.
  template <class MpiComm> static Comm from_mpi(MpiComm, const Config& = Config::from_environment());

  int rank() const noexcept;
  int size() const noexcept;

  // Collective. Ranks that pass the same color form a communicator, ordered by (key, rank).
  // A negative color gives an empty Comm.
  Comm split(int color, int key = 0);
  Comm split(Level level);  // ranks that share the named part of the machine
  Comm dup();
  // Collective over `members` only: ranks of this communicator, in the order of the new one's. They exchange a few
  // hundred bytes through `allgather`, which is among them; this communicator is not used. Any thread may call it.
  Comm subset(std::span<const int> members, const AllgatherFunction& allgather) const;
  // Collective; gives the memory back. The Comm is empty afterwards.
  void close();
  // close() for those who may not wait: false while some member has not called it yet. Call it again now and then,
  // and nothing else; once it is true the Comm is empty. A communicator that breaks meanwhile counts as closed.
  bool try_close();
  explicit operator bool() const noexcept { return impl_ != nullptr; }

  // Not collective. Zeroed, 4096-byte aligned, first touched by the caller's CPU. bytes >= 1.
  Buffer allocate(std::size_t bytes);

  // Collective. Tells NCCL of GPU memory of this rank. Where one rank passes registered buffers to a collective, all must (NCCL's rule),
  // so call it on all ranks alike. Throws Errc::invalid_argument for memory that is not of this communicator's GPU.
  Registration register_buffer(void* data, std::size_t bytes);

  // Not collective: whatever is under way on this communicator ends with an Error, here and on the other ranks as they come
  // to know of it, and nothing can be started on it any more. For those who cannot go on; the Comm still wants its close().
  void abort(std::string_view why);
  // Not collective. For those who wait for work that calls have left on a stream: moves the library on, and throws what such work
  // of this communicator has ended with: a lost peer, an error of NCCL. Then the communicator is over, as after abort(). Nothing in
  // a world without GPUs.
  // `ask_system`: also whether the processes of its peers are there, which they need not be once they have done their part.
  void check_streams(bool ask_system);

  // Shape and cost of the machine as this communicator sees it.
  const Topology& topology() const;
  // Bytes of host memory that this process's share of the world has touched (all communicators).
  std::size_t shared_memory_bytes() const;
  // Of these at most so many belong to no communicator: memory in which all communicators of the world
  // stage large private buffers, by turns. 0 until one has.
  std::size_t staging_bytes() const;
  // Buffers of the calls so far on this communicator that other ranks of the host read or wrote in place (memory from
  // allocate, or lent by Config::lent), sources and results. Those of small calls are copied, wherever they lie.
  std::uint64_t lent_buffers() const;
  // Not collective. One entry per host of the world, in the order of their lowest ranks, or nothing where there
  // is no network: this rank's messages with the ranks of that host, over all communicators, since the world was
  // created. Hosts of one machine (an injected hierarchy) are called "name#0", "name#1", ...
  std::vector<HostTraffic> network_traffic() const;
  // What this rank's calls run on: hosts, link costs, transports. One line a person can read.
  std::string describe() const;

  // -- How the library would run a call, by the collective's name ("allreduce"). Not collective; no peer
  //    notices, not even of errors (invalid_argument names what is wrong). count: elements of a block, as the
  //    collective counts them; v-forms: of every rank's block. op and root: where the collective has them.
  // For people: the way chosen, who chose it (cost model, environment, tuning file, caller) and what it is
  // predicted to take, its phases, then the runners-up.
  std::string explain(std::string_view collective, Count count, DType type, ReduceOp op = Op::sum, int root = 0, const CallOptions& = {}) const;
  // All ways worth considering, the cheapest prediction first, but a native step before all. Those that
  // send messages only if the world has a network (several hosts, or LIBCOLL_NETWORK=on).
  std::vector<Candidate> candidates(std::string_view collective, Count count, DType type, ReduceOp op = Op::sum, int root = 0, const CallOptions& = {}) const;
  // For reports: from now on blocking calls of this Comm note the way they took, a few nanoseconds each.
  void note_ways();
  // That of the last one, as explain names it ("direct", a recipe); valid until the next call. "" unless noted.
  std::string_view last_way() const;
  // The text of a tuning file (LIBCOLL_TUNING) with these rules for jobs of this communicator's shape. Of
  // `existing`, the text of another one or "", only what it says of the same collectives in such jobs is replaced.
  std::string tuning_file(std::span<const TuningRule> rules, std::string_view existing = {}) const;

  // A function that the waiting loop calls every few microseconds of waiting (an MPI's progress,
  // say). It must not throw nor call this Comm. World-wide: set before the Comm is used by threads.
  void set_progress_hook(void (*hook)(void*), void* context) noexcept;

  // -- Collectives. `count` is in elements of `type`; buffers of different arguments must not overlap;
  //    send may be `in_place` where MPI allows it, with MPI's meaning. Results are bit-identical on
  //    all ranks. Errors: invalid_argument (nothing happened), mismatch (communicator stays usable),
  //    timeout and peer_lost (communicator is broken, all later calls throw Errc::closed).
  void barrier(const CallOptions& = {});
  void bcast(void* buffer, Count count, DType type, int root, const CallOptions& = {});
  void reduce(const void* send, void* recv, Count count, DType type, ReduceOp op, int root, const CallOptions& = {});
  void allreduce(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& = {});
  // recv_count elements from each rank's vector of size()*recv_count land on each rank.
  void reduce_scatter_block(const void* send, void* recv, Count recv_count, DType type, ReduceOp op, const CallOptions& = {});
  void reduce_scatter(const void* send, void* recv, std::span<const Count> counts, DType type, ReduceOp op, const CallOptions& = {});
  void allgather(const void* send, void* recv, Count count, DType type, const CallOptions& = {});
  void allgatherv(const void* send, Count send_count, void* recv, std::span<const Count> counts,
                  std::span<const Count> displs, DType type, const CallOptions& = {});
  void gather(const void* send, void* recv, Count count, DType type, int root, const CallOptions& = {});
  void gatherv(const void* send, Count send_count, void* recv, std::span<const Count> counts,
               std::span<const Count> displs, DType type, int root, const CallOptions& = {});
  void scatter(const void* send, void* recv, Count count, DType type, int root, const CallOptions& = {});
  void scatterv(const void* send, std::span<const Count> counts, std::span<const Count> displs, void* recv,
                Count recv_count, DType type, int root, const CallOptions& = {});
  void alltoall(const void* send, void* recv, Count count, DType type, const CallOptions& = {});
  void alltoallv(const void* send, std::span<const Count> send_counts, std::span<const Count> send_displs, void* recv,
                 std::span<const Count> recv_counts, std::span<const Count> recv_displs, DType type, const CallOptions& = {});
  void scan(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& = {});
  // Rank 0's recv is left as it was.
  void exscan(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& = {});

  // -- Messages between two ranks (message.hpp). Host memory; tag >= 0; of the options only the timeout means anything. `dest`
  //    and `source` may be this rank; `source` may be any_source. A message of another length than `bytes` ends its receive
  //    with Errc::mismatch, and the communicator goes on.
  //    An isend never waits. Up to 8 KiB (64 KiB to another host) it is done without its receiver, until the receiver has 64
  //    messages of this rank that it has not asked for; from then on, as larger ones do, it waits for the receive.
  Message isend(const void* data, std::size_t bytes, int dest, int tag = 0, const CallOptions& = {});
  Message irecv(void* data, std::size_t bytes, int source, int tag = 0, const CallOptions& = {});
  void send(const void* data, std::size_t bytes, int dest, int tag = 0, const CallOptions& = {});
  int recv(void* data, std::size_t bytes, int source, int tag = 0, const CallOptions& = {});  // the sender's rank

  // -- Started collectives: the same, but they return at once (request.hpp). Buffers must stay as they are
  //    until the request is done; counts and displacements are copied. Several may be under way, started
  //    in the same order on all ranks, also beside blocking ones.
  Request ibarrier(const CallOptions& = {});
  Request ibcast(void* buffer, Count count, DType type, int root, const CallOptions& = {});
  Request ireduce(const void* send, void* recv, Count count, DType type, ReduceOp op, int root, const CallOptions& = {});
  Request iallreduce(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& = {});
  Request ireduce_scatter_block(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& = {});
  Request ireduce_scatter(const void* send, void* recv, std::span<const Count> counts, DType type, ReduceOp op, const CallOptions& = {});
  Request iallgather(const void* send, void* recv, Count count, DType type, const CallOptions& = {});
  Request iallgatherv(const void* send, Count send_count, void* recv, std::span<const Count> counts, std::span<const Count> displs, DType type, const CallOptions& = {});
  Request igather(const void* send, void* recv, Count count, DType type, int root, const CallOptions& = {});
  Request igatherv(const void* send, Count send_count, void* recv, std::span<const Count> counts, std::span<const Count> displs, DType type, int root, const CallOptions& = {});
  Request iscatter(const void* send, void* recv, Count count, DType type, int root, const CallOptions& = {});
  Request iscatterv(const void* send, std::span<const Count> counts, std::span<const Count> displs, void* recv, Count recv_count, DType type, int root, const CallOptions& = {});
  Request ialltoall(const void* send, void* recv, Count count, DType type, const CallOptions& = {});
  Request ialltoallv(const void* send, std::span<const Count> send_counts, std::span<const Count> send_displs, void* recv, std::span<const Count> recv_counts, std::span<const Count> recv_displs, DType type, const CallOptions& = {});
  Request iscan(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& = {});
  Request iexscan(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& = {});

  // -- Persistent collectives: everything but the data is settled now, start() only runs it. Not
  //    collective by themselves; starts are, in the same order on all ranks.
  Persistent plan_barrier(const CallOptions& = {});
  Persistent plan_bcast(void* buffer, Count count, DType type, int root, const CallOptions& = {});
  Persistent plan_reduce(const void* send, void* recv, Count count, DType type, ReduceOp op, int root, const CallOptions& = {});
  Persistent plan_allreduce(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& = {});
  Persistent plan_reduce_scatter_block(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& = {});
  Persistent plan_reduce_scatter(const void* send, void* recv, std::span<const Count> counts, DType type, ReduceOp op, const CallOptions& = {});
  Persistent plan_allgather(const void* send, void* recv, Count count, DType type, const CallOptions& = {});
  Persistent plan_allgatherv(const void* send, Count send_count, void* recv, std::span<const Count> counts, std::span<const Count> displs, DType type, const CallOptions& = {});
  Persistent plan_gather(const void* send, void* recv, Count count, DType type, int root, const CallOptions& = {});
  Persistent plan_gatherv(const void* send, Count send_count, void* recv, std::span<const Count> counts, std::span<const Count> displs, DType type, int root, const CallOptions& = {});
  Persistent plan_scatter(const void* send, void* recv, Count count, DType type, int root, const CallOptions& = {});
  Persistent plan_scatterv(const void* send, std::span<const Count> counts, std::span<const Count> displs, void* recv, Count recv_count, DType type, int root, const CallOptions& = {});
  Persistent plan_alltoall(const void* send, void* recv, Count count, DType type, const CallOptions& = {});
  Persistent plan_alltoallv(const void* send, std::span<const Count> send_counts, std::span<const Count> send_displs, void* recv, std::span<const Count> recv_counts, std::span<const Count> recv_displs, DType type, const CallOptions& = {});
  Persistent plan_scan(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& = {});
  Persistent plan_exscan(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& = {});

  // -- Typed forms: the type and count come from the spans; sizes are checked.
  template <class T> void bcast(std::span<T> buffer, int root, const CallOptions& o = {}) {
    bcast(buffer.data(), count_of(buffer), dtype_of<T>(), root, o);
  }
  template <class T> void allreduce(std::span<const std::type_identity_t<T>> send, std::span<T> recv, ReduceOp op, const CallOptions& o = {}) {
    require_size("send", send.size(), recv.size(), o);
    allreduce(send.data(), recv.data(), count_of(recv), dtype_of<T>(), op, o);
  }
  template <class T> void allreduce(InPlace, std::span<T> recv, ReduceOp op, const CallOptions& o = {}) {
    allreduce(in_place, recv.data(), count_of(recv), dtype_of<T>(), op, o);
  }
  // One value in, the reduced value out.
  template <class T> T allreduce(const T& value, ReduceOp op, const CallOptions& o = {}) {
    T result;
    allreduce(&value, &result, 1, dtype_of<T>(), op, o);
    return result;
  }
  // recv may be empty on ranks other than root.
  template <class T> void reduce(std::span<const std::type_identity_t<T>> send, std::span<T> recv, ReduceOp op, int root, const CallOptions& o = {}) {
    if (rank() == root) require_size("recv", recv.size(), send.size(), o);
    reduce(send.data(), recv.data(), count_of(send), dtype_of<T>(), op, root, o);
  }
  template <class T> void allgather(std::span<const std::type_identity_t<T>> send, std::span<T> recv, const CallOptions& o = {}) {
    require_size("recv", recv.size(), send.size() * static_cast<std::size_t>(size()), o);
    allgather(send.data(), recv.data(), count_of(send), dtype_of<T>(), o);
  }
  template <class T> void reduce_scatter_block(std::span<const std::type_identity_t<T>> send, std::span<T> recv, ReduceOp op, const CallOptions& o = {}) {
    require_size("send", send.size(), recv.size() * static_cast<std::size_t>(size()), o);
    reduce_scatter_block(send.data(), recv.data(), count_of(recv), dtype_of<T>(), op, o);
  }
  template <class T> void alltoall(std::span<const std::type_identity_t<T>> send, std::span<T> recv, const CallOptions& o = {}) {
    require_size("send", send.size(), recv.size(), o);
    require_size("recv", recv.size() % static_cast<std::size_t>(size()), 0, o);
    alltoall(send.data(), recv.data(), count_of(recv) / size(), dtype_of<T>(), o);
  }
  template <class T> void scan(std::span<const std::type_identity_t<T>> send, std::span<T> recv, ReduceOp op, const CallOptions& o = {}) {
    require_size("send", send.size(), recv.size(), o);
    scan(send.data(), recv.data(), count_of(recv), dtype_of<T>(), op, o);
  }

 private:
  explicit Comm(std::unique_ptr<detail::CommImpl>) noexcept;
  detail::CommImpl& impl() const {
    if (!impl_) [[unlikely]] throw_empty();
    return *impl_;
  }
  [[noreturn]] static void throw_empty();
  template <class T> static Count count_of(std::span<T> s) { return static_cast<Count>(s.size()); }
  void require_size(const char* argument, std::size_t have, std::size_t want, const CallOptions&) const;

  std::unique_ptr<detail::CommImpl> impl_;
};

// Not collective: inout[i] = in[i] (op) inout[i], with the bits that collectives give. The two must not overlap. False, and
// nothing done, where the operation is not defined on the type, for avg and for custom ones.
LIBCOLL_API bool reduce_local(const void* in, void* inout, std::size_t count, DType, Op) noexcept;

}  // namespace libcoll
