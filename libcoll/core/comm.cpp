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
  if (o.timeout_s < 0) c.refuse(coll, fmt::format("timeout_s is {}; it must be positive, or 0 for the communicator's", o.timeout_s));
  if (o.algorithm.empty()) return Algorithm::automatic;
  for (const Algorithm a : {Algorithm::direct, Algorithm::sliced})
    if (o.algorithm == name_of(a)) return a;
  c.refuse(coll, fmt::format("algorithm \"{}\" is unknown; choose direct or sliced, or leave it empty", o.algorithm));
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
using detail::require_count;
using detail::resolve;
using detail::run;

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

CommImpl& Comm::impl() const {
  if (!impl_) [[unlikely]] throw Error(Errc::closed, "libcoll: this Comm is empty or was closed");
  return *impl_;
}

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
Comm Comm::split(Level level) { return Comm(impl().split(impl().color_at(level), 0)); }
Comm Comm::dup() { return Comm(impl().split(0, 0)); }

void Comm::close() {
  impl().close();
  impl_.reset();
}

const Topology& Comm::topology() const { return impl().topology(); }
std::size_t Comm::shared_memory_bytes() const { return impl().world().host->heap().touched_bytes(); }
void Comm::set_progress_hook(void (*hook)(void*), void* context) noexcept {
  if (impl_) impl_->world().host->hook = {hook, context};
}

std::string Comm::describe() const {
  CommImpl& c = impl();
  const auto& host = *c.world().host;
  const auto& costs = host.costs();
  const auto& shape = c.group().shape();
  return fmt::format("rank {} of {}: shared memory, {}; line transfer {:.0f} ns, copy {:.1f} GB/s, process_vm_readv {} ({:.0f} ns + {:.1f} GB/s, from {} bytes); {}",
                     c.rank(), c.size(), host.oversubscribed() ? "more ranks than CPUs" : "a CPU for every rank", costs.line_ns, costs.copy_gbps,
                     host.single_copy() ? "allowed" : "not allowed", costs.remote_call_ns, costs.remote_gbps,
                     shape.remote_from == ~std::size_t{0} ? std::string("never") : std::to_string(shape.remote_from), costs.measured ? "measured" : "assumed");
}

void Comm::barrier(const CallOptions& o) {
  CommImpl& c = impl();
  const Call call{.coll = Coll::barrier, .algorithm = quick_algorithm(c, Coll::barrier, o)};
  run(c.plan(call), {.timeout_s = o.timeout_s});
}

void Comm::bcast(void* buffer, Count count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  const auto element = static_cast<std::uint32_t>(size_of(type));
  Call call{.coll = Coll::bcast, .dtype = type, .algorithm = quick_algorithm(c, Coll::bcast, o), .root = static_cast<std::uint32_t>(root),
            .count = count, .element_bytes = element};
  require_count(c, call.coll, count, element, 1);
  if (count != 0 && buffer == nullptr) c.refuse(call.coll, "buffer is a null pointer");
  run(c.plan(call), {.recv = buffer, .timeout_s = o.timeout_s});
}

void Comm::allreduce(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  const std::uint32_t element = detail::element_bytes_of(type, op);
  Call call{.coll = Coll::allreduce, .dtype = type, .op = op.op(), .algorithm = quick_algorithm(c, Coll::allreduce, o), .count = count, .element_bytes = element};
  Args args{.send = send, .recv = recv, .custom = op.custom(), .timeout_s = o.timeout_s};
  if (op.op() == Op::custom) [[unlikely]] check_custom(c, call.coll, type, op);
  require_count(c, call.coll, count, element, 1);
  const std::uint64_t bytes = static_cast<std::uint64_t>(count) * element;
  resolve(c, call, args, bytes, bytes, 0);
  run(c.plan(call), args);
}

void Comm::reduce(const void* send, void* recv, Count count, DType type, ReduceOp op, int root, const CallOptions& o) {
  CommImpl& c = impl();
  const std::uint32_t element = detail::element_bytes_of(type, op);
  Call call{.coll = Coll::reduce, .dtype = type, .op = op.op(), .algorithm = quick_algorithm(c, Coll::reduce, o),
            .root = static_cast<std::uint32_t>(root), .count = count, .element_bytes = element};
  Args args{.send = send, .recv = recv, .custom = op.custom(), .timeout_s = o.timeout_s};
  check_custom(c, call.coll, type, op);
  require_count(c, call.coll, count, element, 1);
  const std::uint64_t bytes = static_cast<std::uint64_t>(count) * element;
  if (root == c.rank()) {
    resolve(c, call, args, bytes, bytes, 0);
  } else {
    if (is_in_place(send)) c.refuse(call.coll, "send is in_place, which only the root may pass");
    args.recv = nullptr;
    if (bytes != 0 && send == nullptr) c.refuse(call.coll, "send is a null pointer");
  }
  run(c.plan(call), args);
}

