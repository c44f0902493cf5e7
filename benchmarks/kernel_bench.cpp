// Speed of the reduction and copy kernels.
//   kernel-bench                            the table: f32 sum of two sources against a plain triad
//   kernel-bench --benchmark_filter=REGEX   Google Benchmark over types, operations and copies
// GB/s count what the program asks for: two reads and one write of `bytes` (reduce), one of each (copy).
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "libcoll/kernels/copy.hpp"
#include "libcoll/kernels/reduce.hpp"

namespace {

using namespace libcoll;
using Clock = std::chrono::steady_clock;

// ---- the yardstick: c = a + b as the compiler vectorises it, and with non-temporal stores

using Triad = void (*)(float* c, const float* a, const float* b, std::size_t n);

#define LIBCOLL_PLAIN_TRIAD                                   \
  {                                                           \
    float* __restrict out = c;                                \
    for (std::size_t i = 0; i < n; ++i) out[i] = a[i] + b[i]; \
  }

void triad_portable(float* c, const float* a, const float* b, std::size_t n) LIBCOLL_PLAIN_TRIAD
#if defined(__x86_64__)
    __attribute__((target("avx2"))) void triad_avx2(float* c, const float* a, const float* b,
                                                    std::size_t n) LIBCOLL_PLAIN_TRIAD
#if defined(__clang__)
    __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq"), min_vector_width(512)))
#else
    __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,prefer-vector-width=512")))
#endif
    void triad_avx512(float* c, const float* a, const float* b, std::size_t n) LIBCOLL_PLAIN_TRIAD

    __attribute__((target("avx2"))) void triad_avx2_streaming(float* c, const float* a, const float* b,
                                                              std::size_t n) {
  for (std::size_t i = 0; i < n; i += 8)
    _mm256_stream_ps(c + i, _mm256_add_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
  _mm_sfence();
}

__attribute__((target("avx512f"))) void triad_avx512_streaming(float* c, const float* a, const float* b,
                                                               std::size_t n) {
  for (std::size_t i = 0; i < n; i += 16)
    _mm512_stream_ps(c + i, _mm512_add_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i)));
  _mm_sfence();
}

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
Triad plain_triad() {
  return has_avx512() ? triad_avx512 : __builtin_cpu_supports("avx2") ? triad_avx2 : triad_portable;
}
Triad streaming_triad() {
  return has_avx512()                     ? triad_avx512_streaming
         : __builtin_cpu_supports("avx2") ? triad_avx2_streaming
                                          : triad_portable;
}
#else
    Triad plain_triad() {
  return triad_portable;
}
Triad streaming_triad() { return triad_portable; }
#endif

// ---- buffers, huge pages where the kernel grants them

class Buffer {
 public:
  explicit Buffer(std::size_t bytes) : bytes_(bytes + 4096) {
    data_ = std::aligned_alloc(std::size_t{2} << 20, (bytes_ + (2u << 20) - 1) >> 21 << 21);
    if (data_ == nullptr) std::abort();
    madvise(data_, bytes_, MADV_HUGEPAGE);
    std::memset(data_, 0, bytes_);
  }
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  char* get() const { return static_cast<char*>(data_); }

 private:
  std::size_t bytes_;
  void* data_;
};

// ---- the table

// The first call is not timed: it finds the cache as the previous contestant left it (empty of the
// destination, after non-temporal stores).
template <class F>
double seconds_per_call(int calls, F f) {
  f();
  const auto start = Clock::now();
  for (int i = 0; i < calls; ++i) {
    f();
    benchmark::ClobberMemory();
  }
  return std::chrono::duration<double>(Clock::now() - start).count() / calls;
}

double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

