#include "tests/unit/kernels/support.hpp"

#include "libcoll/kernels/targets.hpp"

#include <hwy/highway.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

namespace libcoll::test {

std::uint64_t test_seed() {
  const char* s = std::getenv("LIBCOLL_TEST_SEED");
  return s != nullptr ? std::strtoull(s, nullptr, 0) : 1;
}

std::vector<Kernel> all_kernels() {
  std::vector<Kernel> out;
  for (int t = 0; t < dtype_count; ++t)
    for (int o = 0; o < op_count; ++o)
      if (is_defined(static_cast<Op>(o), static_cast<DType>(t)))
        out.push_back({static_cast<DType>(t), static_cast<Op>(o)});
  return out;
}

std::string to_string(const Kernel& k) { return std::string(name_of(k.dtype)) + " " + name_of(k.op); }

namespace {

template <class T>
void append(Bytes& out, T v) {
  const auto* p = reinterpret_cast<const unsigned char*>(&v);
  out.insert(out.end(), p, p + sizeof v);
}

// Bits: the unsigned integer of the float's width. One in 32 operands is special.
template <class Bits>
Bits random_float(int mantissa_bits, Random& random) {
  constexpr int bits = 8 * sizeof(Bits);
  const Bits sign = static_cast<Bits>(Bits{1} << (bits - 1)),
             mantissa = static_cast<Bits>((Bits{1} << mantissa_bits) - 1);
  const Bits exponent = static_cast<Bits>((sign - 1) & ~mantissa);
  const Bits noise = static_cast<Bits>(random());
  switch (random() % 160) {
    case 0: return noise & sign;                                        // a zero
    case 1: return static_cast<Bits>((noise & sign) | exponent);        // an infinity
    case 2: return static_cast<Bits>(noise | exponent | 1);             // NaN, quiet or not
    case 3: return static_cast<Bits>(noise & (sign | mantissa));        // subnormal
    case 4: return static_cast<Bits>((noise & sign) | (exponent - 1));  // largest
    case 5: return noise;                                               // anything
    default: break;
  }
  // Near one, so that sums meet rounding ties and products stay finite for a while.
  const Bits one = static_cast<Bits>((exponent >> 1) & exponent);
  const Bits step = static_cast<Bits>(Bits{1} << mantissa_bits);
  const Bits near = static_cast<Bits>(one + static_cast<Bits>(random() % 3) * step - step);
  return static_cast<Bits>((noise & (sign | mantissa)) | near);
}

template <class T>
T random_integer(Random& random) {
  const std::uint64_t r = random();
  if (r % 4 == 0) return 0;
  if (r % 4 == 1) return static_cast<T>(static_cast<std::int64_t>(r >> 32) % 4 - 1);
  if (r % 64 == 2) return std::numeric_limits<T>::min();
  return static_cast<T>(r >> 2);
}

void append_element(DType dtype, Bytes& out, Random& random) {
  // Indices collide often, so that ties are decided by the index and by the order.
  const auto index = [&] { return static_cast<std::int32_t>(random() % 5) - 2; };
  const auto padding = [&](int bytes) {
    for (int i = 0; i < bytes; ++i) append(out, static_cast<std::uint8_t>(random()));
  };
  const auto f32 = [&] { append(out, random() % 2 ? 0x3F800000u : random_float<std::uint32_t>(23, random)); };
  const auto f64 = [&] {
    append(out, random() % 2 ? std::uint64_t{0x3FF} << 52 : random_float<std::uint64_t>(52, random));
  };
  switch (dtype) {
    case DType::f32_i32: f32(), append(out, index()); return;
    case DType::f64_i32: f64(), append(out, index()), padding(4); return;
    case DType::i64_i32:
      append(out, random_integer<std::int64_t>(random)), append(out, index()), padding(4);
      return;
    case DType::i32_i32: append(out, random_integer<std::int32_t>(random)), append(out, index()); return;
    case DType::i16_i32:
      append(out, random_integer<std::int16_t>(random)), padding(2), append(out, index());
      return;
    case DType::f32_f32: f32(), f32(); return;
    case DType::f64_f64: f64(), f64(); return;
    case DType::f16: append(out, random_float<std::uint16_t>(10, random)); return;
    case DType::bf16: append(out, random_float<std::uint16_t>(7, random)); return;
    case DType::f8e4m3: append(out, random_float<std::uint8_t>(3, random)); return;
    case DType::f8e5m2: append(out, random_float<std::uint8_t>(2, random)); return;
    case DType::c64: append(out, random_float<std::uint32_t>(23, random)); [[fallthrough]];
    case DType::f32: append(out, random_float<std::uint32_t>(23, random)); return;
    case DType::c128: append(out, random_float<std::uint64_t>(52, random)); [[fallthrough]];
    case DType::f64: append(out, random_float<std::uint64_t>(52, random)); return;
    default: break;
  }
  switch (size_of(dtype)) {
    case 1: append(out, random_integer<std::uint8_t>(random)); return;
    case 2: append(out, random_integer<std::int16_t>(random)); return;
    case 4: append(out, random_integer<std::int32_t>(random)); return;
    default: append(out, random_integer<std::int64_t>(random)); return;
  }
}

}  // namespace

Bytes random_elements(DType dtype, std::size_t count, Random& random) {
  Bytes out;
  out.reserve(count * size_of(dtype));
  for (std::size_t i = 0; i < count; ++i) append_element(dtype, out, random);
  return out;
}

std::vector<std::int64_t> runnable_targets() {
  std::vector<std::int64_t> out;
  const std::int64_t runnable = hwy::SupportedTargets() & (HWY_TARGETS);
  for (int bit = 0; bit < 63; ++bit)
    if ((runnable >> bit & 1) != 0) out.push_back(std::int64_t{1} << bit);
  return out;
}

std::string target_name(std::int64_t target) { return hwy::TargetName(target); }

kernels::ReduceFn find_reduce_on(std::int64_t target, DType dtype, Op op) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  const kernels::ReduceFn f = kernels::find_reduce(dtype, op);
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return f;
}

GuardedPages::GuardedPages(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  bytes_ = (bytes + page - 1) / page * page;
  void* all = mmap(nullptr, bytes_ + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) throw std::bad_alloc();
  first_ = static_cast<unsigned char*>(all) + page;
  if (mprotect(first_, bytes_, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
}

GuardedPages::~GuardedPages() {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  munmap(first_ - page, bytes_ + 2 * page);
}

}  // namespace libcoll::test
