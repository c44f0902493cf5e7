// The C++ surface: make a Call, find its Plan, run it. Forms with counts per rank: comm_vector.cpp;
// started and persistent forms: comm_start.cpp.
#include "libcoll/comm.hpp"

#include "libcoll/core/log.hpp"
#include "libcoll/core/prepare.hpp"
#include "libcoll/core/recipes.hpp"

namespace libcoll {

using detail::Args;
using detail::Call;
using detail::Coll;
using detail::CommImpl;
using detail::Plan;

namespace detail {

Result<NamedAlgorithm> read_options(const CallOptions& o) {
  if (!(o.timeout_s >= 0)) return failure(Errc::invalid_argument, fmt::format("timeout_s is {}; it must be positive, or 0 for the communicator's", o.timeout_s));
  if (o.algorithm.empty()) return NamedAlgorithm{};
  for (const Algorithm a : {Algorithm::direct, Algorithm::sliced, Algorithm::grouped})
    if (o.algorithm == name_of(a)) return NamedAlgorithm{.native = a};
  if (CommImpl::is_for_devices(o.algorithm)) return NamedAlgorithm{.recipe = std::string(o.algorithm)};
  if (const auto recipe = algo::parse_recipe(o.algorithm); !recipe)
    return failure(Errc::invalid_argument, fmt::format("algorithm \"{}\": {}; choose direct, sliced or grouped, a recipe (docs/algorithms.md), or leave it empty",
                                                       o.algorithm, recipe.error().text));
  return NamedAlgorithm{.recipe = std::string(o.algorithm)};
}

Wanted read_call_options(CommImpl& c, Coll coll, const CallOptions& o) {
  const auto named = read_options(o);
  if (!named) c.refuse(coll, named.error().text);
  const bool gpu_recipe = CommImpl::is_for_devices(named->recipe);
  if (c.devices() == nullptr && (o.stream.given || o.memory == Memory::device || o.memory == Memory::mixed || gpu_recipe))
    c.refuse(coll, fmt::format("{} is for GPU memory, and this world uses no GPUs: {}", o.stream.given ? "a stream" : gpu_recipe ? "this algorithm" : "this option memory", c.world().without_gpus));
  c.note_options(o);
  Wanted w{.algorithm = named->native};
  if (named->recipe.empty()) return w;
  w.recipe = recipe_number(named->recipe);
  if (w.recipe == 0) c.refuse_alike(coll, "more than 255 different algorithms were named");
  return w;
}

std::string custom_objection(DType type, const ReduceOp& op) {
  const CustomOp* custom = op.custom();
  if (op.op() == Op::custom && (custom == nullptr || custom->function == nullptr)) return "the custom operation has no function";
  if (custom != nullptr && custom->element_bytes != 0 && type != DType::byte)
    return fmt::format("a custom operation with element_bytes needs type byte, not {}", name_of(type));
  return {};
}

}  // namespace detail

using detail::RunNow;

namespace {

[[gnu::noinline]] void general_allreduce(CommImpl& c, const void* send, void* recv, Count count, DType type, const ReduceOp& op, const CallOptions& o) {
  detail::prepare_allreduce(c, send, recv, count, type, op, o, RunNow{c, o});
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
  if (impl_ && impl_->broken().empty() && impl_->size() > 1)
    detail::log().warn("a communicator of {} ranks was destroyed without close(); its memory stays in use until its world ends", impl_->size());
}

void Comm::throw_empty() { throw Error(Errc::closed, "libcoll: this Comm is empty or was closed"); }

void Comm::require_size(const char* argument, std::size_t have, std::size_t want, const CallOptions& o) const {
  if (have == want) return;
  impl().note_options(o);
  impl().announce_refusal_alike();
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

Comm Comm::subset(std::span<const int> members, const AllgatherFunction& allgather) const {
  std::vector<int> seen(static_cast<std::size_t>(size()));
  for (const int r : members)
    if (r < 0 || r >= size() || seen[static_cast<std::size_t>(r)]++ != 0)
      throw Error(Errc::invalid_argument, fmt::format("libcoll: rank {} of {}: subset: rank {} is {}", rank(), size(), r, r < 0 || r >= size() ? "out of range" : "named twice"));
  if (!impl_ || seen[static_cast<std::size_t>(rank())] == 0)
    throw Error(Errc::invalid_argument, fmt::format("libcoll: rank {} of {}: subset: this rank is no member", rank(), size()));
  return Comm(impl().subset(members, allgather));
}

bool Comm::try_close() {
  if (!impl().try_close()) return false;
  impl_.reset();
  return true;
}

void Comm::abort(std::string_view why) { impl().abort(why); }
void Comm::check_streams(bool ask_system) {
  if (impl().devices() != nullptr) impl().devices()->check(ask_system);
}

const Topology& Comm::topology() const { return impl().topology(); }
std::size_t Comm::shared_memory_bytes() const { return impl().world().host->heap().touched_bytes(); }
std::size_t Comm::staging_bytes() const { return impl().world().host->staging().allocated_bytes(); }
std::uint64_t Comm::lent_buffers() const { return impl().lent_buffers(); }
std::vector<HostTraffic> Comm::network_traffic() const {
  const detail::World& w = impl().world();
  std::vector<HostTraffic> hosts;
  if (w.engine->messenger() == nullptr) return hosts;
  for (int d = 0; d < w.domains; ++d) hosts.push_back({.host = w.domain_name(d)});
  for (int r = 0; r < w.size; ++r) {
    const xport::Traffic t = w.engine->messenger()->traffic(r);
    HostTraffic& h = hosts[static_cast<std::size_t>(w.domain_of[static_cast<std::size_t>(r)])];
    h.messages_sent += t.messages_sent;
    h.bytes_sent += t.bytes_sent;
    h.messages_received += t.messages_received;
    h.bytes_received += t.bytes_received;
  }
  return hosts;
}
void Comm::set_progress_hook(void (*hook)(void*), void* context) noexcept {
  if (impl_) impl_->world().host->hook = {hook, context};
}

std::string Comm::describe() const {
  CommImpl& c = impl();
  const auto& host = *c.world().host;
  const auto& costs = host.costs();
  const auto& shape = c.group().shape();
  const auto* messenger = c.world().engine->messenger();
  const std::string network = messenger == nullptr ? "" : fmt::format("messages by {} ({:.1f} us + {:.2f} GB/s, {}), ", messenger->text(), c.world().costs.alpha_us,
                                                                      c.world().costs.network_gbps, c.world().costs.measured ? "measured" : "assumed");
  const std::string gpus = c.devices() == nullptr ? "" : fmt::format("{}; ", c.devices()->describe());
  return fmt::format("rank {} of {}: {}{}shared memory, {}; line transfer {:.0f} ns, copy {:.1f} GB/s, staged {:.1f} GB/s, process_vm_readv {} ({:.0f} ns + {:.1f} GB/s, from {} bytes), staging {}; {}",
                     c.rank(), c.size(), gpus, network, host.oversubscribed() ? "more ranks than CPUs" : "a CPU for every rank", costs.line_ns, costs.copy_gbps, costs.staged_gbps,
                     host.single_copy() ? "allowed" : "not allowed", costs.remote_call_ns, costs.remote_gbps,
                     shape.remote_from.message == ~std::size_t{0} ? std::string("never") : std::to_string(shape.remote_from.message), c.group().staging_streams() ? "streamed" : "cached", costs.measured ? "measured" : "assumed");
}

void Comm::barrier(const CallOptions& o) {
  CommImpl& c = impl();
  if (detail::are_defaults(o)) [[likely]] {
    constexpr Call call{.coll = Coll::barrier};
    if (const Plan* plan = c.cached_plan(call)) [[likely]] return plan->run(*plan->group, {}, *plan);
  }
  detail::prepare_barrier(c, o, RunNow{c, o});
}

void Comm::allreduce(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  detail::quick_allreduce(
      send, recv, count, type, op, o, [&](const Call& call) { return c.cached_plan(call); },
      [](const Plan& plan, const Args& args) { plan.run(*plan.group, args, plan); }, [&] { general_allreduce(c, send, recv, count, type, op, o); });
}

void Comm::bcast(void* buffer, Count count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  detail::prepare_bcast(c, buffer, count, type, root, o, RunNow{c, o});
}

void Comm::reduce(const void* send, void* recv, Count count, DType type, ReduceOp op, int root, const CallOptions& o) {
  CommImpl& c = impl();
  detail::prepare_reduce(c, send, recv, count, type, op, root, o, RunNow{c, o});
}

void Comm::reduce_scatter_block(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  detail::prepare_reduce_scatter_block(c, send, recv, count, type, op, o, RunNow{c, o});
}

void Comm::allgather(const void* send, void* recv, Count count, DType type, const CallOptions& o) {
  CommImpl& c = impl();
  detail::prepare_allgather(c, send, recv, count, type, o, RunNow{c, o});
}

void Comm::gather(const void* send, void* recv, Count count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  detail::prepare_gather(c, send, recv, count, type, root, o, RunNow{c, o});
}

void Comm::scatter(const void* send, void* recv, Count count, DType type, int root, const CallOptions& o) {
  CommImpl& c = impl();
  detail::prepare_scatter(c, send, recv, count, type, root, o, RunNow{c, o});
}

void Comm::alltoall(const void* send, void* recv, Count count, DType type, const CallOptions& o) {
  CommImpl& c = impl();
  detail::prepare_alltoall(c, send, recv, count, type, o, RunNow{c, o});
}

void Comm::scan(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  detail::prepare_scan(c, Coll::scan, send, recv, count, type, op, o, RunNow{c, o});
}

void Comm::exscan(const void* send, void* recv, Count count, DType type, ReduceOp op, const CallOptions& o) {
  CommImpl& c = impl();
  detail::prepare_scan(c, Coll::exscan, send, recv, count, type, op, o, RunNow{c, o});
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

Registration Comm::register_buffer(void* data, std::size_t bytes) {
  CommImpl& c = impl();
  if (c.devices() == nullptr)
    throw Error(Errc::unsupported, fmt::format("libcoll: rank {} of {}: register_buffer: this world uses no GPUs: {}", rank(), size(), c.world().without_gpus));
  Registration r;
  r.number_ = c.devices()->register_memory(data, bytes);
  if (r.number_ != 0) r.owner_ = c.devices()->self();
  return r;
}

Registration::Registration(Registration&& other) noexcept : owner_(std::move(other.owner_)), number_(std::exchange(other.number_, 0)) {}

Registration& Registration::operator=(Registration&& other) noexcept {
  Registration old(std::move(*this));
  owner_ = std::move(other.owner_);
  number_ = std::exchange(other.number_, 0);
  return *this;
}

Registration::~Registration() {
  if (!active()) return;
  (*static_cast<detail::DeviceSide**>(owner_.get()))->forget(number_);
}

bool Registration::active() const noexcept { return number_ != 0 && owner_ != nullptr && *static_cast<detail::DeviceSide**>(owner_.get()) != nullptr; }

bool reduce_local(const void* in, void* inout, std::size_t count, DType type, Op op) noexcept {
  const kernels::ReduceFn reduce = op == Op::avg ? nullptr : kernels::find_reduce(type, op);
  if (reduce == nullptr) return false;
  void* const to[] = {inout};
  const void* const from[] = {in, inout};
  reduce({.dsts = to, .dst_count = 1, .srcs = from, .source_count = 2, .count = count, .divisor = 1, .streaming = false});
  return true;
}

}  // namespace libcoll
