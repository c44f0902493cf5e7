// Arguments that a rank refuses by itself: everywhere at once, and on one rank while the others call
// rightly. The others get a mismatch or finish; nobody hangs; the communicator works afterwards.
#include <gtest/gtest.h>

#include "tests/multiproc/calls.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {
namespace {

constexpr int ranks = 3;

struct Bad {
  std::string name;
  Which which;
  std::function<void(Args&)> spoil;
  const char* word;   // in the text
  int only = -1;      // the one rank on which it is wrong; -1: any
};
void PrintTo(const Bad& b, std::ostream* out) { *out << b.name; }

const CustomOp no_function{};
const CustomOp records{.function = [](const void*, void*, std::size_t, DType, void*) {}, .element_bytes = 24};
const CustomOp giants{.function = [](const void*, void*, std::size_t, DType, void*) {}, .element_bytes = 1u << 20};
void* place_in_place() { return const_cast<void*>(static_cast<const void*>(in_place)); }

void add_counts(std::vector<Bad>& t, Which w, const std::string& n) {
  if (w == Which::barrier) return;
  t.push_back({n + "_unknown_type", w, [](Args& x) { x.type = static_cast<DType>(77); }, "type"});
  if (!has_tables(w)) {
    t.push_back({n + "_negative_count", w, [](Args& x) { x.count = -3; }, "count is -3"});
    t.push_back({n + "_huge_count", w, [](Args& x) { x.count = Count{1} << 61; }, "count"});
  } else if (!rooted(w)) {
    t.push_back({n + "_negative_count_in_table", w, [](Args& x) { x.counts[1] = -1; }, "[1] is -1"});
    t.push_back({n + "_short_table", w, [](Args& x) { x.counts.pop_back(); }, "entries"});
  }
}

void add_displacements(std::vector<Bad>& t, Which w, const std::string& n) {
  if (!has_tables(w) || w == Which::reduce_scatter) return;
  const int only = rooted(w) ? 0 : -1;
  t.push_back({n + "_negative_displacement", w, [](Args& x) { x.displs[2] = -8; }, "[2] is -8", only});
  t.push_back({n + "_short_displacements", w, [](Args& x) { x.displs.resize(1); }, "entries", only});
  if (rooted(w)) {
    t.push_back({n + "_negative_count_in_table", w, [](Args& x) { x.counts[1] = -1; }, "[1] is -1", 0});
    t.push_back({n + "_own_negative_count", w, [](Args& x) { x.count = -2; }, "-2", 1});
  }
}

void add_buffers(std::vector<Bad>& t, Which w, const std::string& n) {
  if (w == Which::barrier) return;
  const bool sends = w != Which::bcast, scatters = w == Which::scatter || w == Which::scatterv, gathers = w == Which::gather || w == Which::gatherv;
  if (sends) t.push_back({n + "_null_send", w, [](Args& x) { x.send = nullptr; }, "null", scatters ? 0 : -1});
  t.push_back({n + "_null_recv", w, [](Args& x) { x.recv = nullptr; }, "null", gathers || w == Which::reduce ? 0 : -1});
  if (sends && !has_tables(w) && !scatters)
    t.push_back({n + "_overlap", w, [](Args& x) { x.recv = x.a.data() + 1; }, "overlap", rooted(w) ? 0 : -1});
  if (gathers || w == Which::reduce)
    t.push_back({n + "_in_place_off_root", w, [](Args& x) { x.send = in_place; }, "in_place", 1});
  if (scatters) t.push_back({n + "_in_place_off_root", w, [](Args& x) { x.recv = place_in_place(); }, "in_place", 2});
}

void add_operations(std::vector<Bad>& t, Which w, const std::string& n) {
  if (!reduces(w)) return;
  t.push_back({n + "_unknown_operation", w, [](Args& x) { x.op = static_cast<Op>(99); }, "operation"});
  t.push_back({n + "_undefined_operation", w, [](Args& x) { x.op = Op::band; }, "band is not defined on type f64"});
  t.push_back({n + "_custom_by_hand", w, [](Args& x) { x.op = Op::custom; }, "custom"});
  t.push_back({n + "_custom_without_function", w, [](Args& x) { x.op = no_function; }, "function"});
  t.push_back({n + "_records_of_a_type", w, [](Args& x) { x.op = records; }, "byte"});
  t.push_back({n + "_giant_records", w, [](Args& x) { x.op = giants; x.type = DType::byte; x.count = 0; x.counts.assign(ranks, 0); }, "large"});
  if (w == Which::scan || w == Which::exscan) t.push_back({n + "_avg", w, [](Args& x) { x.op = Op::avg; }, "avg"});
}

std::vector<Bad> table() {
  std::vector<Bad> t;
  for (const Which w : all_calls) {
    const std::string n = name_of(w);
    add_counts(t, w, n);
    add_displacements(t, w, n);
    add_buffers(t, w, n);
    add_operations(t, w, n);
    if (rooted(w)) {
      t.push_back({n + "_root_negative", w, [](Args& x) { x.root = -1; }, "root is -1"});
      t.push_back({n + "_root_too_large", w, [](Args& x) { x.root = ranks; }, "root is 3"});
    }
    t.push_back({n + "_unknown_algorithm", w, [](Args& x) { x.options.algorithm = "pancake"; }, "pancake"});
    t.push_back({n + "_negative_timeout", w, [](Args& x) { x.options.timeout_s = -1; }, "timeout"});
  }
  return t;
}

// odd: the rank whose call is wrong; -1: all ranks'.
void call_badly(Comm& c, const Bad& bad, int odd) {
  expect_usable(c);
  Args x(c);
  const bool wrong = odd < 0 || odd == c.rank();
  if (wrong) bad.spoil(x);
  const Outcome o = outcome_of([&] { call(c, bad.which, x); });
  const std::string seen = std::string(name_of(o.code)) + ": " + o.text;
  if (wrong) {
    if (o.code != Errc::invalid_argument) throw std::runtime_error("not refused as invalid: " + seen);
    for (const char* word : {bad.word, name_of(bad.which)})
      if (o.text.find(word) == std::string::npos) throw std::runtime_error(std::string("does not say \"") + word + "\": " + seen);
  } else {
    if (o.code != Errc::ok && o.code != Errc::mismatch) throw std::runtime_error("neither finished nor mismatch: " + seen);
    if (o.code == Errc::mismatch && o.peer != odd) throw std::runtime_error("names another rank: " + seen);
    if (o.code == Errc::ok && all_see_all(bad.which)) throw std::runtime_error("did not notice");
  }
  expect_usable(c);
}

class BadInput : public testing::TestWithParam<Bad> {};

TEST_P(BadInput, IsRefusedAndHarmless) {
  const Bad& bad = GetParam();
  Launch launch{.ranks = ranks, .watchdog_s = 60};
  launch.config.timeout_s = 10;
  for (const bool check : {false, true}) {
    if (check && test_scale() < 1) continue;
    launch.config.check = check;
    for (int odd = bad.only < 0 ? -1 : bad.only; odd < (bad.only < 0 ? ranks : bad.only + 1); ++odd)
      EXPECT_EQ(run_forked(launch, [&](Comm& c) { call_badly(c, bad, odd); }), "") << "wrong on rank " << odd << (check ? ", checking" : "");
  }
}
INSTANTIATE_TEST_SUITE_P(Table, BadInput, testing::ValuesIn(table()), [](const auto& test) { return test.param.name; });

// The typed forms check the sizes of their spans, on one rank or on all.
TEST(BadInput, SpansOfTheWrongSize) {
  using Call = std::function<void(Comm&, std::size_t)>;
  const auto n = [](Comm& c) { return static_cast<std::size_t>(c.size()); };
  const std::vector<std::pair<const char*, Call>> calls{
      {"allreduce", [](Comm& c, std::size_t extra) { std::vector<int> a(4 + extra, 1), b(4); c.allreduce<int>(a, b, Op::sum); }},
      {"allgather", [&](Comm& c, std::size_t extra) { std::vector<int> a(4), b(4 * n(c) + extra); c.allgather<int>(a, b); }},
      {"reduce_scatter_block", [&](Comm& c, std::size_t extra) { std::vector<int> a(4 * n(c) + extra, 1), b(4); c.reduce_scatter_block<int>(a, b, Op::sum); }},
      {"alltoall", [&](Comm& c, std::size_t extra) { std::vector<int> a(4 * n(c)), b(4 * n(c) + extra); c.alltoall<int>(a, b); }},
      {"scan", [](Comm& c, std::size_t extra) { std::vector<int> a(4 + extra, 1), b(4); c.scan<int>(a, b, Op::sum); }},
      {"reduce at its root", [](Comm& c, std::size_t extra) { std::vector<int> a(4, 1), b(4 + extra); c.reduce<int>(a, b, Op::sum, extra != 0 ? c.rank() : 1); }}};
  Launch launch{.ranks = ranks, .watchdog_s = 60};
  launch.config.timeout_s = 5;
  for (const auto& [name, run] : calls)
    for (int odd = -1; odd < ranks; ++odd)
      EXPECT_EQ(run_forked(launch, [&, &run = run](Comm& c) {
                  const bool wrong = odd < 0 || odd == c.rank();
                  const Outcome o = outcome_of([&] { run(c, wrong ? 1 : 0); });
                  const bool fine = wrong ? o.code == Errc::invalid_argument : o.code == Errc::ok || o.code == Errc::mismatch;
                  if (!fine) throw std::runtime_error(std::string(libcoll::name_of(o.code)) + ": " + o.text);
                  expect_usable(c);
                }), "") << name << ", wrong on rank " << odd;
}

TEST(BadInput, EmptyCommAndBadAllocations) {
  EXPECT_EQ(run_forked({.ranks = 2}, [](Comm& c) {
              Comm empty;
              if (empty || empty.size() != 0 || empty.rank() != -1) throw std::runtime_error("not empty");
              const auto expect = [](Errc want, const std::function<void()>& f) {
                const Outcome o = outcome_of(f);
                if (o.code != want) throw std::runtime_error(std::string(libcoll::name_of(o.code)) + ": " + o.text);
              };
              expect(Errc::closed, [&] { empty.barrier(); });
              expect(Errc::closed, [&] { empty.close(); });
              expect(Errc::closed, [&] { (void)empty.topology(); });
              expect(Errc::invalid_argument, [&] { (void)c.allocate(0); });
              expect(Errc::system, [&] { (void)c.allocate(std::size_t{1} << 40); });
              expect(Errc::system, [&] { (void)c.allocate(~std::size_t{0}); });
              expect_usable(c);
            }), "");
  for (const auto& [rank, size] : {std::pair{0, 0}, {-1, 2}, {2, 2}, {0, -5}}) {
    const Outcome o = outcome_of([&, r = rank, n = size] { (void)Comm::from_callback(r, n, [](const void*, void*, std::size_t) {}); });
    EXPECT_EQ(o.code, Errc::invalid_argument) << rank << " of " << size;
  }
  EXPECT_EQ(outcome_of([] { (void)Comm::from_callback(0, 1, nullptr); }).code, Errc::invalid_argument);
}

}  // namespace
}  // namespace libcoll::test
