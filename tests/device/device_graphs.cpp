// Collectives in CUDA graphs.
#include <fmt/format.h>

#include <stdexcept>

#include "tests/device/device_body.hpp"
#include "tests/device/device_numbers.hpp"
#include "tests/multiproc/calls.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {

namespace {

constexpr std::size_t length = 1000;

class Graphs {
 public:
  Graphs(Comm& c, const device::Runtime& r, std::uint64_t seed)
      : comm_(c), runtime_(r), seed_(seed), stream_(r.cuda), in_(r, length), sum_(r, length), all_(r, length * ranks()), told_(r, length) {}

  void run() {
    plain(comm_, 0);  // the GPUs have met
    if (passes_through_host(comm_)) {
      refuses({}, "a capture of a call that passes through host memory");
    } else {
      replays();
      refuses({.algorithm = "staged", .stream = stream_.get()}, "a capture of algorithm \"staged\"");
      refuses_bits();
    }
    refuses_first_use();
  }

 private:
  std::size_t ranks() const { return static_cast<std::size_t>(comm_.size()); }
  int root() const { return comm_.size() - 1; }
  CallOptions on_stream() const { return {.stream = stream_.get()}; }
  static bool passes_through_host(const Comm& c) { return c.describe().find("by way of host memory") != std::string::npos; }
  void check(bool good, const std::string& what) const {
    if (!good) throw std::runtime_error(fmt::format("rank {} of {}: graphs: {} (seed {})", comm_.rank(), comm_.size(), what, seed_));
  }
  void finish() const { device::require(runtime_.cuda, runtime_.cuda.stream_synchronize(stream_.get()), "cudaStreamSynchronize"); }

  // Rank's numbers of a round.
  Numbers numbers(int rank, std::uint64_t round) const {
    Numbers out;
    for (std::size_t i = 0; i < length; ++i) out.push_back(static_cast<std::int64_t>(mixed(seed_ + round, static_cast<std::uint64_t>(rank), i) % 1000));
    return out;
  }
  void fill(std::uint64_t round) {
    in_.set(numbers(comm_.rank(), round));
    sum_.set(Numbers(length, -1));
    all_.set(Numbers(length * ranks(), -1));
    told_.set(comm_.rank() == root() ? numbers(root(), round + 1) : Numbers(length, -1));
  }
  void compare(std::uint64_t round) const {
    Numbers sum(length, 0), all;
    for (int r = 0; r < comm_.size(); ++r) {
      const Numbers of = numbers(r, round);
      for (std::size_t i = 0; i < length; ++i) sum[i] += of[i];
      all.insert(all.end(), of.begin(), of.end());
    }
    check(sum_.get() == sum, fmt::format("round {}: allreduce", round));
    check(all_.get() == all, fmt::format("round {}: allgather", round));
    check(told_.get() == numbers(root(), round + 1), fmt::format("round {}: bcast", round));
  }
  void call() {
    constexpr auto n = static_cast<Count>(length);
    comm_.allreduce(in_.at(), sum_.at(), n, DType::i64, Op::sum, on_stream());
    comm_.allgather(in_.at(), all_.at(), n, DType::i64, on_stream());
    comm_.bcast(told_.at(), n, DType::i64, root(), on_stream());
  }

  // A call that is in no graph.
  void plain(Comm& c, std::uint64_t round) {
    in_.set(numbers(comm_.rank(), round));
    c.allreduce(in_.at(), sum_.at(), static_cast<Count>(length), DType::i64, Op::sum);
    Numbers sum(length, 0);
    for (int r = 0; r < c.size(); ++r)
      for (std::size_t i = 0; const std::int64_t x : numbers(r, round)) sum[i++] += x;
    check(sum_.get() == sum, fmt::format("round {}: an allreduce outside of graphs", round));
  }

  void replays() {
    fill(10);
    Capture capture(runtime_.cuda, stream_.get());
    call();
    capture.end();
    check(sum_.get() == Numbers(length, -1), "a call ran while it was captured");
    for (const std::uint64_t round : {20, 30}) {
      fill(round);
      capture.launch();
      finish();
      compare(round);
      plain(comm_, round + 5);
    }
    // Behind each other on the stream, with nothing between them.
    fill(40);
    capture.launch();
    capture.launch();
    call();
    finish();
    compare(40);
  }

  void expect_refusal(const std::string& what, const std::function<void()>& f) const {
    const Outcome o = outcome_of(f);
    check(o.code == Errc::invalid_argument, fmt::format("{}: {} \"{}\"", what, name_of(o.code), o.text));
    check(o.text.find("captured") != std::string::npos, fmt::format("{}: the error does not say why: \"{}\"", what, o.text));
  }

  // The capture itself goes on, and so does the communicator.
  void refuses(CallOptions o, const std::string& what) {
    if (!o.stream.given) o = on_stream();
    fill(50);
    Capture capture(runtime_.cuda, stream_.get());
    expect_refusal(what, [&] { comm_.allreduce(in_.at(), sum_.at(), static_cast<Count>(length), DType::i64, Op::sum, o); });
    capture.end();
    capture.launch();
    finish();
    check(sum_.get() == Numbers(length, -1), what + ": something was enqueued even so");
    plain(comm_, 60);
  }

  // NCCL has no such operation.
  void refuses_bits() {
    fill(70);
    Capture capture(runtime_.cuda, stream_.get());
    expect_refusal("a capture of an operation that NCCL lacks", [&] { comm_.allreduce(in_.at(), sum_.at(), static_cast<Count>(length), DType::i64, Op::bxor, on_stream()); });
    call();  // the rest of the graph
    capture.end();
    capture.launch();
    finish();
    compare(70);
    plain(comm_, 80);
  }

  void refuses_first_use() {
    Comm fresh = comm_.dup();
    fill(90);
    {
      Capture capture(runtime_.cuda, stream_.get());
      expect_refusal("a capture of a communicator's first call", [&] { fresh.allreduce(in_.at(), sum_.at(), static_cast<Count>(length), DType::i64, Op::sum, on_stream()); });
      capture.end();
    }
    plain(fresh, 95);
    fresh.close();
  }

  Comm& comm_;
  const device::Runtime& runtime_;
  const std::uint64_t seed_;
  device::Stream stream_;
  DeviceNumbers in_, sum_, all_, told_;
};

}  // namespace

void run_device_graphs(Comm& comm, const device::Runtime& runtime, std::uint64_t seed) { Graphs(comm, runtime, seed).run(); }

}  // namespace libcoll::test
