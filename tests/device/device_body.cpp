#include "tests/device/device_body.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <random>
#include <stdexcept>

#include "tests/device/device_case.hpp"
#include "tests/unit/kernels/reference.hpp"
#include "transports/nccl/device.hpp"
#include "transports/nccl/nccl_ops.hpp"

namespace libcoll::test {

namespace {

using device::require;

double value_of(DType t, const unsigned char* p) {
  if (t != DType::f32 && t != DType::f64) {
    unsigned code = 0;
    std::memcpy(&code, p, size_of(t));
    return small_format(t).decode(code);
  }
  float f = 0;
  double d = 0;
  if (t == DType::f32) return std::memcpy(&f, p, sizeof f), f;
  return std::memcpy(&d, p, sizeof d), d;
}

// Floats may be summed in another order, and in the type itself, by NCCL.
double tolerance_of(DType t) {
  switch (t) {
    case DType::f8e5m2: return 0.5;
    case DType::f8e4m3: return 0.25;
    case DType::bf16: return 0x1p-6;
    case DType::f16: return 0x1p-9;
    case DType::f32: return 1e-6;
    case DType::f64: return 1e-14;
    default: return 0;
  }
}

class Body {
 public:
  Body(Comm& c, const device::Runtime& r, const DeviceBodyOptions& o) : comm_(c), runtime_(r), options_(o), random_(o.seed), stream_(r.cuda) {}

  void run() {
    for (int t = 0; t < dtype_count; ++t)
      for (int o = 0; o < op_count; ++o)
        if (is_defined(static_cast<Op>(o), static_cast<DType>(t))) one({.which = Which::allreduce, .dtype = static_cast<DType>(t), .op = static_cast<Op>(o), .count = 7});
    for (const Which w : all_calls)
      for (const Count n : {Count{0}, Count{1}, Count{700}})
        for (const bool in_place : {false, true}) one({.which = w, .dtype = DType::f32, .op = Op::sum, .count = n, .root = below(comm_.size()), .in_place = in_place});
    for (int i = 0; i < options_.random_cases; ++i) one(random_case());
    check(nothing_left(), "the last copies", {});
  }

 private:
  static bool over_islands(const DeviceCase& c) {
    for (const Which w : {Which::allreduce, Which::allgather, Which::reduce_scatter_block, Which::bcast, Which::reduce, Which::alltoall})
      if (c.which == w) return c.count != 0 && (!reduces(w) || nccl::supports(c.dtype, c.op, 22809));
    return false;
  }

  // Equal on all ranks.
  std::uint64_t draw() { return random_(); }
  int below(int n) { return static_cast<int>(draw() % static_cast<std::uint64_t>(n)); }

  DeviceCase random_case() {
    DeviceCase c;
    c.which = all_calls[draw() % all_calls.size()];
    do {
      c.dtype = static_cast<DType>(below(dtype_count));
      c.op = static_cast<Op>(below(op_count));
    } while (reduces(c.which) && (!is_defined(c.op, c.dtype) || (c.op == Op::avg && (c.which == Which::scan || c.which == Which::exscan))));
    c.count = below(3) == 0 ? below(20) : 1 + static_cast<Count>(draw() % static_cast<std::uint64_t>(options_.most_count));
    c.root = below(comm_.size());
    c.in_place = below(2) == 0;
    return c;
  }

  void one(DeviceCase c) {
    c.tag = draw();
    const DeviceArguments arguments(c, comm_.rank(), comm_.size());
    Bytes send = arguments.send, want = arguments.recv;
    arguments.make(comm_, data(send), data(want), {.memory = Memory::host});
    const bool scatters_in_place = arguments.in_place_here && (c.which == Which::scatter || c.which == Which::scatterv);
    if (arguments.in_place_here && (c.which == Which::reduce_scatter || c.which == Which::reduce_scatter_block)) {
      // What is left of the operands behind the result is nobody's business.
      const auto block = static_cast<std::size_t>(c.which == Which::reduce_scatter ? arguments.counts[static_cast<std::size_t>(comm_.rank())] : c.count) * size_of(c.dtype);
      want.resize(block);
    }
    if (scatters_in_place) want = send;  // where nothing changes
    const int mode = below(6);
    const bool streams = mode == 1 || mode == 2 || mode == 5;
    CallOptions o{.memory = mode == 1 ? Memory::device : mode == 3 || mode == 5 ? Memory::mixed : Memory::automatic};
    if (streams) o.stream = stream_.get();
    const int way = below(8);
    if (way == 0) o.algorithm = "staged";
    if (way >= 4 && options_.islands && mode < 3 && over_islands(c)) o.algorithm = way == 4 && c.which != Which::alltoall ? "island/nccl:chunk=97" : way == 5 && c.which != Which::alltoall ? "island/nccl:chunk=1000" : way == 6 ? "island/nccl" : "nccl";
    // Mode 4: ranks find out that they differ.
    const bool host = (mode >= 3) && mixed(c.tag, static_cast<std::uint64_t>(comm_.rank()), 77) % 2 == 0;
    call(c, arguments, o, host, want, scatters_in_place, c.text() + ", mode " + std::to_string(mode) + ", algorithm \"" + std::string(o.algorithm) + "\"");
  }

