// What the double knows: one lock over everything, streams with a thread each, and whatever can be waited for as a
// Signal. Internal to this folder. Everything here needs the lock (`Lock&`, or being called with it held).
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "tests/support/gpu_double/gpu_double.hpp"
#include "tests/support/gpu_double/memory.hpp"

namespace libcoll::test::gpu_double {

using Lock = std::unique_lock<std::mutex>;
struct Stream;
struct Comm;

// Something that happens once.
struct Signal {
  bool done = false;
  std::vector<Stream*> waiting;
};
using SignalPtr = std::shared_ptr<Signal>;

struct Range {
  const void* at = nullptr;
  std::size_t bytes = 0;
};

// One operation of a stream: waits for `before`, starts, waits for `after`, finishes.
struct Task {
  std::string text;
  std::vector<Range> uses;  // memory of devices; checked again at the start
  std::vector<SignalPtr> before;
  std::function<void(Lock&)> start;  // may unlock
  std::vector<SignalPtr> after;
  std::function<void()> finish;
};

struct Capture;
// An operation that can be captured: makes tasks of itself on a stream.
using Node = std::function<cuda::Error(Lock&, Stream&)>;

struct Stream {
  int device = 0;
  bool blocking = true;  // waits for the default stream and lets it wait
  bool legacy = false;
  std::uint64_t number = 0;
  std::deque<Task> queue;
  std::uint64_t enqueued = 0, completed = 0;
  std::condition_variable cv;
  bool stop = false;
  std::string doing;     // what it waits for or runs; empty: nothing
  std::shared_ptr<Capture> capture;
  std::thread worker;
};

struct Capture {
  Stream* origin = nullptr;
  cuda::CaptureMode mode = cuda::CaptureMode::global;
  std::thread::id thread;
  bool invalid = false;
  std::vector<Node> nodes;
  // Of each stream that takes part: how many operations of each stream come before what it does next.
  std::map<Stream*, std::map<Stream*, std::size_t>> clocks;
};

struct Event {
  SignalPtr recorded;  // by the latest record; null: never
  std::shared_ptr<Capture> capture;  // of a record that was captured
  std::map<Stream*, std::size_t> clock;
};

struct Graph {
  std::vector<Node> nodes;
};

// Handles look like pointers, are never used again, and tell destroyed objects from rubbish.
template <class T>
struct Registry {
  explicit Registry(std::uintptr_t kind) : first((kind << 36) | (std::uintptr_t{1} << 44)), next(first) {}
  std::uintptr_t add(std::shared_ptr<T> object) {
    live[next] = std::move(object);
    return std::exchange(next, next + 16);
  }
  std::shared_ptr<T> find(const void* handle) const {
    const auto i = live.find(reinterpret_cast<std::uintptr_t>(handle));
    return i == live.end() ? nullptr : i->second;
  }
  bool was(const void* handle) const {
    const auto h = reinterpret_cast<std::uintptr_t>(handle);
    return h >= first && h < next && h % 16 == 0 && !live.contains(h);
  }
  void erase(const void* handle) { live.erase(reinterpret_cast<std::uintptr_t>(handle)); }
  std::map<std::uintptr_t, std::shared_ptr<T>> live;
  std::uintptr_t first, next;
};

struct Meeting;

// A collective, or one half of a message, as a rank called it.
enum class Operation { all_reduce, broadcast, reduce, all_gather, reduce_scatter, send, recv };
struct Op {
  Operation operation = Operation::all_reduce;
  const void* send = nullptr;
  void* recv = nullptr;
  std::size_t count = 0;
  nccl::Type type = nccl::Type::i8;
  int redop = 0;  // premulsum for all that ranks made
  int root = 0;   // or the peer of a message
  std::shared_ptr<Comm> comm;
  Stream* stream = nullptr;
  std::vector<std::byte> scalar;        // of premulsum
  const void* device_scalar = nullptr;  // of premulsum, if it is read on the device
};

// What belongs to a thread; renewed with the session.
struct Local {
  std::uint64_t session = 0;
  int host = 0, device = 0;
  cuda::Error last_error = cuda::Error::success;
  cuda::CaptureMode capture_mode = cuda::CaptureMode::global;
  bool in_host_function = false;
  int group_depth = 0;
  nccl::Code group_error = nccl::Code::success;
  std::vector<Op> group_ops;
  std::vector<std::shared_ptr<Comm>> group_joins;  // created in the group, ready after its end
};

struct State {
  explicit State(const Options&);
  ~State();

