#include "tests/multiproc/context.hpp"

#include <sched.h>

#include <cstring>
#include <stdexcept>

#include "tests/unit/kernels/reference.hpp"

namespace libcoll::test {

namespace {
constexpr std::size_t guard = 64;
constexpr unsigned char guard_byte = 0x5A;
}  // namespace

unsigned char* Store::memory(Place place, std::size_t bytes) {
  const std::size_t need = bytes + 2 * guard + 64;
  if (place == Place::own || place == Place::own_odd) {
    if (own_.size() < need) own_.resize(need);
    return own_.data();
  }
  if (arena_.size() < need) {
    arena_ = Buffer();
    arena_ = comm_.allocate(need);
  }
  return static_cast<unsigned char*>(arena_.data());
}

Region Store::take(std::size_t bytes, std::size_t element, Place place) {
  if (bytes == 0 && place == Place::own_odd) return {};
  unsigned char* p = memory(place, bytes) + guard;
  p += (64 - reinterpret_cast<std::uintptr_t>(p) % 64) % 64;
  if (place == Place::own_odd || place == Place::arena_odd) p += element;
  std::memset(p - guard, guard_byte, guard);
  std::memset(p, untouched, bytes);
  std::memset(p + bytes, guard_byte, guard / 2);
  return {p, bytes};
}

bool Store::intact(const Region& r) const {
  if (r.data == nullptr) return true;
  for (std::size_t i = 1; i <= guard; ++i)
    if (r.data[-static_cast<std::ptrdiff_t>(i)] != guard_byte) return false;
  for (std::size_t i = 0; i < guard / 2; ++i)
    if (r.data[r.bytes + i] != guard_byte) return false;
  return true;
}

Place Context::place(std::uint64_t tag, int which) const {
  const int forced = which == 0 ? forced_send : forced_recv;
  if (forced >= 0) return (forced >> rank & 1) != 0 ? Place::arena : Place::own;
  return static_cast<Place>(mixed(tag, static_cast<std::uint64_t>(rank), static_cast<std::uint64_t>(which)) % 4);
}

void Context::fail(const std::string& text) const {
  throw std::runtime_error("rank " + std::to_string(rank) + " of " + std::to_string(size) + ": " + text +
                           " (seed " + std::to_string(options.seed) + ")");
}

void Context::expect(const std::string& what, const void* got, const void* want, std::size_t bytes) const {
  if (bytes == 0 || std::memcmp(got, want, bytes) == 0) return;
  const auto* g = static_cast<const unsigned char*>(got);
  const auto* w = static_cast<const unsigned char*>(want);
  std::size_t at = 0, wrong = 0;
  for (std::size_t i = 0; i < bytes; ++i)
    if (g[i] != w[i] && wrong++ == 0) at = i;
  fail(what + ": byte " + std::to_string(at) + " is " + std::to_string(g[at]) + " and not " + std::to_string(w[at]) +
       "; " + std::to_string(wrong) + " of " + std::to_string(bytes) + " bytes are wrong");
}

void Context::expect_intact(const std::string& what, const Region& send, const Region& recv) const {
  if (!send_store.intact(send)) fail(what + ": wrote around the send buffer");
  if (!recv_store.intact(recv)) fail(what + ": wrote around the receive buffer");
}

void finish(Request& r, bool polling) {
  while (polling && !r.test()) sched_yield();
  r.wait();
  if (r) throw std::runtime_error("a request that was waited for is not done");
}

void finish(Persistent& p, bool polling) {
  while (polling && !p.test()) sched_yield();
  p.wait();
}

const char* name_of(Form f) { return f == Form::blocking ? "blocking" : f == Form::started ? "started" : "persistent"; }

// -- Operations -----------------------------------------------------------------------------------

namespace {

// x -> a x + b modulo 2^64: composition is associative and does not commute.
struct Affine { std::uint64_t a, b; };
Affine compose(const Affine& l, const Affine& r) { return {l.a * r.a, l.a * r.b + l.b}; }

void fold_affine(const void* in, void* inout, std::size_t count, DType, void*) {
  const auto* l = static_cast<const unsigned char*>(in);
  auto* r = static_cast<unsigned char*>(inout);
  for (std::size_t i = 0; i < count; ++i) {
    Affine x, y;
    std::memcpy(&x, l + i * sizeof x, sizeof x);
    std::memcpy(&y, r + i * sizeof y, sizeof y);
    y = compose(x, y);
    std::memcpy(r + i * sizeof y, &y, sizeof y);
  }
}
void fill_affine(void* to, std::size_t first, std::size_t count, std::uint64_t tag, int rank) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t h = mixed(tag, static_cast<std::uint64_t>(rank), first + i);
    const Affine v{h | 1, mixed(h)};
    std::memcpy(static_cast<unsigned char*>(to) + i * sizeof v, &v, sizeof v);
  }
}