  void call(const DeviceCase& c, const DeviceArguments& a, const CallOptions& o, bool host, const Bytes& want, bool result_in_send, const std::string& what) {
    Bytes send = a.send, recv = a.recv;
    if (host) {
      a.make(comm_, data(send), data(recv), o);
    } else {
      const Copy there_send(*this, send), there_recv(*this, recv);
      a.make(comm_, there_send.at, there_recv.at, o);
      there_send.fetch(send);
      there_recv.fetch(recv);
    }
    const Bytes& got = result_in_send ? send : recv;
    for (std::size_t i = 0; i + size_of(c.dtype) <= want.size(); i += size_of(c.dtype)) {
      if (std::memcmp(got.data() + i, want.data() + i, size_of(c.dtype)) == 0) continue;
      check(is_close(c, got.data() + i, want.data() + i), what, "element " + std::to_string(i / size_of(c.dtype)));
    }
    if (!result_in_send) check(send == a.send, what, "the send buffer changed");
  }

  bool is_close(const DeviceCase& c, const unsigned char* got, const unsigned char* want) const {
    const double tolerance = reduces(c.which) ? tolerance_of(c.dtype) : 0;
    if (tolerance == 0) return false;
    // What is rounded on the way may be larger than the result: operands cancel each other out.
    constexpr double largest_operand = 4;  // fill_operand's
    const double wanted = value_of(c.dtype, want), on_the_way = c.op == Op::sum ? largest_operand * comm_.size() : c.op == Op::avg ? largest_operand : 0;
    return std::abs(value_of(c.dtype, got) - wanted) <= tolerance * std::max(std::abs(wanted), on_the_way);
  }

  // A buffer of this rank's GPU with something in it.
  struct Copy {
    Copy(Body& b, const Bytes& from) : body(b) {
      if (from.empty()) return;
      require(cuda(), cuda().malloc(&at, from.size()), "cudaMalloc");
      require(cuda(), cuda().memcpy_async(at, from.data(), from.size(), cuda::CopyKind::host_to_device, body.stream_.get()), "cudaMemcpyAsync");
      require(cuda(), cuda().stream_synchronize(body.stream_.get()), "cudaStreamSynchronize");
    }
    ~Copy() {
      if (at != nullptr) cuda().free(at);
    }
    Copy(const Copy&) = delete;
    Copy& operator=(const Copy&) = delete;
    void fetch(Bytes& to) const {
      if (at != nullptr) require(cuda(), cuda().memcpy_async(to.data(), at, to.size(), cuda::CopyKind::device_to_host, body.stream_.get()), "cudaMemcpyAsync");
      require(cuda(), cuda().stream_synchronize(body.stream_.get()), "cudaStreamSynchronize");
    }
    const cuda::Table& cuda() const { return body.runtime_.cuda; }
    Body& body;
    void* at = nullptr;
  };

  static void* data(Bytes& b) { return b.empty() ? nullptr : b.data(); }
  bool nothing_left() { return runtime_.cuda.stream_synchronize(stream_.get()) == cuda::Error::success; }
  void check(bool good, const std::string& what, const std::string& where) const {
    if (!good) throw std::runtime_error("rank " + std::to_string(comm_.rank()) + " of " + std::to_string(comm_.size()) + ": " + what + ": " + where + " (seed " + std::to_string(options_.seed) + ")");
  }

  Comm& comm_;
  const device::Runtime& runtime_;
  const DeviceBodyOptions& options_;
  std::mt19937_64 random_;
  device::Stream stream_;
};

}  // namespace

void run_device_body(Comm& comm, const device::Runtime& runtime, const DeviceBodyOptions& options) { Body(comm, runtime, options).run(); }

}  // namespace libcoll::test
