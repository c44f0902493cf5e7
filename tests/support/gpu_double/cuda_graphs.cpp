// Capture and graphs of the CUDA table. A graph is the list of what was captured, in the order of the calls, which is one
// of the orders that its dependencies allow; a launch runs it one after the other on the launching stream.
#include <fmt/format.h>

#include <algorithm>

#include "tests/support/gpu_double/state.hpp"

namespace libcoll::test::gpu_double {

using cuda::Error;

bool State::unsafe_now() {
  using enum cuda::CaptureMode;
  const cuda::CaptureMode mode = local().capture_mode;
  bool unsafe = false;
  for (const auto& c : captures) {
    const bool mine = c->thread == std::this_thread::get_id();
    if (mode == relaxed || c->mode == relaxed || (!mine && (mode == thread_local_only || c->mode == thread_local_only))) continue;
    c->invalid = true;
    unsafe = true;
  }
  return unsafe;
}

namespace {

Error begin(State& s, cuda::Stream handle, cuda::CaptureMode mode) {
  Error error;
  const auto stream = s.stream_of(handle, error, "cudaStreamBeginCapture");
  if (!stream) return error;
  if (stream->legacy) return Error::stream_capture_unsupported;
  if (stream->capture) return Error::invalid_value;
  auto c = std::make_shared<Capture>();
  c->origin = stream.get();
  c->mode = mode;
  c->thread = std::this_thread::get_id();
  stream->capture = c;
  s.captures.push_back(std::move(c));
  return Error::success;
}

// What each stream of the capture did must come before the end of its origin.
bool joined(Capture& c) {
  auto& end = c.clocks[c.origin];
  return std::all_of(c.clocks.begin(), c.clocks.end(), [&](auto& entry) { return end[entry.first] >= entry.second[entry.first]; });
}

Error end(State& s, cuda::Stream handle, cuda::Graph* out) {
  Error error;
  const auto stream = s.stream_of(handle, error, "cudaStreamEndCapture");
  if (!stream) return error;
  if (!out) return Error::invalid_value;
  *out = nullptr;
  const auto c = stream->capture;
  if (!c) return Error::invalid_value;
  if (c->origin != stream.get()) return Error::stream_capture_unmatched;
  if (c->mode != cuda::CaptureMode::relaxed && c->thread != std::this_thread::get_id()) return Error::stream_capture_wrong_thread;
  const bool all_joined = joined(*c);
  for (const auto& other : s.all_streams)
    if (other->capture == c) other->capture = nullptr;
  std::erase(s.captures, c);
  if (c->invalid) return Error::stream_capture_invalidated;
  c->invalid = true;  // for events that were recorded in it
  if (!all_joined) return Error::stream_capture_unjoined;
  auto graph = std::make_shared<Graph>();
  graph->nodes = std::move(c->nodes);
  *out = reinterpret_cast<cuda::Graph>(s.graphs.add(std::move(graph)));
  return Error::success;
}

Error launch(State& s, Lock& lock, cuda::GraphExec handle, cuda::Stream on) {
  Error error;
  const auto stream = s.stream_of(on, error, "cudaGraphLaunch");
  if (!stream) return error;
  const auto exec = s.execs.find(handle);
  if (!exec) {
    s.report(fmt::format("cudaGraphLaunch: {}", s.execs.was(handle) ? "an executable graph after its destruction" : "not an executable graph"));
    return Error::invalid_resource_handle;
  }
  if (stream->capture) return Error::not_supported;  // child graphs
  for (const Node& node : exec->nodes)
    if (const Error e = node(lock, *stream); e != Error::success) return e;
  return Error::success;
}

template <class H, class T>
Error destroy(State& s, Registry<T>& all, H handle, const char* function) {
  if (!all.find(handle)) {
    s.report(fmt::format("{}: {}", function, all.was(handle) ? "destroyed already" : "no such object"));
    return Error::invalid_resource_handle;
  }
  all.erase(handle);
  return Error::success;
}

}  // namespace

void fill_graph_functions(cuda::Table& t) {
  t.stream_is_capturing = [](cuda::Stream h, cuda::CaptureStatus* out) {
    return cuda_call([&](State& s, Lock&) {
      Error error;
      const auto stream = s.stream_of(h, error, "cudaStreamIsCapturing");
      if (!stream || !out) return stream ? Error::invalid_value : error;
      *out = !stream->capture ? cuda::CaptureStatus::none : stream->capture->invalid ? cuda::CaptureStatus::invalidated : cuda::CaptureStatus::active;
      return Error::success;
    });
  };
  t.stream_begin_capture = [](cuda::Stream h, cuda::CaptureMode m) { return cuda_call([&](State& s, Lock&) { return begin(s, h, m); }); };
  t.stream_end_capture = [](cuda::Stream h, cuda::Graph* out) { return cuda_call([&](State& s, Lock&) { return end(s, h, out); }); };
  t.thread_exchange_capture_mode = [](cuda::CaptureMode* m) {
    return cuda_call([&](State&, Lock&) { std::swap(*m, local().capture_mode); return Error::success; });
  };
  t.graph_instantiate = [](cuda::GraphExec* out, cuda::Graph graph, unsigned long long) {
    return cuda_call([&](State& s, Lock&) {
      const auto g = s.graphs.find(graph);
      if (!g || !out) return Error::invalid_value;
      *out = reinterpret_cast<cuda::GraphExec>(s.execs.add(std::make_shared<Graph>(*g)));
      return Error::success;
    });
  };
  t.graph_launch = [](cuda::GraphExec e, cuda::Stream h) { return cuda_call([&](State& s, Lock& l) { return launch(s, l, e, h); }); };
  t.graph_exec_destroy = [](cuda::GraphExec e) { return cuda_call([&](State& s, Lock&) { return destroy(s, s.execs, e, "cudaGraphExecDestroy"); }); };
  t.graph_destroy = [](cuda::Graph g) { return cuda_call([&](State& s, Lock&) { return destroy(s, s.graphs, g, "cudaGraphDestroy"); }); };
}

}  // namespace libcoll::test::gpu_double