  Options options;
  std::uint64_t session;
  std::mutex mutex;
  std::condition_variable host_cv;  // threads of the application that wait in a function
  std::list<std::string> host_waits;
  std::uint64_t progress = 0;       // changes whenever anything moves
  bool dead = false;                // the watchdog gave up, or the session ends
  std::string dead_text;
  std::vector<std::string> reports;

  Memory memory;
  Registry<Stream> streams{1};
  Registry<Event> events{2};
  Registry<Graph> graphs{3}, execs{4};
  Registry<Comm> comms{5};
  std::map<int, std::shared_ptr<Stream>> legacy;  // by device, made when first used
  std::vector<std::shared_ptr<Stream>> all_streams;  // destroyed ones, too: workers end with the session
  std::vector<std::shared_ptr<Capture>> captures;
  std::map<int, cuda::Error> device_errors;       // sticky, as on hardware
  std::map<std::string, std::shared_ptr<Meeting>> meetings;
  std::uint64_t next_unique_id = 1, next_group = 1;
  int next_redop = nccl::builtin_redop_count;
  std::map<int, std::map<std::uint64_t, std::uint64_t>> issued;  // by device and communicator: collectives
  std::map<std::uint64_t, std::vector<int>> group_devices;  // of communicators, destroyed ones too
  std::set<std::string> order_reports;            // pairs that were reported

  cuda::Table cuda;
  nccl::Table nccl;

  void report(std::string text);
  void fire(Signal&);
  // Until pred() or the state is dead; returns pred().
  bool host_wait(Lock&, std::string what, const std::function<bool()>& pred);
  void notify_hosts() {
    if (!host_waits.empty()) host_cv.notify_all();
  }
  std::chrono::microseconds delay(std::uint64_t stream, std::uint64_t task) const;

  // Streams.
  std::shared_ptr<Stream> make_stream(int device, bool blocking, bool is_legacy);
  // nullptr and an error where the handle is of none, or of a device of another host.
  std::shared_ptr<Stream> stream_of(cuda::Stream, cuda::Error& error, const char* function);
  // Now, or into the capture that the stream is part of.
  cuda::Error submit(Lock&, Stream&, Node);
  cuda::Error enqueue(Lock&, Stream&, Task);
  // Done once all that the stream has been given is done; null if it is.
  SignalPtr tail_of(Stream&);
  void work(Stream&);
  void end_workers();
  void watch();

  // Captures.
  std::string capture_fault(Stream&);
  bool unsafe_now();  // a capture forbids calls like cudaMalloc; it is invalidated

 private:
  std::condition_variable watch_cv_;
  bool stop_watching_ = false;
  std::thread watchdog_;
};

State* active();  // null without a session
Local& local();
int global_device(const State&, int ordinal);

void fill_memory_functions(cuda::Table&);
void fill_device_functions(cuda::Table&);
void fill_stream_functions(cuda::Table&);
void fill_graph_functions(cuda::Table&);
void fill_comm_functions(nccl::Table&);
void fill_operation_functions(nccl::Table&);
void report_comm_leaks(State&);

// Every function of the NCCL table, likewise.
template <class F>
nccl::Code nccl_call(F body) {
  State* s = active();
  if (!s) return nccl::Code::internal_error;
  Lock lock(s->mutex);
  if (local().in_host_function) {
    s->report("an NCCL function was called in a host function");
    return nccl::Code::invalid_usage;
  }
  return body(*s, lock);
}

// Every function of the CUDA table: refuses without a session and inside a host function; remembers errors.
template <class F>
cuda::Error cuda_call(F body) {
  State* s = active();
  if (!s) return cuda::Error::initialization_error;
  cuda::Error e = cuda::Error::not_permitted;
  if (!local().in_host_function) {
    Lock lock(s->mutex);
    e = body(*s, lock);
  } else {
    Lock lock(s->mutex);
    s->report("a CUDA function was called in a host function");
  }
  if (e != cuda::Error::success && e != cuda::Error::not_ready) local().last_error = e;
  return e;
}

}  // namespace libcoll::test::gpu_double
