// What the parts of the body share: decisions that all ranks take alike, buffers of every kind with
// guards around them, operations with their reference, and comparison.
#pragma once

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/multiproc/body.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {

// Where a rank's buffer lies. Odd: off by one byte for byte types, by one element for others.
enum class Place : std::uint8_t { own, own_odd, arena, arena_odd };

// One buffer of one call: guarded, filled with a pattern that the call must overwrite.
struct Region {
  unsigned char* data = nullptr;
  std::size_t bytes = 0;
};

// Memory of a rank, reused from call to call.
class Store {
 public:
  explicit Store(Comm& comm) : comm_(comm) {}
  // `element`: how far an odd place is off. No bytes: may be a null pointer.
  Region take(std::size_t bytes, std::size_t element, Place place);
  // Whether the bytes around the region are as they were.
  bool intact(const Region&) const;
  static constexpr unsigned char untouched = 0xA5;

 private:
  unsigned char* memory(Place place, std::size_t bytes);
  Comm& comm_;
  std::vector<unsigned char> own_;
  Buffer arena_;
};

// A reduction as the tests see it: built in or a user's, with its reference.
struct Operation {
  ReduceOp op = Op::sum;
  DType dtype = DType::byte;
  std::size_t element = 1;  // bytes
  std::string name;
  Values values = Values::exact;
  bool scans = true;        // defined for scan and exscan
  // A user's operation:
  void (*fill)(void* to, std::size_t first, std::size_t count, std::uint64_t tag, int rank) = nullptr;

  void operand(void* to, std::size_t first, std::size_t count, std::uint64_t tag, int rank) const;
  // The left fold of `operands`, whose bytes are those of `count` elements each.
  Bytes fold(const std::vector<Bytes>& operands, std::size_t count, int divisor) const;
};
Operation builtin(DType, Op, Values);
std::vector<Operation> user_operations();

// The three ways to call a collective.
enum class Form : std::uint8_t { blocking, started, persistent };

// A call with its arguments, made in one of the forms; to be run `times` times, on data that may change between.
struct Calling {
  std::function<void()> run;
  int times = 1;
};

class Context {
 public:
  Context(Comm& c, const BodyOptions& o)
      : comm(c), rank(c.rank()), size(c.size()), options(o), send_store(c), recv_store(c),
        random_(o.seed * 0x9e3779b97f4a7c15u + static_cast<std::uint64_t>(c.size())) {}

  // Equal on all ranks.
  std::uint64_t draw() { return random_(); }
  int draw_below(int n) { return static_cast<int>(draw() % static_cast<std::uint64_t>(n)); }
  bool sampled(double share) { return static_cast<double>(draw() >> 11) * 0x1p-53 < share * options.scale; }
  bool fits(std::size_t bytes) const { return bytes <= options.most_bytes; }

  // Mostly blocking, so that the body takes little longer for the others.
  Form draw_form() {
    const int n = draw_below(20);
    return n < 12 ? Form::blocking : n < 17 ? Form::started : Form::persistent;
  }

  // Differs from rank to rank; send and recv independently.
  Place place(std::uint64_t tag, int which) const;
  // -1: every rank draws its place. Else bit r: rank r's send (recv) buffer is in the arena.
  int forced_send = -1, forced_recv = -1;

  void expect(const std::string& what, const void* got, const void* want, std::size_t bytes) const;
  void expect_intact(const std::string& what, const Region& send, const Region& recv) const;
  [[noreturn]] void fail(const std::string& text) const;

  Comm& comm;
  const int rank, size;
  const BodyOptions& options;
  Store send_store, recv_store;

 private:
  std::mt19937_64 random_;
};

// Waits by polling or by wait().
void finish(Request&, bool polling);
void finish(Persistent&, bool polling);
const char* name_of(Form);

// CALL_IN_FORM(form, comm, allreduce, send, recv, ...): a Calling. Arguments are copied.
#define CALL_IN_FORM(form, comm, name, ...)                                                          \
  in_form(form, [=, this] { (comm).name(__VA_ARGS__); }, [=, this] { return (comm).i##name(__VA_ARGS__); }, \
          [=, this] { return (comm).plan_##name(__VA_ARGS__); })

template <class Block, class Start, class Plan>
Calling in_form(Form form, Block block, Start start, Plan plan) {
  if (form == Form::blocking) return {block};
  if (form == Form::started)
    return {[start] {
      Request r = start();
      finish(r, false);
    }};
  const auto persistent = std::make_shared<Persistent>(plan());
  return {[persistent] {
            persistent->start();
            finish(*persistent, true);
          },
          3};
}

enum class Reduction : std::uint8_t { allreduce, reduce, reduce_scatter_block, reduce_scatter, scan, exscan };
enum class Movement : std::uint8_t { bcast, allgather, gather, scatter, alltoall };
enum class VectorForm : std::uint8_t { allgatherv, gatherv, scatterv, alltoallv };

struct Shape {
  std::size_t count = 0;
  int root = 0;
  std::string_view algorithm = {};
  bool in_place = false;
};

// Each runs one call on every rank and checks everything that can be seen of it.
void check(Context&, Reduction, const Operation&, const Shape&);
void check(Context&, Movement, DType, const Shape&);
// Counts per rank follow from `tag`, between 0 and about `shape.count`.
void check(Context&, VectorForm, DType, const Shape&);

}  // namespace libcoll::test
