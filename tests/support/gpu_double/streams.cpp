// Streams: a thread each, first in first out. Default stream: work on it waits for what the blocking streams of its
// device were given before, and theirs waits for its own; nothing else is implied.
#include <fmt/format.h>

#include "tests/support/gpu_double/state.hpp"

namespace libcoll::test::gpu_double {

using cuda::Error;

std::shared_ptr<Stream> State::make_stream(int device, bool blocking, bool is_legacy) {
  auto s = std::make_shared<Stream>();
  s->device = device;
  s->blocking = blocking;
  s->legacy = is_legacy;
  s->number = all_streams.size();
  all_streams.push_back(s);
  s->worker = std::thread([this, p = s.get()] { work(*p); });
  return s;
}

std::shared_ptr<Stream> State::stream_of(cuda::Stream handle, Error& error, const char* function) {
  error = Error::success;
  if (handle == nullptr || handle == cuda::legacy_stream()) {
    auto& s = legacy[global_device(*this, local().device)];
    if (!s) s = make_stream(global_device(*this, local().device), false, true);
    return s;
  }
  auto s = streams.find(handle);
  if (!s) {
    report(fmt::format("{}: {}", function, streams.was(handle) ? "a stream after its destruction" : "not a stream"));
    error = Error::invalid_resource_handle;
  } else if (s->device / options.devices_per_host != local().host) {
    report(fmt::format("{}: a stream of another host", function));
    error = Error::invalid_resource_handle;
    s = nullptr;
  }
  return s;
}

SignalPtr State::tail_of(Stream& s) {
  if (s.enqueued == s.completed) return nullptr;
  auto signal = std::make_shared<Signal>();
  Task t;
  t.text = "a mark";
  t.finish = [this, signal] { fire(*signal); };
  s.queue.push_back(std::move(t));
  ++s.enqueued;
  s.cv.notify_all();
  return signal;
}

Error State::enqueue(Lock&, Stream& s, Task task) {
  if (dead) return Error::launch_failure;
  if (const auto e = device_errors.find(s.device); e != device_errors.end()) return e->second;
  if (s.legacy) {
    // The streams first: all_streams grows by none of this.
    for (const auto& other : all_streams)
      if (other->blocking && other->device == s.device)
        if (auto t = tail_of(*other)) task.before.push_back(std::move(t));
  } else if (s.blocking) {
    if (const auto l = legacy.find(s.device); l != legacy.end())
      if (auto t = tail_of(*l->second)) task.before.push_back(std::move(t));
  }
  for (const Range& r : task.uses)
    if (Block* b = memory.find(r.at)) ++b->uses;
  s.queue.push_back(std::move(task));
  ++s.enqueued;
  ++progress;
  s.cv.notify_all();
  return Error::success;
}

Error State::submit(Lock& lock, Stream& s, Node node) {
  if (s.legacy)
    for (const auto& c : captures)
      if (c->origin->blocking && c->origin->device == s.device) {
        c->invalid = true;
        return Error::stream_capture_implicit;
      }
  if (!s.capture) return node(lock, s);
  if (s.capture->invalid) return Error::stream_capture_invalidated;
  s.capture->nodes.push_back(std::move(node));
  ++s.capture->clocks[&s][&s];
  return Error::success;
}

void State::work(Stream& s) {
  Lock lock(mutex);
  const auto wait_for = [&](const std::vector<SignalPtr>& signals, const std::string& text) {
    for (const SignalPtr& signal : signals) {
      if (signal->done) continue;
      signal->waiting.push_back(&s);
      s.doing = text;
      s.cv.wait(lock, [&] { return signal->done || dead; });
      s.doing.clear();
    }
  };
  for (;;) {
    s.cv.wait(lock, [&] { return !s.queue.empty() || s.stop; });
    if (s.queue.empty()) return;
    Task task = std::move(s.queue.front());
    s.queue.pop_front();
    if (const auto pause = delay(s.number, s.completed); pause.count() != 0 && !dead) {
      lock.unlock();
      std::this_thread::sleep_for(pause);
      lock.lock();
    }
    wait_for(task.before, task.text);
    for (const Range& r : task.uses)
      if (std::string wrong = memory.fault_of(r.at, r.bytes, true); !wrong.empty() && !dead) {
        report(fmt::format("{} on stream {}: {}", task.text, s.number, wrong));
        device_errors.emplace(s.device, Error::illegal_address);
      }
    if (task.start && !dead) {
      s.doing = task.text;
      task.start(lock);
      s.doing.clear();
    }
    wait_for(task.after, task.text);
    for (const Range& r : task.uses)
      if (Block* b = memory.find(r.at); b && b->uses > 0) --b->uses;
    if (task.finish) task.finish();
    task = {};
    ++s.completed;
    ++progress;
    notify_hosts();
  }
}

}  // namespace libcoll::test::gpu_double