void Comm::reduce_scatter_block(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  const std::uint32_t element = detail::element_bytes_of(type, op);
  Call call{.coll = Coll::reduce_scatter_block, .dtype = type, .op = op.op(), .algorithm = quick_algorithm(c, Coll::reduce_scatter_block, o),
            .count = count, .element_bytes = element};
  Args args{.send = send, .recv = recv, .custom = op.custom(), .timeout_s = o.timeout_s};
  check_custom(c, call.coll, type, op);
  const auto ranks = static_cast<std::uint64_t>(c.size());
  require_count(c, call.coll, count, element, ranks);
  const std::uint64_t bytes = static_cast<std::uint64_t>(count) * element;
  resolve(c, call, args, bytes * ranks, bytes, 0);
  run(c.plan(call), args);
}

void Comm::allgather(const void* send, void* recv, Count count, DType type, const CallOptions& o) {
  CommImpl& c = impl();
  const auto element = static_cast<std::uint32_t>(size_of(type));
  Call call{.coll = Coll::allgather, .dtype = type, .algorithm = quick_algorithm(c, Coll::allgather, o), .count = count, .element_bytes = element};
  Args args{.send = send, .recv = recv, .timeout_s = o.timeout_s};
  const auto ranks = static_cast<std::uint64_t>(c.size());
  require_count(c, call.coll, count, element, ranks);
  const std::uint64_t bytes = static_cast<std::uint64_t>(count) * element, own = static_cast<std::uint64_t>(c.rank()) * bytes;
  if (!is_in_place(send) && recv != nullptr && send == static_cast<std::byte*>(recv) + own) args.send = in_place;
  resolve(c, call, args, bytes, bytes * ranks, own);
  run(c.plan(call), args);
}

void Comm::gather(const void* send, void* recv, Count count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  const auto element = static_cast<std::uint32_t>(size_of(type));
  Call call{.coll = Coll::gather, .dtype = type, .algorithm = quick_algorithm(c, Coll::gather, o), .root = static_cast<std::uint32_t>(root),
            .count = count, .element_bytes = element};
  Args args{.send = send, .recv = recv, .timeout_s = o.timeout_s};
  const auto ranks = static_cast<std::uint64_t>(c.size());
  require_count(c, call.coll, count, element, ranks);
  const std::uint64_t bytes = static_cast<std::uint64_t>(count) * element;
  if (root == c.rank()) resolve(c, call, args, bytes, bytes * ranks, static_cast<std::uint64_t>(root) * bytes);
  else if (is_in_place(send)) c.refuse(call.coll, "send is in_place, which only the root may pass");
  else if (bytes != 0 && send == nullptr) c.refuse(call.coll, "send is a null pointer");
  run(c.plan(call), args);
}

void Comm::scatter(const void* send, void* recv, Count count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  const auto element = static_cast<std::uint32_t>(size_of(type));
  Call call{.coll = Coll::scatter, .dtype = type, .algorithm = quick_algorithm(c, Coll::scatter, o), .root = static_cast<std::uint32_t>(root),
            .count = count, .element_bytes = element};
  Args args{.send = send, .recv = recv, .timeout_s = o.timeout_s};
  const auto ranks = static_cast<std::uint64_t>(c.size());
  require_count(c, call.coll, count, element, ranks);
  const std::uint64_t bytes = static_cast<std::uint64_t>(count) * element;
  if (root == c.rank()) {
    if (bytes != 0 && send == nullptr) c.refuse(call.coll, "send is a null pointer");
    // In place: the root's block stays where it is.
    if (is_in_place(recv)) args.recv = static_cast<std::byte*>(const_cast<void*>(send)) + static_cast<std::uint64_t>(root) * bytes;
  } else if (is_in_place(recv)) {
    c.refuse(call.coll, "recv is in_place, which only the root may pass");
  }
  if (bytes != 0 && args.recv == nullptr) c.refuse(call.coll, "recv is a null pointer");
  run(c.plan(call), args);
}

void Comm::alltoall(const void* send, void* recv, Count count, DType type, const CallOptions& o) {
  CommImpl& c = impl();
  const auto element = static_cast<std::uint32_t>(size_of(type));
  Call call{.coll = Coll::alltoall, .dtype = type, .algorithm = quick_algorithm(c, Coll::alltoall, o), .count = count, .element_bytes = element};
  Args args{.send = send, .recv = recv, .timeout_s = o.timeout_s};
  const auto ranks = static_cast<std::uint64_t>(c.size());
  require_count(c, call.coll, count, element, ranks);
  const std::uint64_t bytes = static_cast<std::uint64_t>(count) * element * ranks;
  resolve(c, call, args, bytes, bytes, 0);
  run(c.plan(call), args);
}

static void scan_of(CommImpl& c, Coll coll, const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  const std::uint32_t element = detail::element_bytes_of(type, op);
  Call call{.coll = coll, .dtype = type, .op = op.op(), .algorithm = quick_algorithm(c, coll, o), .count = count, .element_bytes = element};
  Args args{.send = send, .recv = recv, .custom = op.custom(), .timeout_s = o.timeout_s};
  check_custom(c, coll, type, op);
  require_count(c, coll, count, element, 1);
  const std::uint64_t bytes = static_cast<std::uint64_t>(count) * element;
  resolve(c, call, args, bytes, bytes, 0);
  run(c.plan(call), args);
}

void Comm::scan(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  scan_of(impl(), Coll::scan, send, recv, count, type, op, o);
}

void Comm::exscan(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  scan_of(impl(), Coll::exscan, send, recv, count, type, op, o);
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
