// Calls with buffers in GPU memory: where they lie, which way they go, and what happens on the way.
#include "libcoll/core/device_side.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "libcoll/core/comm_impl.hpp"
#include "libcoll/execution/engine.hpp"

namespace libcoll::detail {

using device::require;

namespace {

constexpr std::uint8_t on_host = 1, on_device = 2;

std::uint64_t address(const void* p) { return reinterpret_cast<std::uint64_t>(p); }
// Of [p, p + bytes) in [base, base + room), or nothing.
std::optional<std::uint64_t> offset_in(const void* p, std::uint64_t bytes, const void* base, std::uint64_t room) {
  const std::uint64_t offset = address(p) - address(base);
  return p != nullptr && base != nullptr && bytes <= room && offset <= room - bytes ? std::optional(offset) : std::nullopt;
}

}  // namespace

DeviceSide::DeviceSide(CommImpl& comm) : comm_(comm), runtime_(comm.world().runtime) {}

DeviceSide::~DeviceSide() {
  *self_ = nullptr;
  abort();
  if (runtime_ == nullptr || device_ < 0) return;
  try {
    // Streams, events and memory are those of the device.
    const device::Current current(runtime_->cuda, device_);
    while (copying_ && !copied_->reached()) std::this_thread::sleep_for(std::chrono::microseconds(50));
    known_.clear();
    site_.reset();
    pinned_.reset();
    own_stream_.reset();
    copied_.reset();
    finished_.reset();
  } catch (const std::exception&) {
    // The device is of no more use; what it held goes with the members.
  }
}

cuda::Stream DeviceSide::stream_of(const CallOptions& o) {
  if (o.stream.given) return static_cast<cuda::Stream>(o.stream.handle);
  if (!own_stream_) own_stream_.emplace(runtime_->cuda);
  return own_stream_->get();
}

bool DeviceSide::is_capturing(const Call& call, cuda::Stream s) {
  cuda::CaptureStatus status = cuda::CaptureStatus::none;
  try {
    require(runtime_->cuda, runtime_->cuda.stream_is_capturing(s, &status), "cudaStreamIsCapturing");
  } catch (const Error& error) {
    give_up(name_of(call.coll), error);
  }
  return status != cuda::CaptureStatus::none;
}

bool DeviceSide::is_device_memory(const void* at) const {
  cuda::PointerAttributes a;
  if (runtime_ == nullptr) return false;
  if (runtime_->cuda.pointer_get_attributes(&a, at) == cuda::Error::success) return a.type == cuda::MemoryType::device || a.type == cuda::MemoryType::managed;
  runtime_->cuda.get_last_error();
  return false;
}

DeviceSide::Places DeviceSide::places_of(const Call& call, const Args& args, const Extents& e) const {
  Places p;
  const auto look = [&](const void* at, std::uint64_t bytes) {
    if (bytes == 0) return false;
    cuda::PointerAttributes a;
    if (runtime_ == nullptr || runtime_->cuda.pointer_get_attributes(&a, at) != cuda::Error::success) {
      if (runtime_ != nullptr) runtime_->cuda.get_last_error();
      a.type = cuda::MemoryType::unregistered;
    }
    const bool device = a.type == cuda::MemoryType::device || a.type == cuda::MemoryType::managed;
    if (device && p.device >= 0 && p.device != a.device)
      comm_.refuse(call.coll, fmt::format("send is on device {}, recv on device {}", p.device, a.device));
    if (device) p.device = a.device;
    p.any_on_host = p.any_on_host || !device;
    return device;
  };
  p.send_on_device = look(args.send, e.send);
  p.recv_on_device = look(args.recv, e.recv);
  if (p.device >= 0 && device_ >= 0 && p.device != device_)
    comm_.refuse(call.coll, fmt::format("a buffer is on device {}, but this communicator works on device {}", p.device, device_));
  return p;
}

std::uint8_t DeviceSide::agree_on(std::uint8_t bits) {
  if (comm_.size() == 1) return bits;
  std::uint8_t all = 0;
  comm_.allreduce_bits(bits, all);
  return all;
}

DeviceSide::Where DeviceSide::agree(const Call& call, const CallOptions& o, const Places& p) {
  switch (o.memory) {
    case Memory::host: return Where::host;
    case Memory::mixed: return Where::mixed;
    case Memory::automatic:
      if (!o.stream.given) {
        const auto mine = static_cast<std::uint8_t>((p.any_on_host ? on_host : 0) | (p.any_on_device() ? on_device : 0));
        const std::uint8_t all = agree_on(mine);
        return (all & on_device) == 0 ? Where::host : (all & on_host) == 0 ? Where::device : Where::mixed;
      }
      [[fallthrough]];
    case Memory::device: break;
  }
  if (p.any_on_host) comm_.refuse(call.coll, o.stream.given ? "a buffer is host memory, but calls with a stream take GPU memory (or option memory = mixed)" : "a buffer is host memory, but option memory says device");
  return Where::device;
}

void DeviceSide::run(const Plan& plan, const Args& args, const CallOptions& o) {
  if (o.memory == Memory::host && !o.stream.given) return plan.run(*plan.group, args, plan);
  struct Ended {
    bool& goes_alone;
    ~Ended() { goes_alone = false; }
  } const ended{goes_alone_};
  comm_.queue().require_usable();
  const Extents e = extents_of(plan.call, args, comm_.rank(), comm_.size());
  const Places p = o.memory == Memory::host ? Places{} : places_of(plan.call, args, e);
  const Where where = agree(plan.call, o, p);
  if (where == Where::host) return plan.run(*plan.group, args, plan);
  if (where == Where::device) {
    if (!connected_ && o.stream.given && runtime_ != nullptr && is_capturing(plan.call, stream_of(o)))
      comm_.refuse_alike(plan.call.coll, "the stream is being captured, and this communicator has not used GPUs before: make one call outside of the capture first");
    if (!connected_) connect(p.device);
    if (const exec::DeviceProgram* program = program_for(plan.call, args, o)) {
      comm_.took_way(program->text.c_str());
      return launch(*program, args, o, e);
    }
  }
  stage(plan, args, o, e, p);
}

void DeviceSide::require_host(const Call& call, const Args& args, const CallOptions& o) {
  if (o.memory == Memory::host && !o.stream.given) return;
  const char* instead = "started and persistent collectives take host memory; a blocking call with a stream returns as soon as it is enqueued";
  if (o.stream.given) comm_.refuse(call.coll, fmt::format("a stream is given, but {}", instead));
  if (places_of(call, args, extents_of(call, args, comm_.rank(), comm_.size())).any_on_device()) comm_.refuse(call.coll, fmt::format("a buffer is GPU memory, but {}", instead));
}

double DeviceSide::limit_of(const CallOptions& o) const { return o.timeout_s > 0 ? o.timeout_s : comm_.world().config.timeout_s; }

// -- Through NCCL.

void DeviceSide::require_untroubled() const {
  for (const exec::DeviceGroup& g : site_->groups) {
    const std::string what = g.nccl ? g.nccl->trouble() : "";
    if (!what.empty()) throw Error(Errc::system, fmt::format("libcoll: NCCL: {}", what));
  }
}

void DeviceSide::launch(const exec::DeviceProgram& program, const Args& given, const CallOptions& o, const Extents& e) {
  const double limit = limit_of(o);
  try {
    // A call on a stream waits for nobody, and would go on calling NCCL for ever after a peer has stopped.
    std::string why;
    if (const int lost = comm_.queue().find_lost(why, false); lost >= 0) throw Error(Errc::peer_lost, why, lost);
    require_untroubled();
    const device::Current current(runtime_->cuda, device_);
    const cuda::Stream stream = stream_of(o);
    Args args = given;
    std::optional<device::StreamMemory> aside;
    if (program.call.coll == Coll::alltoallv && program.call.in_place != 0 && e.send != 0) {
      args.send = aside.emplace(runtime_->cuda, e.send, stream).data();
      require(runtime_->cuda, runtime_->cuda.memcpy_async(aside->data(), given.send, e.send, cuda::CopyKind::device_to_device, stream), "cudaMemcpyAsync");
    }
    exec::enqueue(program, args, *site_, stream, patience("NCCL to take the call", limit));
    if (aside) aside->give_back();
    if (o.stream.given) return;
    if (!finished_) finished_.emplace(runtime_->cuda);
    finished_->record(stream);
    wait_for(*finished_, limit, true);
  } catch (const std::exception& error) {
    give_up(name_of(program.call.coll), error);
  }
}

void DeviceSide::check(bool ask_system) {
  comm_.world().engine->progress();
  try {
    std::string why;
    if (const int lost = comm_.queue().find_lost(why, ask_system); lost >= 0) throw Error(Errc::peer_lost, why, lost);
    comm_.queue().require_usable();
    if (site_) require_untroubled();
  } catch (const std::exception& error) {
    give_up("work on a stream", error);
  }
}

// What one rank cannot finish ends on all: NCCL operations of the others would wait for it.
void DeviceSide::give_up(const char* call, const std::exception& error) {
  const auto* known = dynamic_cast<const Error*>(&error);
  std::string what = error.what();
  if (constexpr std::string_view prefix = "libcoll: "; what.starts_with(prefix)) what.erase(0, prefix.size());
  const std::string text = fmt::format("libcoll: rank {} of {}: {}: {}", comm_.rank(), comm_.size(), call, what);
  // Peers are to hear of it from here rather than from NCCL.
  comm_.queue().break_off(text);
  abort();
  comm_.queue().push_out();
  throw Error(known != nullptr ? known->code() : Errc::system, text, known != nullptr ? known->peer() : -1);
}

// Looks after the rest of the library while a device or NCCL is not ready, and whether everybody is still there.
device::Between DeviceSide::patience(std::string what, double limit) const {
  struct State {
    explicit State(exec::Engine& e) : idler(e) {}
    exec::Idler idler;
    std::chrono::steady_clock::time_point start{};
    unsigned looks = 0;
  };
  auto state = std::make_shared<State>(*comm_.world().engine);
  return [this, state, what = std::move(what), limit] {
    constexpr unsigned between_checks = 64;
    const auto now = std::chrono::steady_clock::now();
    if (state->looks == 0) state->start = now;
    state->idler.rest(comm_.world().engine->progress(), false);
    if (++state->looks % between_checks != 0) return;
    std::string why;
    if (const int lost = comm_.queue().find_lost(why, true); lost >= 0) throw Error(Errc::peer_lost, why, lost);
    if (const int who = joining_ ? comm_.queue().find_refusal() : -1; who >= 0) throw Error(Errc::mismatch, fmt::format("rank {} cannot use NCCL", who), who);
    if (std::chrono::duration<double>(now - state->start).count() > limit) throw Error(Errc::timeout, fmt::format("waited {:g} s for {}", limit, what));
  };
}

void DeviceSide::wait_for(const device::Event& event, double limit, bool watch_nccl) {
  const device::Between look_around = patience("the GPU", limit);
  for (unsigned looks = 1; !event.reached(); ++looks) {
    look_around();
    constexpr unsigned between_checks = 64;
    if (watch_nccl && looks % between_checks == 0) require_untroubled();
  }
  // A stream goes on, too, behind what NCCL gave up.
  if (watch_nccl) require_untroubled();
}

// -- Through host memory.

void DeviceSide::stage(const Plan& plan, const Args& args, const CallOptions& o, const Extents& e, const Places& p) {
  comm_.took_way(staged_recipe);
  // A call on a stream comes after what is there, wherever its buffers lie.
  const bool behind_stream = o.stream.given && runtime_ != nullptr;
  if (!p.any_on_device() && !behind_stream) return plan.run(*plan.group, args, plan);
  const double limit = limit_of(o);
  // Others wait for this rank's part.
  const auto or_give_up = [&](const auto& action) {
    try {
      return action();
    } catch (const std::exception& error) {
      give_up(name_of(plan.call.coll), error);
    }
  };
  const auto current = or_give_up([&] {
    if (device_ < 0) device_ = p.device;
    if (device_ < 0) require(runtime_->cuda, runtime_->cuda.get_device(&device_), "cudaGetDevice");
    return std::make_unique<device::Current>(runtime_->cuda, device_);
  });
  const cuda::Stream stream = or_give_up([&] { return stream_of(o); });
  goes_alone_ = false;  // from here on peers wait for this rank where they can hear of a refusal
  if (behind_stream && is_capturing(plan.call, stream))
    comm_.refuse_alike(plan.call.coll, fmt::format("the stream is being captured, and this call passes through host memory ({})", describe()));
  const Args staged = or_give_up([&] { return fetch(args, e, p, stream, behind_stream, limit); });
  plan.run(*plan.group, staged, plan);
  if (!p.recv_on_device || !e.recv_written) return;
  or_give_up([&] {
    copying_ = true;
    require(runtime_->cuda, runtime_->cuda.memcpy_async(args.recv, staged.recv, e.recv, cuda::CopyKind::host_to_device, stream), "cudaMemcpyAsync");
    copied_->record(stream);
    if (o.stream.given) return;
    wait_for(*copied_, limit, false);
    copying_ = false;
  });
}

// Operands into pinned memory, in which the call is to run: its arguments there.
Args DeviceSide::fetch(const Args& args, const Extents& e, const Places& p, cuda::Stream stream, bool behind_stream, double limit) {
  const cuda::Table& cuda = runtime_->cuda;
  if (!pinned_) pinned_.emplace(cuda), copied_.emplace(cuda);
  if (copying_) wait_for(*copied_, limit, false);
  copying_ = false;
  constexpr std::uint64_t alignment = 256;
  const std::uint64_t recv_room = p.recv_on_device ? (e.recv + alignment - 1) / alignment * alignment : 0;
  std::byte* const room = pinned_->reserve(recv_room + (p.send_on_device ? e.send : 0));
  const auto copy = [&](std::byte* to, const void* from, std::uint64_t bytes) {
    copying_ = true;
    require(cuda, cuda.memcpy_async(to, from, bytes, cuda::CopyKind::device_to_host, stream), "cudaMemcpyAsync");
  };
  // In place one buffer lies in the other, here as there.
  Args staged = args;
  const auto send_in_recv = p.recv_on_device ? offset_in(args.send, e.send, args.recv, e.recv) : std::nullopt;
  const auto recv_in_send = p.send_on_device && e.send > e.recv ? offset_in(args.recv, e.recv, args.send, e.send) : std::nullopt;
  if (p.recv_on_device && !recv_in_send) {
    staged.recv = room;
    if (e.recv_read) copy(room, args.recv, e.recv);
  }
  if (p.send_on_device && send_in_recv && !recv_in_send) {
    staged.send = room + *send_in_recv;
  } else if (p.send_on_device) {
    staged.send = room + recv_room;
    copy(room + recv_room, args.send, e.send);
    if (recv_in_send) staged.recv = room + recv_room + *recv_in_send;
  }
  if (!copying_ && !behind_stream) return staged;
  copied_->record(stream);
  wait_for(*copied_, limit, false);
  copying_ = false;
  return staged;
}

}  // namespace libcoll::detail
