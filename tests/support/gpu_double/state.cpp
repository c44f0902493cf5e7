#include "tests/support/gpu_double/state.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <atomic>
#include <chrono>
#include <utility>

#include "tests/support/gpu_double/comm.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test::gpu_double {

namespace {
std::atomic<State*> active_state{nullptr};
std::atomic<std::uint64_t> sessions{0};
}  // namespace

State* active() { return active_state.load(std::memory_order_acquire); }

Local& local() {
  thread_local Local l;
  State* s = active();
  if (s && l.session != s->session) {
    l = Local{};
    l.session = s->session;
  }
  return l;
}

int global_device(const State& s, int ordinal) { return local().host * s.options.devices_per_host + ordinal; }

State::State(const Options& o) : options(o), session(++sessions) {
  fill_memory_functions(cuda);
  fill_device_functions(cuda);
  fill_stream_functions(cuda);
  fill_graph_functions(cuda);
  fill_comm_functions(nccl);
  fill_operation_functions(nccl);
  cuda.fake = nccl.fake = true;
  cuda.runtime_version = cuda.driver_version = o.cuda_version;
  nccl.version = o.nccl_version;
  cuda.origin = fmt::format("FAKE CUDA {}.{} (libcoll's test double)", o.cuda_version / 1000, o.cuda_version % 1000 / 10);
  nccl.origin = fmt::format("FAKE NCCL {} (libcoll's test double)", nccl::version_text(o.nccl_version));
  watchdog_ = std::thread([this] { watch(); });
}

State::~State() { end_workers(); }

void State::report(std::string text) { reports.push_back(std::move(text)); }

void State::fire(Signal& signal) {
  if (signal.done) return;
  signal.done = true;
  ++progress;
  for (Stream* s : signal.waiting) s->cv.notify_all();
  notify_hosts();
}

bool State::host_wait(Lock& lock, std::string what, const std::function<bool()>& pred) {
  if (pred()) return true;
  const auto me = host_waits.insert(host_waits.end(), std::move(what));
  // glibc before 2.41 may lose a wake-up where several threads wait (bug 25847): so they look by themselves, too.
  while (!dead && !pred()) host_cv.wait_for(lock, std::chrono::milliseconds(50));
  host_waits.erase(me);
  ++progress;
  return pred();
}

std::chrono::microseconds State::delay(std::uint64_t stream, std::uint64_t task) const {
  const std::uint64_t r = mixed(options.seed, stream, task);
  const auto most = static_cast<std::uint64_t>(options.delay_us);
  return std::chrono::microseconds(most == 0 || r % 4 != 0 ? 0 : 1 + (r >> 8) % most);
}

// Nothing moved for a while although somebody waits: nobody will move it.
void State::watch() {
  using clock = std::chrono::steady_clock;
  Lock lock(mutex);
  std::uint64_t seen = progress;
  auto since = clock::now();
  const auto patience = std::chrono::duration<double>(options.watchdog_s);
  while (!stop_watching_ && !dead) {
    watch_cv_.wait_for(lock, patience / 8);
    std::vector<std::string> who(host_waits.begin(), host_waits.end());
    for (const auto& s : all_streams)
      if (!s->doing.empty()) who.push_back(fmt::format("stream {} of device {} for {}", s->number, s->device, s->doing));
    if (progress != seen || who.empty()) {
      seen = progress;
      since = clock::now();
    } else if (clock::now() - since >= patience) {
      dead_text = fmt::format("no progress for {} s: waiting: {}", options.watchdog_s, fmt::join(who, "; "));
      report(dead_text);
      dead = true;
      for (const auto& [h, c] : comms.live)
        if (c->async == nccl::Code::success) {
          c->async = nccl::Code::system_error;
          c->text = dead_text;
        }
      for (const auto& s : all_streams) s->cv.notify_all();
      host_cv.notify_all();
    }
  }
}

void State::end_workers() {
  {
    Lock lock(mutex);
    stop_watching_ = true;
    dead = true;
    if (dead_text.empty()) dead_text = "the session is over";
    for (const auto& s : all_streams) {
      s->stop = true;
      s->cv.notify_all();
    }
    host_cv.notify_all();
    watch_cv_.notify_all();
  }
  if (watchdog_.joinable()) watchdog_.join();
  for (const auto& s : all_streams)
    if (s->worker.joinable()) s->worker.join();
}

Session::Session(const Options& options) : state_(std::make_unique<State>(options)) {
  State* none = nullptr;
  if (!active_state.compare_exchange_strong(none, state_.get(), std::memory_order_acq_rel))
    state_->report("another session is active: this one's tables reach that one");
}

Session::~Session() {
  state_->end_workers();
  State* mine = state_.get();
  active_state.compare_exchange_strong(mine, nullptr, std::memory_order_acq_rel);
}

const cuda::Table& Session::cuda() const { return state_->cuda; }
const nccl::Table& Session::nccl() const { return state_->nccl; }
void Session::enter_host(int host) {
  local().host = host;
  local().device = 0;
}

bool Session::inject_error(nccl::Comm handle, nccl::Code code, const std::string& text) {
  Lock lock(state_->mutex);
  const auto comm = state_->comms.find(handle);
  if (!comm || !comm->group) return false;
  fail_group(*state_, *comm->group, text, nccl::Code::remote_error, comm.get(), code);
  return true;
}

bool Session::inject_error_at(int host, int device, nccl::Code code, const std::string& text) {
  Lock lock(state_->mutex);
  bool any = false;
  for (const auto& [handle, comm] : std::map(state_->comms.live)) {
    if (!comm->group || comm->device != host * state_->options.devices_per_host + device) continue;
    fail_group(*state_, *comm->group, text, nccl::Code::remote_error, comm.get(), code);
    any = true;
  }
  return any;
}

std::vector<std::string> Session::reports() const {
  Lock lock(state_->mutex);
  return state_->reports;
}

std::vector<std::string> Session::finish() {
  State& s = *state_;
  {
    Lock lock(s.mutex);
    if (!s.dead) {
      for (const auto& stream : s.all_streams)
        if (stream->completed < stream->enqueued && !stream->doing.empty()) s.report(fmt::format("stream {} of device {} still waits for {}", stream->number, stream->device, stream->doing));
      for (const auto& [h, stream] : s.streams.live) s.report(fmt::format("leak: stream {} of device {}", stream->number, stream->device));
      if (const auto n = s.events.live.size()) s.report(fmt::format("leak: {} events", n));
      if (const auto n = s.graphs.live.size()) s.report(fmt::format("leak: {} graphs", n));
      if (const auto n = s.execs.live.size()) s.report(fmt::format("leak: {} executable graphs", n));
      report_comm_leaks(s);
      for (const auto& [at, b] : s.memory.live()) s.report(fmt::format("leak: {} bytes of {} memory of device {}", b.bytes, name_of(b.kind), b.device));
    }
  }
  s.end_workers();
  Lock lock(s.mutex);
  return s.reports;
}

}  // namespace libcoll::test::gpu_double