// 24 bytes: an affine map and the ranks whose maps it composes; checks order by itself.
struct Traced { Affine map; std::int32_t first, last; };
static_assert(sizeof(Traced) == 24);
constexpr std::int32_t out_of_order = -99;

void fold_traced(const void* in, void* inout, std::size_t count, DType, void* context) {
  if (context != nullptr) ++*static_cast<std::size_t*>(context);
  for (std::size_t i = 0; i < count; ++i) {
    Traced x, y;
    std::memcpy(&x, static_cast<const unsigned char*>(in) + i * sizeof x, sizeof x);
    std::memcpy(&y, static_cast<unsigned char*>(inout) + i * sizeof y, sizeof y);
    y = {compose(x.map, y.map), x.first, x.last + 1 == y.first ? y.last : out_of_order};
    std::memcpy(static_cast<unsigned char*>(inout) + i * sizeof y, &y, sizeof y);
  }
}
void fill_traced(void* to, std::size_t first, std::size_t count, std::uint64_t tag, int rank) {
  for (std::size_t i = 0; i < count; ++i) {
    Traced v{{}, rank, rank};
    fill_affine(&v.map, first + i, 1, tag, rank);
    std::memcpy(static_cast<unsigned char*>(to) + i * sizeof v, &v, sizeof v);
  }
}

void fold_largest(const void* in, void* inout, std::size_t count, DType, void*) {
  for (std::size_t i = 0; i < count; ++i) {
    double x, y;
    std::memcpy(&x, static_cast<const unsigned char*>(in) + i * sizeof x, sizeof x);
    std::memcpy(&y, static_cast<unsigned char*>(inout) + i * sizeof y, sizeof y);
    if (x > y) std::memcpy(static_cast<unsigned char*>(inout) + i * sizeof y, &x, sizeof x);
  }
}
void fill_double(void* to, std::size_t first, std::size_t count, std::uint64_t tag, int rank) {
  fill_operand(to, count, DType::f64, Op::max, Values::random, tag, rank, first);
}

const CustomOp affine_op{.function = fold_affine, .element_bytes = sizeof(Affine)};
const CustomOp traced_op{.function = fold_traced, .element_bytes = sizeof(Traced)};
const CustomOp largest_op{.function = fold_largest, .commutative = true};

}  // namespace

std::vector<Operation> user_operations() {
  return {{.op = affine_op, .dtype = DType::byte, .element = sizeof(Affine), .name = "affine", .fill = fill_affine},
          {.op = traced_op, .dtype = DType::byte, .element = sizeof(Traced), .name = "traced", .fill = fill_traced},
          {.op = largest_op, .dtype = DType::f64, .element = 8, .name = "largest", .fill = fill_double}};
}

Operation builtin(DType dtype, Op op, Values values) {
  return {.op = op, .dtype = dtype, .element = size_of(dtype), .name = std::string(name_of(op)) + " of " + name_of(dtype),
          .values = values, .scans = op != Op::avg};
}

void Operation::operand(void* to, std::size_t first, std::size_t count, std::uint64_t tag, int rank) const {
  if (fill != nullptr) fill(to, first, count, tag, rank);
  else fill_operand(to, count, dtype, op.op(), values, tag, rank, first);
}

Bytes Operation::fold(const std::vector<Bytes>& operands, std::size_t count, int divisor) const {
  if (fill == nullptr) return reference_reduce(dtype, op.op(), operands, count, divisor);
  Bytes sum = operands.front();
  for (std::size_t k = 1; k < operands.size(); ++k) {
    Bytes next = operands[k];
    op.custom()->function(sum.data(), next.data(), count, dtype, nullptr);
    sum.swap(next);
  }
  return sum;
}

}  // namespace libcoll::test