void print_ratios(std::size_t largest, int repetitions) {
  // The three buffers start at different offsets in their pages: the same offset would measure
  // 4 KiB aliasing instead.
  const Buffer a(largest), b(largest), c(largest);
  const auto* x = reinterpret_cast<const float*>(a.get());
  const auto* y = reinterpret_cast<const float*>(b.get() + 1024);
  auto* z = reinterpret_cast<float*>(c.get() + 2048);
  const kernels::ReduceFn reduce = kernels::find_reduce(DType::f32, Op::sum);
  const Triad plain = plain_triad(), streaming = streaming_triad();
  std::printf("f32 sum, 2 sources, GB/s (2 reads + 1 write), median of %d interleaved repetitions\n",
              repetitions);
  std::printf("%12s %10s %10s %6s   %10s %10s %6s\n", "bytes", "ours", "triad", "ratio", "ours nt",
              "triad nt", "ratio");
  for (std::size_t bytes = 64; bytes <= largest; bytes *= 4) {
    const std::size_t n = bytes / sizeof(float);
    const void* srcs[] = {x, y};
    void* dst = z;
    kernels::ReduceArgs args{&dst, 1, srcs, 2, n, 1, false};
    kernels::ReduceArgs args_nt = args;
    args_nt.streaming = true;
    const int calls = static_cast<int>(std::clamp<std::size_t>((std::size_t{24} << 20) / bytes, 2, 20000));
    std::vector<double> t[4];
    for (int r = 0; r < repetitions; ++r) {
      t[0].push_back(seconds_per_call(calls, [&] { reduce(args); }));
      t[1].push_back(seconds_per_call(calls, [&] { plain(z, x, y, n); }));
      t[2].push_back(seconds_per_call(calls, [&] { reduce(args_nt); }));
      t[3].push_back(seconds_per_call(calls, [&] { streaming(z, x, y, n); }));
    }
    double g[4];
    for (int i = 0; i < 4; ++i) g[i] = 3e-9 * static_cast<double>(bytes) / median(t[i]);
    std::printf("%12zu %10.2f %10.2f %6.2f   %10.2f %10.2f %6.2f\n", bytes, g[0], g[1], g[0] / g[1], g[2],
                g[3], g[2] / g[3]);
    std::fflush(stdout);
  }
}

// ---- Google Benchmark

void bench_reduce(benchmark::State& state, DType dtype, Op op, int source_count, bool small) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  std::vector<std::unique_ptr<Buffer>> buffers;
  std::vector<const void*> srcs;
  for (int k = 0; k < source_count; ++k) {
    buffers.push_back(std::make_unique<Buffer>(bytes));
    srcs.push_back(buffers.back()->get() + 256 * k);
  }
  const Buffer out(bytes);
  void* dst = out.get() + 2048;
  const std::size_t count = bytes / size_of(dtype);
  const kernels::ReduceFn reduce = kernels::find_reduce(dtype, op);
  const kernels::ReduceSmallFn reduce_small = kernels::find_reduce_small(dtype, op);
  const kernels::ReduceArgs args{&dst, 1, srcs.data(), source_count, count, source_count, false};
  for (auto _ : state) {
    if (small)
      reduce_small(dst, srcs.data(), source_count, count, source_count);
    else
      reduce(args);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes) * (source_count + 1));
}

void bench_copy(benchmark::State& state, void (*copy)(void*, const void*, std::size_t) noexcept) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  const Buffer from(bytes), to(bytes);
  for (auto _ : state) {
    copy(to.get() + 1024, from.get(), bytes);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes) * 2);
}

void libc_copy(void* dst, const void* src, std::size_t bytes) noexcept { std::memcpy(dst, src, bytes); }

void register_benchmarks() {
  for (int t = 0; t < dtype_count; ++t)
    for (int o = 0; o < op_count; ++o) {
      const auto dtype = static_cast<DType>(t);
      const auto op = static_cast<Op>(o);
      if (!is_defined(op, dtype)) continue;
      const std::string name = std::string(name_of(dtype)) + "/" + name_of(op);
      benchmark::RegisterBenchmark(("small/" + name).c_str(), bench_reduce, dtype, op, 2, true)->Arg(16);
      for (const int sources : {2, 3, 4, 8})
        benchmark::RegisterBenchmark(("reduce/" + name + "/" + std::to_string(sources)).c_str(), bench_reduce,
                                     dtype, op, sources, false)
            ->Arg(512)
            ->Arg(16 << 10)
            ->Arg(1 << 20);
    }
  const auto sizes = [](benchmark::internal::Benchmark* b) { b->RangeMultiplier(4)->Range(1, 64 << 20); };
  sizes(benchmark::RegisterBenchmark("copy/libc", bench_copy, libc_copy));
  sizes(benchmark::RegisterBenchmark("copy/cached", bench_copy, kernels::copy));
  sizes(benchmark::RegisterBenchmark("copy/streaming", bench_copy, kernels::copy_streaming));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 1) {
    print_ratios(std::size_t{256} << 20, 5);
    return 0;
  }
  register_benchmarks();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
