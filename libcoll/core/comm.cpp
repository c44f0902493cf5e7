// The C++ surface: make a Call, find its Plan, run it. Forms with counts per rank: comm_vector.cpp.
#include "libcoll/comm.hpp"

#include "libcoll/core/arguments.hpp"
#include "libcoll/core/log.hpp"

namespace libcoll {

using detail::Algorithm;
using detail::algorithm_of;
using detail::Args;
using detail::Call;
using detail::Coll;
using detail::CommImpl;
using detail::Plan;

namespace detail {

Algorithm algorithm_of(CommImpl& c, Coll coll, const CallOptions& o) {
  if (!(o.timeout_s >= 0)) c.refuse(coll, fmt::format("timeout_s is {}; it must be positive, or 0 for the communicator's", o.timeout_s));
  if (o.algorithm.empty()) return Algorithm::automatic;
  for (const Algorithm a : {Algorithm::direct, Algorithm::sliced, Algorithm::grouped})
    if (o.algorithm == name_of(a)) return a;
  c.refuse(coll, fmt::format("algorithm \"{}\" is unknown; choose direct, sliced or grouped, or leave it empty", o.algorithm));
}

void check_custom(CommImpl& c, Coll coll, DType type, const ReduceOp& op) {
  const CustomOp* custom = op.custom();
  if (op.op() == Op::custom && (custom == nullptr || custom->function == nullptr)) c.refuse(coll, "the custom operation has no function");
  if (custom != nullptr && custom->element_bytes != 0 && type != DType::byte)
    c.refuse(coll, fmt::format("a custom operation with element_bytes needs type byte, not {}", name_of(type)));
}

namespace {

// Options cost two comparisons when they are the defaults.
inline Algorithm quick_algorithm(CommImpl& c, Coll coll, const CallOptions& o) {
  if (o.algorithm.empty() && o.timeout_s >= 0) [[likely]] return Algorithm::automatic;
  return algorithm_of(c, coll, o);
}

inline void run(const Plan& plan, const Args& args) { plan.run(*plan.group, args, plan); }

}  // namespace
}  // namespace detail

using detail::quick_algorithm;
using detail::run;

namespace {

std::uint32_t as_root(int root) { return static_cast<std::uint32_t>(root); }

const void* at(const void* p, std::uint64_t offset) { return static_cast<const std::byte*>(p) + offset; }

// Collectives in which every rank has both buffers, of so many blocks of the call's count each. In
// place the operand is the rank's own block of recv (`own_block`).
void run_symmetric(CommImpl& c, Call call, Args args, std::uint64_t send_blocks, std::uint64_t recv_blocks,
                                                 std::uint64_t own_block) {
  const std::uint64_t own = own_block * static_cast<std::uint64_t>(call.count) * call.element_bytes;
  call.in_place = is_in_place(args.send) || args.send == at(args.recv, own);
  const Plan& plan = c.plan(call);
  if (call.in_place != 0) args.send = at(args.recv, own);
  detail::check_buffers(c, plan, args, plan.bytes * send_blocks, plan.bytes * recv_blocks);
  run(plan, args);
}

Call reduction(CommImpl& c, Coll coll, Count count, DType type, const ReduceOp& op, const CallOptions& o) {
  if (op.op() == Op::custom) [[unlikely]] check_custom(c, coll, type, op);
  return {.coll = coll, .dtype = type, .op = op.op(), .algorithm = quick_algorithm(c, coll, o), .count = count,
          .element_bytes = detail::element_bytes_of(type, op)};
}

Call movement(CommImpl& c, Coll coll, Count count, DType type, int root, const CallOptions& o) {
  return {.coll = coll, .dtype = type, .algorithm = quick_algorithm(c, coll, o), .root = as_root(root), .count = count,
          .element_bytes = static_cast<std::uint32_t>(detail::bytes_of(type))};
}

// Neither null nor overlapping other than exactly. What fails here is looked at again, slowly.
inline bool plainly_apart(const void* send, const void* recv, std::uint64_t bytes) {
  const auto a = reinterpret_cast<std::uint64_t>(send), b = reinterpret_cast<std::uint64_t>(recv);
  return a != 0 && b != 0 && (a == b || a - b + bytes - 1 >= 2 * bytes - 1);
}

[[gnu::noinline]] void general_allreduce(CommImpl& c, const void* send, void* recv, Count count, DType type, const ReduceOp& op, const CallOptions& o) {
  run_symmetric(c, reduction(c, Coll::allreduce, count, type, op, o), {.send = send, .recv = recv, .custom = op.custom(), .timeout_s = o.timeout_s}, 1, 1, 0);
}

}  // namespace

Comm::Comm(std::unique_ptr<CommImpl> impl) noexcept : impl_(std::move(impl)) {}
Comm::Comm() noexcept = default;
Comm::Comm(Comm&&) noexcept = default;

Comm& Comm::operator=(Comm&& other) noexcept {
  Comm old(std::move(*this));  // logs if it was left open
  impl_ = std::move(other.impl_);
  return *this;
}

Comm::~Comm() {
  if (impl_ && !impl_->group().broken() && impl_->size() > 1)
    detail::log().warn("a communicator of {} ranks was destroyed without close(); its memory stays in use until its world ends", impl_->size());
}

void Comm::throw_empty() { throw Error(Errc::closed, "libcoll: this Comm is empty or was closed"); }

void Comm::require_size(const char* argument, std::size_t have, std::size_t want) const {
  if (have == want) return;
  impl().announce_refusal();
  throw Error(Errc::invalid_argument, fmt::format("libcoll: rank {} of {}: {} holds {} elements where {} are needed", rank(), size(), argument, have, want));
}

Comm Comm::from_bootstrap(Bootstrap& bootstrap, const Config& config) { return Comm(CommImpl::make_world(bootstrap, config)); }

Comm Comm::from_environment(const Config& config) {
  const auto bootstrap = bootstrap_from_environment();
  return from_bootstrap(*bootstrap, config);
}

Comm Comm::from_callback(int rank, int size, AllgatherFunction allgather, const Config& config) {
  const auto bootstrap = bootstrap_from_callback(rank, size, std::move(allgather));
  return from_bootstrap(*bootstrap, config);
}

int Comm::rank() const noexcept { return impl_ ? impl_->rank() : -1; }
int Comm::size() const noexcept { return impl_ ? impl_->size() : 0; }

Comm Comm::split(int color, int key) { return Comm(impl().split(color, key)); }
Comm Comm::split(Level level) {
  if (static_cast<int>(level) >= level_count) {
    impl().announce_refusal();
    throw Error(Errc::invalid_argument, fmt::format("libcoll: rank {} of {}: split: level {} is unknown", rank(), size(), static_cast<int>(level)));
  }
  return Comm(impl().split(impl().color_at(level), 0));
}
Comm Comm::dup() { return Comm(impl().split(0, 0)); }

void Comm::close() {
  impl().close();
  impl_.reset();
}

const Topology& Comm::topology() const { return impl().topology(); }
std::size_t Comm::shared_memory_bytes() const { return impl().world().host->heap().touched_bytes(); }
std::size_t Comm::staging_bytes() const { return impl().world().host->staging().allocated_bytes(); }
void Comm::set_progress_hook(void (*hook)(void*), void* context) noexcept {
  if (impl_) impl_->world().host->hook = {hook, context};
}

std::string Comm::describe() const {
  CommImpl& c = impl();
  const auto& host = *c.world().host;
  const auto& costs = host.costs();
  const auto& shape = c.group().shape();
  return fmt::format("rank {} of {}: shared memory, {}; line transfer {:.0f} ns, copy {:.1f} GB/s, staged {:.1f} GB/s, process_vm_readv {} ({:.0f} ns + {:.1f} GB/s, from {} bytes), staging {}; {}",
                     c.rank(), c.size(), host.oversubscribed() ? "more ranks than CPUs" : "a CPU for every rank", costs.line_ns, costs.copy_gbps, costs.staged_gbps,
                     host.single_copy() ? "allowed" : "not allowed", costs.remote_call_ns, costs.remote_gbps,
                     shape.remote_from == ~std::size_t{0} ? std::string("never") : std::to_string(shape.remote_from), c.group().staging_streams() ? "streamed" : "cached", costs.measured ? "measured" : "assumed");
}

void Comm::barrier(const CallOptions& o) {
  CommImpl& c = impl();
  if (o.algorithm.empty() && o.timeout_s == 0) [[likely]] {
    constexpr Call call{.coll = Coll::barrier};
    if (const Plan* plan = c.cached_plan(call)) [[likely]] return run(*plan, {});
  }
  run(c.plan({.coll = Coll::barrier, .algorithm = quick_algorithm(c, Coll::barrier, o)}), {.timeout_s = o.timeout_s});
}

// The one collective whose every instruction counts: a cached plan and no options are the fast path;
// everything else, errors included, takes the general way.
void Comm::allreduce(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  if (op.op() != Op::custom && o.algorithm.empty() && o.timeout_s == 0) [[likely]] {
    const Call call{.coll = Coll::allreduce, .dtype = type, .op = op.op(), .count = count,
                    .element_bytes = static_cast<std::uint32_t>(detail::bytes_of(type)), .in_place = is_in_place(send) || send == recv};
    const Args args{.send = call.in_place != 0 ? recv : send, .recv = recv};
    const Plan* plan = c.cached_plan(call);
    if (plan != nullptr && plainly_apart(args.send, recv, plan->bytes)) [[likely]] return run(*plan, args);
  }
  general_allreduce(c, send, recv, count, type, op, o);
}

void Comm::reduce_scatter_block(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  run_symmetric(c, reduction(c, Coll::reduce_scatter_block, count, type, op, o),
                {.send = send, .recv = recv, .custom = op.custom(), .timeout_s = o.timeout_s}, static_cast<std::uint64_t>(c.size()), 1, 0);
}

void Comm::scan(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  run_symmetric(c, reduction(c, Coll::scan, count, type, op, o), {.send = send, .recv = recv, .custom = op.custom(), .timeout_s = o.timeout_s}, 1, 1, 0);
}

void Comm::exscan(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  run_symmetric(c, reduction(c, Coll::exscan, count, type, op, o), {.send = send, .recv = recv, .custom = op.custom(), .timeout_s = o.timeout_s}, 1, 1, 0);
}

void Comm::allgather(const void* send, void* recv, Count count, DType type, const CallOptions& o) {
  CommImpl& c = impl();
  run_symmetric(c, movement(c, Coll::allgather, count, type, 0, o), {.send = send, .recv = recv, .timeout_s = o.timeout_s}, 1,
                static_cast<std::uint64_t>(c.size()), static_cast<std::uint64_t>(c.rank()));
}

void Comm::alltoall(const void* send, void* recv, Count count, DType type, const CallOptions& o) {
  CommImpl& c = impl();
  const auto ranks = static_cast<std::uint64_t>(c.size());
  run_symmetric(c, movement(c, Coll::alltoall, count, type, 0, o), {.send = send, .recv = recv, .timeout_s = o.timeout_s}, ranks, ranks, 0);
}

void Comm::bcast(void* buffer, Count count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  const Plan& plan = c.plan(movement(c, Coll::bcast, count, type, root, o));
  if (plan.bytes != 0 && buffer == nullptr) c.refuse(Coll::bcast, "buffer is a null pointer");
  run(plan, {.recv = buffer, .timeout_s = o.timeout_s});
}

void Comm::reduce(const void* send, void* recv, Count count, DType type, ReduceOp op, int root, const CallOptions& o) {
  CommImpl& c = impl();
  Call call = reduction(c, Coll::reduce, count, type, op, o);
  call.root = as_root(root);
  const bool am_root = root == c.rank();
  call.in_place = am_root && (is_in_place(send) || send == recv);
  const Plan& plan = c.plan(call);
  if (!am_root && is_in_place(send)) c.refuse(call.coll, "send is in_place, which only the root may pass");
  const Args args{.send = call.in_place != 0 ? recv : send, .recv = am_root ? recv : nullptr, .custom = op.custom(), .timeout_s = o.timeout_s};
  detail::check_buffers(c, plan, args, plan.bytes, am_root ? plan.bytes : 0);
  run(plan, args);
}

void Comm::gather(const void* send, void* recv, Count count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  Call call = movement(c, Coll::gather, count, type, root, o);
  const bool am_root = root == c.rank();
  const std::uint64_t own = static_cast<std::uint64_t>(c.rank()) * static_cast<std::uint64_t>(count) * call.element_bytes;
  call.in_place = am_root && (is_in_place(send) || send == at(recv, own));
  const Plan& plan = c.plan(call);
  if (!am_root && is_in_place(send)) c.refuse(call.coll, "send is in_place, which only the root may pass");
  const Args args{.send = call.in_place != 0 ? at(recv, own) : send, .recv = recv, .timeout_s = o.timeout_s};
  detail::check_buffers(c, plan, args, plan.bytes, am_root ? plan.bytes * static_cast<std::uint64_t>(c.size()) : 0);
  run(plan, args);
}

void Comm::scatter(const void* send, void* recv, Count count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  Call call = movement(c, Coll::scatter, count, type, root, o);
  const bool am_root = root == c.rank();
  const void* own = at(send, static_cast<std::uint64_t>(c.rank()) * static_cast<std::uint64_t>(count) * call.element_bytes);
  call.in_place = am_root && (is_in_place(recv) || recv == own);
  const Plan& plan = c.plan(call);
  if (!am_root && is_in_place(recv)) c.refuse(call.coll, "recv is in_place, which only the root may pass");
  // In place: the root's block stays where it is.
  const Args args{.send = send, .recv = call.in_place != 0 ? const_cast<void*>(own) : recv, .timeout_s = o.timeout_s};
  detail::check_buffers(c, plan, args, am_root ? plan.bytes * static_cast<std::uint64_t>(c.size()) : 0, plan.bytes);
  run(plan, args);
}

Buffer Comm::allocate(std::size_t bytes) {
  CommImpl& c = impl();
  auto& heap = c.world().host->heap();
  if (bytes == 0) throw Error(Errc::invalid_argument, fmt::format("libcoll: rank {} of {}: allocate: bytes is 0", rank(), size()));
  const std::uint64_t offset = bytes < heap.arena_bytes() ? heap.allocate(bytes) : 0;
  if (offset == 0 || !heap.populate(offset, bytes)) {
    if (offset != 0) heap.release(offset);
    throw Error(Errc::system, fmt::format("libcoll: rank {} of {}: allocate: the arena has no room for {} bytes (LIBCOLL_ARENA_BYTES is {}, or the "
                                          "machine is out of memory)", rank(), size(), bytes, heap.arena_bytes()));
  }
  Buffer b;
  b.world_ = c.world_ptr();
  b.data_ = heap.at(offset);
  b.bytes_ = bytes;
  return b;
}

Buffer::Buffer(Buffer&& other) noexcept : world_(std::move(other.world_)), data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  Buffer old(std::move(*this));
  world_ = std::move(other.world_);
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  auto& heap = static_cast<detail::World*>(world_.get())->host->heap();
  heap.release(heap.offset_of(data_));
}

}  // namespace libcoll
